"""A model's calls: retries, cancellation, and what each call is counted as."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal, TypeVar, cast

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from mma_runtime.costs import CostAggregator, Ledger, Report
from mma_runtime.costs.report import CostReport, Spent
from mma_runtime.errors import (
    AuthenticationFailed,
    BalanceExhausted,
    ConnectionFailed,
    ProtocolViolated,
    ProviderError,
    ProviderFacts,
    ProviderFailed,
    QuotaExhausted,
    RateLimited,
)
from mma_runtime.events import (
    Event,
    ModelCallFailed,
    ModelCallFinished,
    ModelCallStarted,
    Origin,
)
from mma_runtime.governor import Gate
from mma_runtime.governor.retries import RetryPolicy
from mma_runtime.kernel import ActorSystem, Ref
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Text,
    TextDelta,
    ToolCallDelta,
    user,
)
from mma_runtime.llm.pricing import FlatRates
from mma_runtime.llm.provider import Capabilities
from mma_runtime.llm.usage import Usage
from mma_runtime.model import Model
from mma_runtime.model.route import Route
from mma_runtime.rate_limits import Limits
from mma_runtime.testing import FunctionProvider

EventT = TypeVar("EventT", bound=Event)

DEAR = FlatRates(
    input=Decimal(1_000_000),
    output=Decimal(2_000_000),
    cache_read=Decimal(1_000_000),
    cache_write=Decimal(1_000_000),
    cache_write_1h=Decimal(1_000_000),
)
AT_ONCE = RetryPolicy(base=0.0)
REQUEST = ChatRequest(
    model="m",
    system="s" * 40,
    turns=(user("u" * 40),),
    origin=Origin(tier="worker", ticket="t", task="ticket"),
)


class Stream(FunctionProvider):
    """Yields what it is given, and raises what is an error in it."""

    def __init__(
        self, *items: Chunk | Usage | Completion | Exception | anyio.Event
    ) -> None:
        super().__init__(lambda _: "")
        self.items = items
        self.can = Capabilities()
        self.closed = 0

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Usage | Completion, None]:
        self.requests.append(request)
        try:
            for item in self.items:
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, anyio.Event):
                    item.set()
                    await anyio.sleep_forever()
                else:
                    yield item
        finally:
            self.closed += 1

    def capabilities(self, model: str) -> Capabilities:
        return self.can


class Broken(FunctionProvider):
    """Has no stream to give."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk | Completion, None]:
        raise ZeroDivisionError


@dataclass
class Rig:
    """A model with an aggregator, and what it told."""

    model: Model
    costs: Ref
    events: list[Event] = field(default_factory=list[Event])

    async def report(self) -> CostReport:
        return await self.costs.ask(Report())

    def of(self, kind: type[EventT]) -> list[EventT]:
        return [one for one in self.events if isinstance(one, kind)]


@asynccontextmanager
async def rig(
    provider: FunctionProvider,
    rates: FlatRates | None = DEAR,
    retry: RetryPolicy = AT_ONCE,
) -> AsyncGenerator[Rig]:
    events: list[Event] = []
    async with ActorSystem() as system:
        costs = await system.spawn("costs", CostAggregator, Ledger(), events.append)
        route = Route(provider, "m", costs=costs, emit=events.append, rates=rates)
        yield Rig(Model(route, retry=retry), costs, events)


def failing(kind: type[ProviderError], times: int, **facts: float) -> FunctionProvider:
    """Fail *times* times, then answer."""

    def answer(_request: ChatRequest) -> str:
        if len(provider.requests) <= times:
            raise error(kind, **facts)
        return "done"

    provider = FunctionProvider(answer)
    return provider


def error(kind: type[ProviderError], **facts: object) -> ProviderError:
    return kind("no luck", ProviderFacts(provider="function", model="m", **facts))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - facts of any type


def completion(usage: Usage | None) -> Completion:
    return Completion(
        turn=AssistantTurn((Text("done"),)), finish=Finish.STOP, usage=usage, model="m"
    )


async def test_a_completion_is_returned_and_counted_as_billed() -> None:
    async with rig(FunctionProvider(lambda _: "done")) as tried:
        answer = await tried.model.complete(REQUEST)
        total = (await tried.report()).total

    assert answer.turn.text == "done"
    assert (total.calls, total.usage.input, total.usage.output) == (1, 10, 5)
    assert total.usd == 20
    assert (total.estimated_calls, total.unknown_calls) == (0, 0)
    assert total.unpaid_usd == total.usd
    (started,) = tried.of(ModelCallStarted)
    (finished,) = tried.of(ModelCallFinished)
    assert started.call == finished.call == "ticket/t/1.1.1"
    assert (finished.usd, finished.billed) == (Decimal(20), False)


async def test_the_chunks_are_seen_as_they_come() -> None:
    seen: list[Chunk] = []
    parts = (TextDelta("do"), TextDelta("ne"), completion(Usage(input=1)))
    async with rig(Stream(*parts)) as tried:
        await tried.model.complete(REQUEST, seen.append)

    assert seen == [TextDelta("do"), TextDelta("ne")]


async def test_without_a_price_the_tokens_are_counted_and_the_dollars_unknown() -> None:
    async with rig(FunctionProvider(lambda _: "done"), rates=None) as tried:
        await tried.model.complete(REQUEST)
        total = (await tried.report()).total

    assert total.usage.total == 15
    assert (total.usd, total.unknown_calls) == (Decimal(0), 1)
    assert total.unknown_usd is None
    assert (total + Spent(unknown_usd=Decimal(1))).unknown_usd is None
    assert tried.of(ModelCallFinished)[0].usd is None


@pytest.mark.parametrize("times", [1, 3])
async def test_what_may_succeed_later_is_sent_again(times: int) -> None:
    async with rig(failing(ProviderFailed, times, status=500)) as tried:
        answer = await tried.model.complete(REQUEST)
        report = await tried.report()

    assert answer.turn.text == "done"
    assert report.total.unknown_calls == 0
    failed = tried.of(ModelCallFailed)
    assert [one.retry_in for one in failed] == [0.0] * times
    assert [one.attempt for one in tried.of(ModelCallStarted)] == list(
        range(1, times + 2)
    )


async def test_the_last_attempt_raises_the_providers_error() -> None:
    provider = failing(ProviderFailed, 10, status=503)
    async with rig(provider) as tried:
        with pytest.raises(ProviderFailed, match=r"given up after 4 attempts in 0 s"):
            await tried.model.complete(REQUEST)

    assert len(provider.requests) == 4
    assert tried.of(ModelCallFailed)[-1].retry_in is None


@pytest.mark.parametrize(
    "kind", [QuotaExhausted, BalanceExhausted, AuthenticationFailed]
)
async def test_what_waiting_cannot_mend_is_not_sent_again(
    kind: type[ProviderError],
) -> None:
    provider = failing(kind, 1, status=429)
    async with rig(provider) as tried:
        with pytest.raises(kind):
            await tried.model.complete(REQUEST)

    assert len(provider.requests) == 1


async def test_a_longer_wait_than_is_allowed_is_an_error() -> None:
    provider = failing(RateLimited, 1, status=429, retry_after=3600.0)
    async with rig(provider) as tried:
        with pytest.raises(RateLimited):
            await tried.model.complete(REQUEST)

    assert len(provider.requests) == 1


async def test_a_request_that_was_turned_away_costs_nothing() -> None:
    async with rig(failing(AuthenticationFailed, 1, status=401)) as tried:
        with pytest.raises(AuthenticationFailed):
            await tried.model.complete(REQUEST)
        total = (await tried.report()).total

    assert total.calls == 0


async def test_a_connection_that_broke_before_output_has_an_unknown_cost() -> None:
    async with rig(failing(ConnectionFailed, 1)) as tried:
        await tried.model.complete(REQUEST)
        total = (await tried.report()).total

    assert (total.calls, total.unknown_calls) == (2, 1)


async def test_a_stream_that_broke_after_output_is_estimated_and_not_repeated() -> None:
    broken = error(ConnectionFailed, in_stream=True, partial_text="x" * 40)
    stream = Stream(TextDelta("x" * 40), broken)
    async with rig(stream) as tried:
        with pytest.raises(ConnectionFailed):
            await tried.model.complete(REQUEST)
        total = (await tried.report()).total

    assert len(stream.requests) == 1
    assert (total.calls, total.estimated_calls) == (1, 1)
    assert (total.usage.input, total.usage.output) == (20, 10)
    assert total.usd == 40


async def test_a_stream_without_a_completion_violates_the_protocol() -> None:
    stream = Stream(ToolCallDelta(0, "1", "read", '{"path"'))
    async with rig(stream) as tried:
        with pytest.raises(ProtocolViolated) as caught:
            await tried.model.complete(REQUEST)
        total = (await tried.report()).total

    assert caught.value.facts.partial_text == '{"path"'
    assert (total.calls, total.estimated_calls) == (1, 1)


async def test_a_cancelled_call_is_estimated_and_its_stream_closed() -> None:
    reached = anyio.Event()
    stream = Stream(TextDelta("x" * 8), reached)
    async with rig(stream) as tried:
        async with anyio.create_task_group() as group:
            group.start_soon(tried.model.complete, REQUEST)
            await reached.wait()
            group.cancel_scope.cancel()
        total = (await tried.report()).total

    assert stream.closed == 1
    assert (total.calls, total.estimated_calls) == (1, 1)
    assert total.usage.output == 2


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        (Usage(input=9_000, cache_write=8_000), (9_000, 8_000, 2)),
        (Usage(input=9_000, output=70, reasoning=60), (9_000, 0, 70)),
    ],
)
async def test_what_was_told_before_a_stream_broke_is_what_counts(
    told: Usage, counted: tuple[int, int, int]
) -> None:
    provider = Stream(
        told,
        TextDelta("half of"),
        error(ProviderFailed, in_stream=True, partial_text="half of"),
    )
    async with rig(provider) as tried:
        with pytest.raises(ProviderFailed):
            await tried.model.complete(REQUEST)
        total = (await tried.report()).total

    usage = total.usage
    assert (total.calls, total.estimated_calls) == (1, 1)
    assert (usage.input, usage.cache_write, usage.output) == counted


async def test_what_was_told_before_a_call_was_cancelled_is_what_counts() -> None:
    reached = anyio.Event()
    provider = Stream(Usage(input=9_000), TextDelta("half"), reached)
    async with rig(provider) as tried:
        async with anyio.create_task_group() as group:
            group.start_soon(tried.model.complete, REQUEST)
            await reached.wait()
            group.cancel_scope.cancel()
        usage = (await tried.report()).total.usage

    assert (usage.input, usage.output) == (9_000, 1)


@pytest.mark.parametrize(
    ("reasoning", "effort", "output"),
    [
        ("always", None, 700),
        ("always", "none", 1),
        ("asked", "high", 700),
        ("asked", None, 1),
        ("never", "high", 1),
    ],
)
async def test_thoughts_that_nobody_saw_count_for_all_that_was_allowed(
    reasoning: Literal["always", "asked", "never"], effort: str | None, output: int
) -> None:
    provider = Stream(
        TextDelta("half"), error(ProviderFailed, in_stream=True, partial_text="half")
    )
    provider.can = Capabilities(reasoning=reasoning)
    request = replace(REQUEST, max_output_tokens=700, reasoning_effort=effort)
    async with rig(provider) as tried:
        with pytest.raises(ProviderFailed):
            await tried.model.complete(request)
        total = (await tried.report()).total

    assert (total.estimated_calls, total.usage.output) == (1, output)


async def test_a_call_cancelled_before_any_output_has_an_unknown_cost() -> None:
    reached = anyio.Event()
    async with rig(Stream(reached)) as tried:
        async with anyio.create_task_group() as group:
            group.start_soon(tried.model.complete, REQUEST)
            await reached.wait()
            group.cancel_scope.cancel()
        total = (await tried.report()).total

    assert (total.calls, total.unknown_calls, total.usd) == (1, 1, Decimal(0))


async def test_a_bug_in_a_provider_is_not_swallowed_and_its_call_counted() -> None:
    async with rig(Stream(ZeroDivisionError())) as tried:
        with pytest.raises(ZeroDivisionError):
            await tried.model.complete(REQUEST)
        total = (await tried.report()).total

    assert (total.calls, total.unknown_calls) == (1, 1)


@pytest.mark.parametrize(
    "items",
    [
        (TextDelta(cast("str", {"no": "text"})), error(ConnectionFailed)),
        (TextDelta(cast("str", {"no": "text"})),),
        (cast("Chunk", "no chunk"),),
        (replace(completion(Usage()), usage=cast("Usage", {"input": "12"})),),
        (TextDelta(cast("str", ["no text"])), anyio.Event()),
    ],
    ids=["odd_text", "odd_text_and_no_end", "no_chunk", "odd_usage", "cancelled"],
)
async def test_an_odd_answer_gives_its_permit_back_and_counts_as_unknown(
    items: tuple[Chunk | Completion | Exception | anyio.Event, ...],
) -> None:
    events: list[Event] = []
    gate = Gate(Limits(in_flight=1))
    async with ActorSystem() as system:
        costs = await system.spawn("costs", CostAggregator, Ledger(), events.append)

        def model(provider: FunctionProvider) -> Model:
            return Model(
                Route(
                    provider,
                    "m",
                    costs=costs,
                    emit=events.append,
                    rates=DEAR,
                    gate=gate,
                ),
                retry=AT_ONCE,
            )

        with pytest.RaisesGroup(pytest.RaisesExc((TypeError, AttributeError))):
            async with anyio.create_task_group() as group:
                group.start_soon(model(Stream(*items)).complete, REQUEST)
                await wait_all_tasks_blocked()
                group.cancel_scope.cancel()
        after = (gate.in_flight, (await costs.ask(Report())).total)
        with anyio.fail_after(5):
            await model(FunctionProvider(lambda _: "done")).complete(REQUEST)

    in_flight, total = after
    assert in_flight == 0
    assert (total.calls, total.unknown_calls, total.in_flight) == (1, 1, 0)


async def test_a_provider_that_fails_before_it_streams_gives_its_permit_back() -> None:
    provider = Broken(lambda _: "")
    async with rig(provider) as tried:
        with pytest.raises(ZeroDivisionError):
            await tried.model.complete(REQUEST)
        total = (await tried.report()).total

    assert tried.model.routes[0].gate.in_flight == 0
    assert (total.unknown_calls, total.in_flight) == (1, 0)


def delays(policy: RetryPolicy, draw: Callable[[int], float]) -> list[float | None]:
    failed = error(ProviderFailed, status=500)
    return [policy.delay(failed, attempt, draw(attempt)) for attempt in range(1, 6)]


def test_the_wait_doubles_up_to_the_longest_and_ends_with_the_attempts() -> None:
    policy = RetryPolicy(attempts=5, base=1.0, longest=4.0)

    assert delays(policy, lambda _: 1.0) == [1.0, 2.0, 4.0, 4.0, None]
    assert delays(policy, lambda _: 0.0) == [0.0, 0.0, 0.0, 0.0, None]


def test_a_rate_limit_is_tried_more_often_but_not_for_ever() -> None:
    limited = error(RateLimited, status=429)

    assert RetryPolicy().delay(limited, 19, 0.5) == 0.0
    assert RetryPolicy().delay(limited, 20, 0.5) is None


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.0), (60.0, 60.0), (60.1, None)])
def test_a_provider_that_names_a_time_is_obeyed_up_to_a_bound(
    asked: float, waited: float | None
) -> None:
    limited = error(RateLimited, status=429, retry_after=asked)

    assert RetryPolicy(patience=60.0).delay(limited, 1, 0.5) == waited
