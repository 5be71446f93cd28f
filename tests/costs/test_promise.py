"""The promise of budgets: held whatever becomes of calls, callers and the aggregator.

Real calls through models, gates and the aggregator, in virtual time, over random trees
of budgets; the sums are checked after each message that the aggregator handles.
"""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from functools import partial
from itertools import count

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mma_runtime.costs import (
    Close,
    CostAggregator,
    CostEvent,
    CostState,
    Ledger,
    Release,
    Report,
    Reserve,
)
from mma_runtime.costs.budget import Budget, Budgets
from mma_runtime.costs.report import CostReport, Spent
from mma_runtime.costs.reservations import NOTHING, Amount, Reservation, WrapUp, add
from mma_runtime.errors import (
    ActorFailed,
    ConnectionFailed,
    MMAError,
    ProviderError,
    ProviderFacts,
    ProviderFailed,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from mma_runtime.events import CostCounted, Event, ModelCallFinished, Origin
from mma_runtime.governor import Gate
from mma_runtime.governor.retries import RetryPolicy
from mma_runtime.kernel import Actor, ActorSystem, Message, Ref, Request, handles
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Text,
    TextDelta,
    ToolSpec,
    Turn,
    UserTurn,
)
from mma_runtime.llm.pricing import FlatRates, Rates, TieredRates
from mma_runtime.llm.usage import Usage
from mma_runtime.model import Model
from mma_runtime.model.route import Route
from mma_runtime.rate_limits import Limits
from mma_runtime.rounds.conversation import Conversation
from mma_runtime.testing import FunctionProvider
from mma_runtime.testing.clock import virtual_backend

# --- what is drawn ------------------------------------------------------------


class Ending(Enum):
    """What becomes of one attempt."""

    ANSWERED = auto()
    ANSWERED_WITHOUT_USAGE = auto()
    FAILED = auto()
    LIMITED = auto()
    REJECTED = auto()
    USED_UP = auto()
    LOST = auto()
    BROKEN = auto()
    CRASHED = auto()
    HANGS = auto()


_ERRORS: dict[Ending, type[ProviderError]] = {
    Ending.FAILED: ProviderFailed,
    Ending.LIMITED: RateLimited,
    Ending.REJECTED: RequestRejected,
    Ending.USED_UP: QuotaExhausted,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: how large it is, and what becomes of its attempts in turn.

    *share* is how much of the output that is allowed is used; *crashes* kills the
    aggregator in the middle.
    """

    size: int
    tools: int
    output: int | None
    wrap_up: WrapUp
    seconds: float
    share: float
    endings: tuple[Ending, ...]
    crashes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one agent does, and after how many seconds it is cancelled, if it is."""

    tier: str
    track: str
    ticket: str
    cancelled_after: float | None
    calls: tuple[Call, ...]


prices = st.decimals(0, 20, places=3)
flat_rates = st.builds(
    FlatRates,
    input=prices,
    output=prices,
    cache_read=prices,
    cache_write=prices,
    cache_write_1h=prices,
)
tiered_rates = st.tuples(
    st.tuples(st.just(500), flat_rates), st.tuples(st.just(0), flat_rates)
)
any_rates = flat_rates | st.builds(TieredRates, tiered_rates)
some_budget = st.builds(
    Budget,
    usd=st.none() | st.decimals("0.000001", "0.05", places=6),
    tokens=st.none() | st.integers(300, 6_000),
    calls=st.none() | st.integers(0, 12),
    seconds=st.none() | st.floats(0.5, 20),
)
some_budgets = st.builds(
    Budgets,
    run=some_budget,
    tiers=st.dictionaries(st.sampled_from(["worker", "qa"]), some_budget),
    track=some_budget,
    ticket=some_budget,
    floor=st.integers(1, 300),
)
some_limits = st.builds(
    Limits,
    requests_per_minute=st.none() | st.integers(5, 60),
    tokens_per_minute=st.none() | st.integers(1_000, 60_000),
    in_flight=st.none() | st.integers(1, 4),
)
some_calls = st.builds(
    Call,
    size=st.integers(0, 900),
    tools=st.sampled_from([0, 0, 1, 3]),
    output=st.none() | st.integers(1, 1_500),
    wrap_up=st.sampled_from(list(WrapUp)),
    seconds=st.floats(0, 4),
    share=st.floats(0, 1),
    endings=st.just(())
    | st.lists(st.sampled_from(list(Ending)), max_size=4).map(tuple),
    crashes=st.booleans(),
)
some_jobs = st.builds(
    Job,
    tier=st.sampled_from(["worker", "qa", "tech_lead"]),
    track=st.sampled_from(["x", "y"]),
    ticket=st.sampled_from(["", "t1", "t2"]),
    cancelled_after=st.none() | st.floats(0, 15),
    calls=st.lists(some_calls, min_size=1, max_size=4).map(tuple),
)


# --- what takes part ----------------------------------------------------------


class Scripted(FunctionProvider):
    """Lets each attempt end as it is written in its call; bills what it received.

    A token of its is *letters* long: with one, as many as any tokenizer makes.
    """

    def __init__(self, calls: dict[int, Call], name: str, letters: int) -> None:
        super().__init__(lambda _: "", name=name)
        self._calls = calls
        self._letters = letters
        self._attempts: dict[int, int] = {}

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion, None]:
        call = self._calls[request.turn]
        done = self._attempts[request.turn] = self._attempts.get(request.turn, 0) + 1
        ending = Ending.ANSWERED
        if done <= len(call.endings):
            ending = call.endings[done - 1]

        await anyio.sleep(call.seconds / 2)
        if ending in _ERRORS:
            raise _ERRORS[ending]("", ProviderFacts(provider=self.name, status=429))
        if ending is Ending.LOST:
            raise ConnectionFailed("", ProviderFacts(provider=self.name))

        allowed = request.max_output_tokens or 2_000
        # More than four letters a token: the estimate alone would come out too high.
        text = "x" * int(allowed * call.share * 8)
        yield TextDelta(text)
        await anyio.sleep(call.seconds / 2)
        match ending:
            case Ending.BROKEN:
                facts = ProviderFacts(
                    provider=self.name, in_stream=True, partial_text=text
                )
                raise ConnectionFailed("", facts)
            case Ending.CRASHED:
                raise ZeroDivisionError
            case Ending.HANGS:
                await anyio.sleep(3_600)
            case _:
                pass

        tokens = _letters(request) // self._letters
        usage = Usage(
            input=tokens,
            cache_read=tokens // 3,
            cache_write=tokens // 4,
            output=int(allowed * call.share),
        )
        has_usage = ending is not Ending.ANSWERED_WITHOUT_USAGE
        yield Completion(
            turn=AssistantTurn((Text(text),)),
            finish=Finish.STOP,
            usage=usage if has_usage else None,
            model="m",
        )


def _letters(request: ChatRequest) -> int:
    """Count all that is sent, as a service does, whatever we know of it."""
    said = [part.text for turn in request.turns for part in _texts(turn)]
    tools = [
        f"{tool.name}{tool.description}{json.dumps(tool.parameters)}"
        for tool in request.tools
    ]
    return sum(map(len, [request.system, *said, *tools]))


def _texts(turn: Turn) -> list[Text]:
    assert isinstance(turn, UserTurn | AssistantTurn)
    return [part for part in turn.parts if isinstance(part, Text)]


@dataclass(frozen=True, slots=True)
class Crash(Message):
    """Makes the aggregator fail."""


class Watched(CostAggregator):
    """Checks after each message that no limit is passed; fails when it is told to."""

    backoff = (0.0, 0.0)

    def __init__(self, ledger: Ledger, events: list[Event], sums: "Sums") -> None:
        super().__init__(ledger, events.append)
        self._kept_ledger = ledger
        self._sums = sums

    @handles
    async def reserve(self, request: Reserve) -> Reservation:
        found = await super().reserve(request)
        self._check()
        return found

    @handles
    async def add(self, event: CostEvent) -> None:
        await super().add(event)
        self._sums.add(event)
        self._check()

    @handles
    async def release(self, message: Release) -> None:
        await super().release(message)
        self._check()

    @handles
    async def close(self, message: Close) -> None:
        await super().close(message)
        self._check()

    @handles
    async def crash(self, _message: Crash) -> None:
        raise ZeroDivisionError

    def _check(self) -> None:
        for level in self._kept_ledger.tree.levels():
            for unit, limit, spent, held in level.used():
                if spent + held > limit:
                    where = f"{level.name} {level.of!r}: {spent} + {held} {unit}"
                    self._sums.passed.append(f"{where} of {limit}")


class Sums:
    """What the calls came to, added up by themselves."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.usd = Decimal(0)
        self.estimated = Decimal(0)
        self.at: dict[tuple[str, str], Amount] = {}

    def add(self, event: CostEvent) -> None:
        self.usd += event.usd or 0
        if event.state is CostState.ESTIMATED:
            self.estimated += event.usd or 0

        held = event.reservation
        assert held is not None
        if event.usage.input > held.tokens:
            told = f"{event.usage.input} tokens of input"
            self.passed.append(f"{event.call}: {told} of {held.tokens} at most")

        spent = Amount(event.usd or Decimal(0), event.usage.total, 1)
        if event.state is CostState.UNKNOWN:
            spent = held.amount

        for level in held.levels:
            key = (level.name, level.of)
            self.at[key] = add(self.at.get(key, NOTHING), spent)


@dataclass(frozen=True, slots=True)
class Make(Request[None]):
    """Ask an agent to make a call."""

    number: int
    call: Call


class Agent(Actor):
    """Makes calls; a bug in one of them ends its life, and another begins."""

    backoff = (0.0, 0.0)

    def __init__(self, model: Model, costs: Ref, origin: Origin) -> None:
        self._model = model
        self._costs = costs
        self._origin = origin
        self._conversation = Conversation(system="s" * 20)

    @handles
    async def make(self, request: Make) -> None:
        call = request.call
        if call.crashes:
            self._costs.tell(Crash())

        conversation = self._conversation
        conversation.say("u" * call.size)
        asked = ChatRequest(
            model="m",
            system=conversation.system,
            turns=tuple(conversation.turns),
            tools=TOOLS[: call.tools],
            max_output_tokens=call.output,
            origin=self._origin,
            turn=request.number,
            counted=conversation.counted,
        )
        try:
            completion = await self._model.complete(asked, wrap_up=call.wrap_up)
        except MMAError:
            # Refused, or not answered: the agent goes on with its next call.
            return

        if completion.usage is not None:
            conversation.count(asked, completion.usage.input)

        conversation.turns.append(completion.turn)


TOOLS = tuple(
    ToolSpec(name=f"tool{number}", description="d" * 300, parameters={"type": "object"})
    for number in range(3)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that takes part, and how it went."""

    budgets: Budgets
    limits: Limits
    rates: tuple[Rates, Rates]
    letters: int
    jobs: list[Job]


async def live(world: World) -> tuple[Ledger, Sums, list[Event], CostReport]:
    """Let all agents work at once; return what is left of it."""
    ledger, sums = Ledger(world.budgets), Sums()
    events: list[Event] = []
    numbers = count(1)
    work = [[(next(numbers), call) for call in job.calls] for job in world.jobs]
    calls = dict(pair for pairs in work for pair in pairs)
    patient = (1_000_000, 1.0)
    async with ActorSystem(intensity=patient, backoff=(0.0, 0.0)) as system:
        costs = await system.spawn("costs", Watched, ledger, events, sums)
        routes = [
            Route(
                Scripted(calls, name, world.letters),
                "m",
                costs=costs,
                emit=events.append,
                rates=rates,
                gate=Gate(world.limits),
            )
            for name, rates in zip(("first", "second"), world.rates, strict=True)
        ]
        model = Model(*routes, retry=RetryPolicy(attempts=3, seconds=60))

        async def employ(name: str, job: Job, work: list[tuple[int, Call]]) -> None:
            origin = Origin(
                tier=job.tier, track=job.track, ticket=job.ticket, task=name
            )
            agent = await system.spawn(name, Agent, model, costs, origin)
            with anyio.move_on_after(job.cancelled_after or 3_600):
                for number, call in work:
                    try:
                        await agent.ask(Make(number, call))
                    except ActorFailed:
                        continue

            # As the crew does when an agent's work is done.
            agent.stop()
            await agent.join()
            costs.tell(Close(origin))

        async with anyio.create_task_group() as group:
            for number, (job, pairs) in enumerate(zip(world.jobs, work, strict=True)):
                group.start_soon(employ, f"agent{number}", job, pairs)

        report = await costs.ask(Report())

    return ledger, sums, events, report


worlds = st.builds(
    World,
    budgets=some_budgets,
    limits=some_limits,
    rates=st.tuples(any_rates, any_rates),
    letters=st.integers(1, 5),
    jobs=st.lists(some_jobs, min_size=1, max_size=6),
)


@pytest.mark.parametrize("name", ["asyncio", "trio"])
@given(world=worlds)
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_no_budget_is_passed_and_every_sum_is_exact(name: str, world: World) -> None:
    backend, options = virtual_backend(name)

    ledger, sums, events, report = anyio.run(
        partial(live, world), backend=backend, backend_options=options
    )

    assert sums.passed == []
    for level in ledger.tree.levels():
        assert level.held == level.kept == NOTHING
        assert level.in_flight == 0
        assert level.spent == sums.at.get((level.name, level.of), NOTHING)
    assert ledger.tree.granted == set()
    total = report.total
    assert (total.in_flight, total.reserved_usd) == (0, Decimal(0))
    assert (total.usd, total.estimated_usd) == (sums.usd, sums.estimated)
    assert total.unknown_usd is not None
    assert ledger.tree.run.spent.usd == total.usd + total.unknown_usd
    for keys in (("tier",), ("track", "ticket"), ("model",), ("provider",)):
        lines = report.by(*keys)
        assert sum((line.spent for line in lines), Spent()) == total

    counted = {one.call for one in events if isinstance(one, CostCounted)}
    billed = [
        event.usd or Decimal(0)
        for event in events
        if isinstance(event, ModelCallFinished) and event.call not in counted
    ]
    assert sum(billed, Decimal(0)) == total.usd - total.estimated_usd
