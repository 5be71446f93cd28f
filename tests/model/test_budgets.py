"""Budgets around calls: of many workers, cancelled, failing, and falling back."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

import anyio
import pytest

from mma_runtime.costs import CostAggregator, Ledger, Report
from mma_runtime.costs.budget import Budget, Budgets
from mma_runtime.costs.report import Spent
from mma_runtime.costs.reservations import NOTHING, Reservation, WrapUp
from mma_runtime.errors import (
    BudgetExhausted,
    ConnectionFailed,
    ProviderError,
    ProviderFacts,
    ProviderFailed,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from mma_runtime.events import (
    BudgetReached,
    BudgetWarning,
    Event,
    ModelCallFailed,
    ModelCallQueued,
    ModelFellBack,
    Origin,
)
from mma_runtime.governor import Gate
from mma_runtime.governor.breaker import Breaker
from mma_runtime.governor.queueing import Demand
from mma_runtime.governor.retries import RetryPolicy
from mma_runtime.kernel import ActorSystem, Ref
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Text,
    user,
)
from mma_runtime.llm.pricing import FlatRates, TieredRates
from mma_runtime.llm.provider import Capabilities
from mma_runtime.llm.usage import Usage
from mma_runtime.model import Model
from mma_runtime.model.route import Route
from mma_runtime.rate_limits import Limits
from mma_runtime.testing import FunctionProvider, Said
from mma_runtime.testing.clock import virtual_backend

EventT = TypeVar("EventT", bound=Event)
ONE = Decimal(1)
DOLLAR_A_TOKEN = FlatRates(
    input=ONE * 1_000_000,
    output=ONE * 1_000_000,
    cache_read=ONE * 1_000_000,
    cache_write=ONE * 1_000_000,
    cache_write_1h=ONE * 1_000_000,
)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return virtual_backend(request.param)


@dataclass
class Rig:
    """What models are made with, and what they told."""

    costs: Ref
    ledger: Ledger
    events: list[Event] = field(default_factory=list[Event])

    def route(self, provider: FunctionProvider, name: str = "m") -> Route:
        return Route(
            provider,
            name,
            costs=self.costs,
            emit=self.events.append,
            rates=DOLLAR_A_TOKEN,
            gate=Gate(adapts=False),
            breaker=Breaker(),
        )

    async def spent(self) -> Spent:
        return (await self.costs.ask(Report())).total

    def of(self, kind: type[EventT]) -> list[EventT]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def rig(run: Budget | None = None, **levels: Any) -> AsyncGenerator[Rig]:
    ledger = Ledger(Budgets(run=run or Budget(), **levels))
    events: list[Event] = []
    async with ActorSystem() as system:
        costs = await system.spawn("costs", CostAggregator, ledger, events.append)
        yield Rig(costs, ledger, events)


class FailsAtOnce(FunctionProvider):
    """Fails before anything lets a deadline cut it off."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk | Completion, None]:
        raise ConnectionFailed("no luck", ProviderFacts(provider="p", model="m"))


def ask(ticket: str = "t", output: int | None = 10, **more: Any) -> ChatRequest:
    return ChatRequest(
        model="m",
        system="",
        turns=(user("u" * 20),),
        max_output_tokens=output,
        origin=Origin(tier="worker", ticket=ticket, task="ticket"),
        **more,
    )


def answer(output: int = 5) -> Completion:
    return Completion(
        turn=AssistantTurn((Text("done"),)),
        finish=Finish.STOP,
        usage=Usage(input=20, output=output),
        model="m",
    )


def fails(kind: type[ProviderError], **facts: Any) -> ProviderError:
    return kind("no luck", ProviderFacts(provider="function", **facts))


# --- where nothing is limited -------------------------------------------------


async def test_without_any_limit_a_call_is_counted_as_in_flight_unasked() -> None:
    in_flight: list[int] = []
    async with rig() as it:

        async def look(_request: ChatRequest) -> Said:
            in_flight.append((await it.spent()).in_flight)
            return answer()

        route = it.route(FunctionProvider(look))
        route.write_to(it.ledger)
        await Model(route).complete(ask())
        spent = await it.spent()

    assert in_flight == [1]
    assert (spent.in_flight, spent.calls, spent.usd) == (0, 1, Decimal(25))


async def test_a_call_that_is_cancelled_before_it_is_sent_holds_nothing() -> None:
    async with rig() as it:
        route = it.route(FunctionProvider(lambda _: answer()))
        route.write_to(it.ledger)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await Model(route).complete(ask())

        spent = await it.spent()

    assert (spent.in_flight, spent.calls) == (0, 0)
    assert it.ledger.tree.granted == set()


# --- never one call too many --------------------------------------------------


@pytest.mark.parametrize("workers", [8, 32, 1_000])
async def test_a_budget_for_five_calls_is_never_a_sixth(workers: int) -> None:
    refused: list[BudgetExhausted] = []

    async def slowly(_request: ChatRequest) -> Said:
        await anyio.sleep(1)
        return answer()

    provider = FunctionProvider(slowly)
    async with rig(Budget(calls=5)) as tried:
        model = Model(tried.route(provider))

        async def work(number: int) -> None:
            try:
                await model.complete(ask(f"t{number}"))
            except BudgetExhausted as exhausted:
                refused.append(exhausted)

        async with anyio.create_task_group() as group:
            for number in range(workers):
                group.start_soon(work, number)
        total = await tried.spent()

    assert len(provider.requests) == total.calls == 5
    assert len(refused) == workers - 5
    assert {(error.unit, error.limit, error.spent) for error in refused} == {
        ("calls", "5", "5")
    }
    assert len(tried.of(BudgetReached)) == workers - 5


async def test_a_caller_that_is_cancelled_while_it_asks_leaves_nothing_behind() -> None:
    async with rig(Budget(calls=1)) as tried:
        model = Model(tried.route(FunctionProvider(lambda _: answer())))
        for steps in range(12):
            with anyio.CancelScope() as scope:

                async def stop(scope: anyio.CancelScope, steps: int) -> None:
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()

                async with anyio.create_task_group() as group:
                    group.start_soon(stop, scope, steps)
                    if tried.ledger.tree.run.spent.calls == 0:
                        await model.complete(ask())
            await tried.spent()
            assert tried.ledger.tree.run.held == NOTHING

    assert tried.ledger.tree.run.spent.calls <= 1


async def test_reserved_dollars_of_calls_in_flight_are_seen_live() -> None:
    async def slowly(_request: ChatRequest) -> Said:
        await anyio.sleep(1)
        return answer()

    seen: list[Spent] = []
    async with rig() as tried, anyio.create_task_group() as group:
        model = Model(tried.route(FunctionProvider(slowly)))
        group.start_soon(model.complete, ask(output=100))
        await anyio.sleep(0.5)
        seen.append(await tried.spent())
        await anyio.sleep(1)
        seen.append(await tried.spent())

    during, after = seen
    assert (during.calls, during.in_flight) == (0, 1)
    assert during.reserved_usd > 100
    assert (after.calls, after.in_flight, after.reserved_usd) == (1, 0, Decimal(0))
    assert after.usd == 25


async def test_a_call_that_waits_for_another_says_so() -> None:
    async def slowly(_request: ChatRequest) -> Said:
        await anyio.sleep(1)
        return answer()

    async with rig(Budget(usd=Decimal(150))) as tried:
        model = Model(tried.route(FunctionProvider(slowly)))
        async with anyio.create_task_group() as group:
            group.start_soon(model.complete, ask("a"))
            group.start_soon(model.complete, ask("b"))
        total = await tried.spent()

    assert [event.reason for event in tried.of(ModelCallQueued)] == ["budget"]
    assert total.usd == 50


# --- what is sent -------------------------------------------------------------


class BrokenObserver:
    """Fails whenever it is to look on at a call."""

    def chat(self, request: ChatRequest, model: str, attempt: int) -> Any:
        raise ZeroDivisionError


async def not_journalled(*_: object) -> None:
    raise OSError


@pytest.mark.parametrize(
    ("observer", "before_send", "error"),
    [
        (BrokenObserver(), None, ZeroDivisionError),
        (None, not_journalled, OSError),
    ],
)
async def test_a_call_that_could_not_be_sent_leaves_nothing_behind(
    observer: Any, before_send: Any, error: type[Exception]
) -> None:
    gate = Gate(Limits(requests_per_minute=1))
    async with rig(Budget(calls=1)) as tried:
        route = Route(
            named("a", lambda _: answer(), []),
            "m",
            costs=tried.costs,
            emit=tried.events.append,
            rates=DOLLAR_A_TOKEN,
            gate=gate,
            observer=observer,
        )
        route.before_send = before_send
        with pytest.raises(error):
            await Model(route).complete(ask())

        spent = await tried.spent()

    assert (spent.calls, spent.in_flight, spent.attempts) == (0, 0, 0)
    assert tried.ledger.tree.run.held == NOTHING
    assert gate.in_flight == 0
    # Nothing reached the provider, so the minute's one request is still there.
    assert gate.enter_nowait(Demand()) is not None


async def test_the_shrunk_output_limit_is_what_is_sent() -> None:
    provider = FunctionProvider(lambda _: answer())
    async with rig(Budget(tokens=400), floor=100) as tried:
        await Model(tried.route(provider)).complete(ask(output=1_000))

    (sent,) = provider.requests
    assert sent.max_output_tokens is not None
    assert 100 <= sent.max_output_tokens < 400


@pytest.mark.parametrize(
    ("budget", "sent"), [(Budget(), None), (Budget(calls=5), 4_096)]
)
async def test_an_output_limit_is_only_added_where_a_budget_needs_it(
    budget: Budget, sent: int | None
) -> None:
    provider = FunctionProvider(lambda _: answer())
    async with rig(budget) as tried:
        await Model(tried.route(provider)).complete(ask(output=None))

    assert provider.requests[0].max_output_tokens == sent


@pytest.mark.parametrize(
    ("can", "effort", "reserved", "sent"),
    [
        (Capabilities(max_output=9_000), None, 9_000, None),
        (Capabilities(max_output=9_000, default_output=5_000), None, 5_000, None),
        (Capabilities(reasoning="always"), None, 32_768, 32_768),
        (Capabilities(reasoning="always"), "none", 4_096, 4_096),
        (Capabilities(reasoning="asked"), "low", 32_768, 32_768),
        (Capabilities(reasoning="asked"), None, 4_096, 4_096),
    ],
)
async def test_what_is_reserved_is_what_may_come(
    can: Capabilities, effort: str | None, reserved: int, sent: int | None
) -> None:
    provider = FunctionProvider(lambda _: answer(40_000))
    provider.capabilities = lambda model: can  # type: ignore[method-assign]
    held: list[int | None] = []

    async def look(_request: ChatRequest, _number: int, wish: Reservation) -> None:
        held.append(wish.output)

    async with rig(Budget(calls=5)) as tried:
        route = tried.route(provider)
        route.before_send = look
        await Model(route).complete(ask(output=None, reasoning_effort=effort))

    assert held == [reserved]
    assert provider.requests[0].max_output_tokens == sent


async def test_what_is_kept_for_a_conclusion_is_at_the_price_of_its_own_length() -> (
    None
):
    dear = replace(DOLLAR_A_TOKEN, input=ONE * 9_000_000, output=ONE * 9_000_000)
    steps = TieredRates(((3_000, dear), (0, DOLLAR_A_TOKEN)))
    provider = FunctionProvider(lambda _: answer())
    async with rig(Budget(usd=ONE * 1_000_000)) as tried:
        route = Route(
            provider, "m", costs=tried.costs, emit=tried.events.append, rates=steps
        )
        await Model(route).complete(ask(), wrap_up=WrapUp.KEEP)
        await tried.spent()
        kept = tried.ledger.tree.run.kept

    assert kept.tokens > 3_000
    assert kept.usd == 9 * kept.tokens


async def test_a_call_is_cut_off_when_its_tickets_time_is_up() -> None:
    async def slowly(_request: ChatRequest) -> Said:
        await anyio.sleep(60)
        return "never"

    async with rig(ticket=Budget(seconds=5)) as tried:
        model = Model(tried.route(FunctionProvider(slowly)))
        began = anyio.current_time()
        with pytest.raises(BudgetExhausted, match="ticket 't' is used up: 5 of 5 sec"):
            await model.complete(ask())
        took = anyio.current_time() - began
        total = await tried.spent()

    assert took == pytest.approx(5)
    assert (total.unknown_calls, bool(total.unknown_usd)) == (1, True)


async def test_a_call_that_fails_after_its_time_is_up_ends_as_out_of_time() -> None:
    async with rig(ticket=Budget(seconds=1e-9)) as tried:
        model = Model(tried.route(FailsAtOnce(lambda _: "")))
        with pytest.raises(BudgetExhausted, match="seconds"):
            await model.complete(ask())


@pytest.mark.parametrize("budget", [Budget(seconds=5), Budget(seconds=5, calls=9)])
async def test_a_call_that_waits_for_room_ends_when_its_time_is_up(
    budget: Budget,
) -> None:
    at_work = anyio.Event()

    async def slowly(_request: ChatRequest) -> Said:
        at_work.set()
        await anyio.sleep(60)
        return answer()

    ends: list[tuple[str, float, str]] = []
    async with rig(Budget(tokens=4_000), floor=10, tiers={"worker": budget}) as tried:
        provider = FunctionProvider(slowly)
        model = Model(tried.route(provider))
        began = anyio.current_time()

        async def work(tier: str) -> None:
            origin, words = Origin(tier=tier, ticket="t", task="ticket"), ""
            try:
                await model.complete(replace(ask(output=3_500), origin=origin))
            except BudgetExhausted as error:
                words = str(error)
            ends.append((tier, anyio.current_time() - began, words))

        # The second waits for the room that the first holds, the third behind it.
        async with anyio.create_task_group() as group:
            for tier in ("tech_lead", "worker", "worker"):
                group.start_soon(work, tier)
                await at_work.wait()
        total = await tried.spent()

    used_up = "the budget of tier 'worker' is used up: 5 of 5 seconds"
    assert [(tier, round(end)) for tier, end, _ in ends] == [
        ("worker", 5),
        ("worker", 5),
        ("tech_lead", 60),
    ]
    assert [words[: len(used_up)] for *_, words in ends] == [used_up, used_up, ""]
    assert (total.calls, total.in_flight) == (1, 0)
    assert tried.ledger.tree.run.held == NOTHING
    reached = tried.of(BudgetReached)
    assert [(it.level, it.name, it.unit) for it in reached] == [
        ("tier", "worker", "seconds")
    ] * 2


async def test_a_call_that_waits_to_be_sent_again_ends_when_its_time_is_up() -> None:
    def fail(_request: ChatRequest) -> Said:
        raise fails(ProviderFailed, status=503, retry_after=50.0)

    provider = FunctionProvider(fail)
    async with rig(ticket=Budget(seconds=5)) as tried:
        began = anyio.current_time()
        with pytest.raises(BudgetExhausted, match="ticket 't' is used up: 5 of 5 sec"):
            await Model(tried.route(provider)).complete(ask())
        took = anyio.current_time() - began

    assert took == pytest.approx(5)
    assert len(provider.requests) == 1


async def test_warnings_come_at_50_80_and_95_per_cent() -> None:
    async with rig(Budget(calls=20)) as tried:
        model = Model(tried.route(FunctionProvider(lambda _: answer())))
        for _ in range(20):
            await model.complete(ask())
        await tried.spent()

    warned = [
        (event.level, event.unit, event.per_cent, event.spent)
        for event in tried.of(BudgetWarning)
    ]
    assert warned == [
        ("run", "calls", 50, "10"),
        ("run", "calls", 80, "16"),
        ("run", "calls", 95, "19"),
    ]


@pytest.mark.parametrize(
    ("levels", "level"),
    [
        ({"run": Budget(seconds=10)}, "run"),
        ({"ticket": Budget(seconds=10, calls=100)}, "ticket"),
        ({"tiers": {"worker": Budget(seconds=10)}}, "tier"),
    ],
)
async def test_warnings_come_when_time_is_nearly_up(
    levels: dict[str, Any], level: str
) -> None:
    async def slowly(_request: ChatRequest) -> Said:
        await anyio.sleep(1)
        return answer()

    async with rig(**levels) as tried:
        model = Model(tried.route(FunctionProvider(slowly)))
        for _ in range(9):
            await model.complete(ask())
        await anyio.sleep(0.6)
        with anyio.move_on_after(0.2):
            await model.complete(ask())
        await tried.spent()

    assert [
        (event.level, event.unit, event.limit, event.per_cent, event.spent)
        for event in tried.of(BudgetWarning)
    ] == [
        (level, "seconds", "10", 50, "5.0"),
        (level, "seconds", "10", 80, "8.0"),
        (level, "seconds", "10", 95, "9.8"),
    ]


async def test_a_completion_without_usage_is_estimated_from_what_was_said() -> None:
    said = Completion(
        turn=AssistantTurn((Text("x" * 40),)),
        finish=Finish.STOP,
        usage=None,
        model="m",
    )
    async with rig() as tried:
        await Model(tried.route(FunctionProvider(lambda _: said))).complete(ask())
        total = await tried.spent()

    assert (total.estimated_calls, total.unknown_calls) == (1, 0)
    assert (total.usage.output, total.estimated_usd) == (10, total.usd)


# --- retries ------------------------------------------------------------------


async def test_retries_end_after_a_time_as_well() -> None:
    def never(_request: ChatRequest) -> Said:
        raise fails(ProviderFailed, status=500, retry_after=10.0)

    provider = FunctionProvider(never)
    policy = RetryPolicy(attempts=100, seconds=35.0)
    async with rig() as tried:
        with pytest.raises(ProviderFailed):
            await Model(tried.route(provider), retry=policy).complete(ask())

    assert len(provider.requests) == 5


async def test_the_error_says_how_long_a_provider_asks_to_wait() -> None:
    def never(_request: ChatRequest) -> Said:
        raise fails(ProviderFailed, status=503, retry_after=7_200.0)

    async with rig() as tried:
        with pytest.raises(ProviderFailed, match=r"asks to wait for 7,200 s"):
            await Model(tried.route(FunctionProvider(never))).complete(ask())


async def test_each_attempt_is_counted_and_those_turned_away_cost_nothing() -> None:
    def second_time(_request: ChatRequest) -> Said:
        if len(provider.requests) < 3:
            raise fails(ProviderFailed, status=500)
        return answer()

    provider = FunctionProvider(second_time)
    async with rig(Budget(calls=1)) as tried:
        await Model(tried.route(provider)).complete(ask())
        total = await tried.spent()

    assert (total.attempts, total.calls, total.usd) == (3, 1, Decimal(25))


# --- falling back -------------------------------------------------------------


def named(
    name: str, function: Callable[[ChatRequest], Said], seen: list[str]
) -> FunctionProvider:
    def answer_as(request: ChatRequest) -> Said:
        seen.append(f"{name}:{request.model}")
        return function(request)

    return FunctionProvider(answer_as, name=name)


def used_up(_request: ChatRequest) -> Said:
    raise fails(QuotaExhausted, status=429)


async def test_the_next_model_is_asked_when_the_first_is_out_of_quota() -> None:
    seen: list[str] = []
    async with rig() as tried:
        model = Model(
            tried.route(named("a", used_up, seen), "big"),
            tried.route(named("b", lambda _: answer(), seen), "small"),
        )
        for _ in range(3):
            await model.complete(ask())

    assert seen == ["a:big", "b:small", "b:small", "b:small"]
    fell = tried.of(ModelFellBack)
    assert [(event.model, event.to) for event in fell] == [("a:big", "b:small")] * 3
    assert "quota is used up" in fell[0].error
    assert fell[1].error == ""


async def test_a_model_that_was_left_alone_is_tried_by_one_call_after_a_rest() -> None:
    seen: list[str] = []
    healthy = False

    def sometimes(_request: ChatRequest) -> Said:
        return answer() if healthy else used_up(_request)

    async with rig() as tried:
        model = Model(
            tried.route(named("a", sometimes, seen)),
            tried.route(named("b", lambda _: answer(), seen)),
        )
        await model.complete(ask())
        await anyio.sleep(301)
        await model.complete(ask())
        healthy = True
        await anyio.sleep(601)
        await model.complete(ask())
        await model.complete(ask())

    assert [who[0] for who in seen] == ["a", "b", "a", "b", "a", "a"]


async def test_many_calls_that_fail_at_once_leave_a_model_alone_once() -> None:
    async with rig() as tried:
        first = tried.route(named("a", used_up, []))
        model = Model(first, tried.route(named("b", lambda _: answer(), [])))
        async with anyio.create_task_group() as group:
            for number in range(32):
                group.start_soon(model.complete, ask(f"t{number}"))

        assert 0 < first.breaker.rests_for(anyio.current_time()) <= 300


async def test_the_last_error_is_raised_when_no_model_is_to_be_had() -> None:
    seen: list[str] = []
    async with rig() as tried:
        model = Model(
            tried.route(named("a", used_up, seen)),
            tried.route(named("b", used_up, seen)),
        )
        for _ in range(2):
            with pytest.raises(QuotaExhausted):
                await model.complete(ask())

    # Where all are left alone, the first is tried rather than none.
    assert [who[0] for who in seen] == ["a", "b", "a"]


async def test_a_model_that_answers_when_all_are_left_alone_is_back() -> None:
    seen: list[str] = []
    healthy = False

    def sometimes(_request: ChatRequest) -> Said:
        return answer() if healthy else used_up(_request)

    async with rig() as tried:
        first = tried.route(named("a", sometimes, seen))
        model = Model(first, tried.route(named("b", used_up, seen)))
        with pytest.raises(QuotaExhausted):
            await model.complete(ask())
        healthy = True
        for _ in range(2):
            await model.complete(ask())

        assert not first.breaker.is_open
        fell = tried.of(ModelFellBack)

    assert [who[0] for who in seen] == ["a", "b", "a", "a"]
    # The last call went to the first at once.
    assert len(fell) == 2


async def test_what_another_model_cannot_mend_does_not_fall_back() -> None:
    def rejected(_request: ChatRequest) -> Said:
        raise fails(RequestRejected, status=400)

    seen: list[str] = []
    async with rig() as tried:
        model = Model(
            tried.route(named("a", rejected, seen)),
            tried.route(named("b", lambda _: answer(), seen)),
        )
        with pytest.raises(RequestRejected):
            await model.complete(ask())

    assert seen == ["a:m"]


async def test_a_spent_budget_does_not_fall_back() -> None:
    seen: list[str] = []
    async with rig(Budget(tokens=1)) as tried:
        model = Model(
            tried.route(named("a", lambda _: answer(), seen)),
            tried.route(named("b", lambda _: answer(), seen)),
        )
        with pytest.raises(BudgetExhausted):
            await model.complete(ask())

    assert seen == []


# --- falling back from an account that rests -----------------------------------


def limited(rest: float | None, refusals: int) -> Callable[[ChatRequest], Said]:
    """Refuse the first requests, asking for a *rest*; then answer."""
    left = [refusals]

    def function(_request: ChatRequest) -> Said:
        if left[0]:
            left[0] -= 1
            raise fails(RateLimited, status=429, retry_after=rest)
        return answer()

    return function


@pytest.mark.parametrize(
    ("rest", "refusals", "asked", "took"),
    [
        # A short rest, and the growing ones of who names no time, are waited for.
        (2.0, 1, "aa", 2),
        (None, 3, "aaaa", 7),
        (None, 4, "aaaab", 7),
        # A long one is not.
        (30.0, 1, "ab", 0),
        (90.0, 1, "ab", 0),
    ],
)
async def test_a_call_does_not_wait_long_where_another_model_is_free(
    rest: float | None, refusals: int, asked: str, took: float
) -> None:
    seen: list[str] = []
    async with rig() as tried:
        model = Model(
            tried.route(named("a", limited(rest, refusals), seen)),
            tried.route(named("b", lambda _: answer(), seen)),
        )
        began = anyio.current_time()
        await model.complete(ask())
        assert anyio.current_time() - began == pytest.approx(took, abs=0.1)

    assert [who[0] for who in seen] == list(asked)
    failed = tried.of(ModelCallFailed)
    assert [it.retry_in is None for it in failed].count(True) == asked.count("b")


async def test_a_rate_limited_model_is_back_as_soon_as_its_account_has_rested() -> None:
    seen: list[str] = []
    async with rig() as tried:
        model = Model(
            tried.route(named("a", limited(8.0, 1), seen)),
            tried.route(named("b", lambda _: answer(), seen)),
        )
        for pause in (0, 2, 7):
            await anyio.sleep(pause)
            await model.complete(ask())

    assert [who[0] for who in seen] == ["a", "b", "b", "a"]
    fell = tried.of(ModelFellBack)
    assert [(it.model, it.to, round(it.seconds)) for it in fell] == [
        ("a:m", "b:m", 8),
        ("a:m", "b:m", 6),
    ]
    assert [bool(it.error) for it in fell] == [True, False]


async def test_calls_that_wait_for_their_turn_go_where_it_is_free() -> None:
    seen: list[str] = []
    async with rig() as tried:
        first = tried.route(named("a", limited(30.0, 1), seen))
        first.gate.configure(Limits(in_flight=1))
        model = Model(first, tried.route(named("b", lambda _: answer(), seen)))
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(model.complete, ask(f"t{number}"))
        took = anyio.current_time() - began
        spent = await tried.spent()

    assert sorted(who[0] for who in seen) == ["a", "b", "b", "b", "b", "b"]
    finals = {event.final for event in tried.of(ModelCallFailed)}
    assert finals == {"another model is asked meanwhile"}
    assert took < 1
    assert (spent.calls, spent.in_flight) == (5, 0)


async def test_where_all_accounts_rest_the_first_is_waited_for() -> None:
    seen: list[str] = []
    async with rig() as tried:
        model = Model(
            tried.route(named("a", limited(30.0, 1), seen)),
            tried.route(named("b", limited(40.0, 1), seen)),
        )
        began = anyio.current_time()
        await model.complete(ask())
        took = anyio.current_time() - began

    assert [who[0] for who in seen] == ["a", "b", "a"]
    assert took == pytest.approx(30, abs=0.1)


async def test_a_resting_model_is_waited_for_when_the_others_fail() -> None:
    seen: list[str] = []
    async with rig() as tried:
        model = Model(
            tried.route(named("a", limited(30.0, 1), seen)),
            tried.route(named("b", used_up, seen)),
        )
        for _ in range(2):
            await model.complete(ask())

    assert [who[0] for who in seen] == ["a", "b", "a", "a"]
