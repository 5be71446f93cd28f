"""The governor: 50 workers share an account whose limits are known, told or felt."""

import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from mma_runtime.costs import CostAggregator, Ledger
from mma_runtime.errors import (
    ProviderError,
    ProviderFacts,
    ProviderOverloaded,
    RateLimited,
)
from mma_runtime.events import Event, ModelCallFailed, ModelCallQueued
from mma_runtime.governor import Gate, Governor, shared_governor
from mma_runtime.governor.pacing import Throttle
from mma_runtime.governor.queueing import Demand, Permit, Queue, Waiter
from mma_runtime.kernel import ActorSystem
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.llm.usage import Usage
from mma_runtime.model import Model
from mma_runtime.model.route import Route
from mma_runtime.rate_limits import Limits, RateLimit, RateLimits
from mma_runtime.testing import FunctionProvider
from mma_runtime.testing.clock import virtual_backend
from tests.account import Account, ask, crowd

MINUTES = 600.0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return virtual_backend(request.param)


def limited(wait: float | None = None) -> RateLimited:
    facts = ProviderFacts(provider="p", status=429, retry_after=wait)
    return RateLimited("slow down", facts)


@asynccontextmanager
async def model_on(
    provider: FunctionProvider, gate: Gate, events: list[Event]
) -> AsyncGenerator[Model]:
    async with ActorSystem() as system:
        costs = await system.spawn("costs", CostAggregator, Ledger(), events.append)
        yield Model(
            Route(provider, "m", costs=costs, emit=events.append, rates=None, gate=gate)
        )


# --- fifty workers for ten minutes --------------------------------------------


@pytest.mark.parametrize(
    ("limits", "account"),
    [
        (Limits(requests_per_minute=300), {"requests": 300}),
        (Limits(requests_per_minute=20), {"requests": 20}),
        (Limits(tokens_per_minute=200_000), {"tokens": 200_000}),
        (Limits(in_flight=10), {"in_flight": 10}),
        (
            Limits(requests_per_minute=500, tokens_per_minute=300_000, in_flight=20),
            {"requests": 500, "tokens": 300_000, "in_flight": 20},
        ),
        (Limits(), {"requests": 300, "tokens": 500_000, "tells": True}),
    ],
    ids=["requests", "few requests", "tokens", "in flight", "all", "told by answers"],
)
async def test_what_is_known_is_kept_to_without_one_refusal(
    limits: Limits, account: dict[str, Any]
) -> None:
    service = Account(**account)

    count = await crowd(service, Gate(limits), seconds=MINUTES)

    assert (count.refused, count.failed) == (0, 0)
    assert count.accepted >= 0.9 * service.allows(MINUTES)


@pytest.mark.parametrize(
    "account",
    [
        {"requests": 300},
        {"requests": 300, "asks": True},
        {"requests": 1_000},
        {"tokens": 200_000},
        {"in_flight": 10},
    ],
    ids=["requests", "with retry-after", "more requests", "tokens", "in flight"],
)
async def test_what_is_unknown_is_felt_for_with_few_refusals(
    account: dict[str, Any],
) -> None:
    service = Account(**account)

    count = await crowd(service, Gate(), seconds=MINUTES)

    assert count.share_refused <= 0.01
    assert count.failed == 0
    assert count.accepted >= 0.9 * service.allows(MINUTES)


@pytest.mark.parametrize(
    "account", [{"requests": 20}, {"tokens": 20_000}], ids=["requests", "tokens"]
)
async def test_a_low_limit_is_found_by_what_was_sent_before_it_was_met(
    account: dict[str, Any],
) -> None:
    service = Account(**account)

    count = await crowd(service, Gate(), seconds=MINUTES)

    assert count.refused <= 7
    assert count.failed == 0
    assert count.accepted >= 0.9 * service.allows(MINUTES)


def test_what_was_sent_is_no_limit_where_nobody_waited() -> None:
    alone, pressed = Throttle(), Throttle()
    for throttle in (alone, pressed):
        for number in range(6):
            throttle.sent(float(number))

    for in_flight, sent_at in ((3, 4.0), (1, 5.0)):
        alone.refused(in_flight, sent_at, sent_at + 0.5)
        pressed.refused(in_flight, sent_at, sent_at + 0.5, pressed=True)

    # Four were taken, in the first seconds of a minute: some 3.5 a minute.
    assert pressed.wait(0, 0.0, 0.0) == pytest.approx(17, abs=1)
    assert alone.wait(0, 0.0, 0.0) == pytest.approx(2)


@pytest.mark.parametrize(
    ("limits", "account"),
    [
        (Limits(), {"requests": 300}),
        (Limits(requests_per_minute=300), {"requests": 300}),
        (Limits(), {"requests": 300, "tells": True}),
        (Limits(), {"in_flight": 20}),
    ],
    ids=["felt for", "configured", "told", "in flight"],
)
async def test_halved_limits_are_found_again_within_a_minute(
    limits: Limits, account: dict[str, Any]
) -> None:
    service, gate = Account(**account), Gate(limits)
    await crowd(service, gate, seconds=240)

    service.halve()
    await crowd(service, gate, seconds=60)
    after = await crowd(service, gate, seconds=240)

    assert after.failed == 0
    assert after.share_refused <= 0.01
    assert after.accepted >= 0.85 * service.allows(240)


@pytest.mark.parametrize(("counts", "least", "most"), [(False, 28, 40), (True, 1, 2)])
async def test_input_from_a_cache_counts_only_where_the_provider_counts_it(
    counts: bool, least: float, most: float
) -> None:
    gate = Gate(Limits(input_tokens_per_minute=40_000), counts_cached=counts)
    usage = Usage(input=20_000, output=300, cache_read=19_000)
    answered = 0

    async def work() -> None:
        nonlocal answered
        demand = Demand("r", "worker", 20_000, 500)
        while True:
            permit = gate.enter_nowait(demand) or await gate.enter(demand)
            await anyio.sleep(10)
            gate.succeeded(permit, usage)
            answered += 1

    with anyio.move_on_after(MINUTES):
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(work)

    assert least <= answered / 10 <= most


async def test_what_is_left_is_believed_when_nothing_else_is_under_way() -> None:
    def told(remaining: int) -> RateLimits:
        limit = RateLimit(limit=40_000, remaining=remaining, reset=1.0)
        return RateLimits(input_tokens=limit)

    gate, demand = Gate(), Demand("r", "worker", 30_000, 10)
    gate.learn(told(40_000))
    first = gate.enter_nowait(demand)
    assert first is not None
    await anyio.sleep(50)
    gate.succeeded(first, Usage(input=30_000), told(20_000))

    # The 20,000 that have come back are there at once, and no more than those.
    began = anyio.current_time()
    permit = await gate.enter(Demand("r", "worker", 20_000, 10))
    assert anyio.current_time() - began < 2
    gate.succeeded(permit, Usage(input=20_000))
    await gate.enter(Demand("r", "worker", 1_000, 10))
    assert anyio.current_time() - began > 10


async def test_a_days_limit_that_is_used_up_is_waited_for_or_told() -> None:
    gate = Gate(provider="groq", model="llama")
    permit = gate.enter_nowait(Demand())
    assert permit is not None
    nothing_left = RateLimit(limit=None, remaining=0, reset=10_796.0)
    waits: list[str] = []

    async def wait() -> None:
        with pytest.raises(RateLimited) as raised:
            await gate.enter(Demand())
        waits.append(str(raised.value))

    gate.configure(Limits(in_flight=1))
    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        gate.succeeded(permit, Usage(output=1), RateLimits(requests=nothing_left))
    assert gate.limits == {}
    await anyio.sleep(63)
    assert gate.enter_nowait(Demand()) is None
    await wait()
    await anyio.sleep(10_796 - 63 - 30)
    await gate.enter(Demand())

    assert ["10,796 s" in waits[0], "10,733 s" in waits[1]] == [True, True]
    assert "groq" in waits[0]


async def test_what_turns_out_to_be_a_days_limit_is_kept_to_no_longer() -> None:
    gate = Gate()
    gate.learn(RateLimits(requests=RateLimit(limit=500, remaining=499, reset=60)))
    assert gate.limits == {"requests": 500}

    gate.learn(RateLimits(requests=RateLimit(limit=None, remaining=490, reset=900)))

    assert gate.limits == {}
    assert gate.enter_nowait(Demand()) is not None


# --- who goes first -----------------------------------------------------------


@pytest.mark.parametrize("tier", ["orchestrator", "tech_lead", "qa"])
async def test_a_higher_tier_waits_for_one_place_at_most(tier: str) -> None:
    service = Account(requests=60)
    gate = Gate(Limits(requests_per_minute=60))
    took: list[float] = []

    async def ask_above() -> None:
        await anyio.sleep(120)
        async with model_on(service, gate, []) as model:
            for turn in range(5):
                began = anyio.current_time()
                await model.complete(ask(tier=tier, ticket=f"{turn}"))
                arrived = next(
                    t for who, t in reversed(service.arrivals) if who == tier
                )
                took.append(arrived - began)

    async with anyio.create_task_group() as group:
        group.start_soon(ask_above)
        await crowd(service, gate, seconds=180)

    # A place becomes free every 62 / 60 seconds; the way there takes up to 0.2.
    assert len(took) == 5
    assert max(took) <= 62 / 60 + 0.2 + 0.01


async def order_of(gate: Gate, demands: list[Demand]) -> list[Demand]:
    """Return the order in which callers get through, one at a time."""
    first = gate.enter_nowait(Demand())
    assert first is not None
    order: list[Demand] = []

    async def enter(demand: Demand) -> None:
        permit = await gate.enter(demand)
        order.append(demand)
        await anyio.sleep(1)
        gate.succeeded(permit, Usage(output=1))

    async with anyio.create_task_group() as group:
        for demand in demands:
            group.start_soon(enter, demand)
            await anyio.wait_all_tasks_blocked()
        gate.succeeded(first, Usage(output=1))

    return order


async def test_within_a_tier_the_first_to_come_goes_first() -> None:
    demands = [Demand("run", "worker", input=number) for number in range(5)]

    assert await order_of(Gate(Limits(in_flight=1)), demands) == demands


async def test_runs_take_turns() -> None:
    many = [Demand("greedy", "worker", input=number) for number in range(4)]
    few = [Demand("modest", "worker", input=number) for number in range(2)]

    order = await order_of(Gate(Limits(in_flight=1)), many + few)

    assert [demand.run for demand in order[:4]] == ["greedy", "modest"] * 2
    assert [demand.run for demand in order[4:]] == ["greedy"] * 2


@pytest.mark.parametrize("away", [0.5, 150.0], ids=["for long", "for a moment"])
async def test_a_run_that_was_away_gets_every_other_place_and_no_more(
    away: float,
) -> None:
    gate = Gate(Limits(in_flight=1), adapts=False)
    served: list[str] = []
    before = 0

    async def call(run: str) -> None:
        demand = Demand(run, "worker", 10, 10)
        permit = gate.enter_nowait(demand) or await gate.enter(demand)
        await anyio.sleep(1)
        served.append(run)
        gate.succeeded(permit, Usage(input=1, output=1))

    async with anyio.create_task_group() as group:
        for _ in range(300):
            group.start_soon(call, "long")
        await anyio.sleep(away)
        group.start_soon(call, "short")
        await anyio.sleep(160 - away)
        before = len(served)
        for _ in range(100):
            group.start_soon(call, "short")

    after = served[before : before + 100]
    assert after.count("short") == pytest.approx(50, abs=1)


def test_a_run_that_had_the_queue_to_itself_takes_turns_after_it() -> None:
    queue = Queue()

    def come(run: str, times: int) -> None:
        for _ in range(times):
            queue.push(Waiter(Demand(run, "worker"), 0.0))

    def go(times: int) -> str:
        runs = ""
        for _ in range(times):
            head = queue.head(0.0)
            assert head is not None
            queue.pop(*head)
            runs += head[0].demand.run
        return runs

    come("a", 50)
    assert go(50) == "a" * 50
    assert queue.head(0.0) is None
    come("b", 10)
    come("a", 10)

    assert go(10) == "ba" * 5


async def test_a_lower_tier_that_has_waited_long_gets_every_other_place() -> None:
    low = [Demand("run", "worker", input=number) for number in range(3)]
    high = [Demand("run", "qa", input=number) for number in range(40)]

    order = await order_of(Gate(Limits(in_flight=1)), low + high)

    tiers = [demand.tier for demand in order]
    assert tiers[:30] == ["qa"] * 30
    assert tiers[31:37].count("worker") == 3


# --- refusals -----------------------------------------------------------------


async def test_a_refusal_stops_all_and_then_one_tries() -> None:
    sent: list[float] = []
    began = anyio.current_time()

    async def answer(_request: ChatRequest) -> str:
        sent.append(round(anyio.current_time() - began, 3))
        await anyio.sleep(0.1)
        if anyio.current_time() - began < 5:
            raise limited(5.0)
        return "done"

    events: list[Event] = []
    gate = Gate(Limits(in_flight=10))
    provider = FunctionProvider(answer)
    async with (
        model_on(provider, gate, events) as model,
        anyio.create_task_group() as group,
    ):
        for number in range(30):
            group.start_soon(model.complete, ask(ticket=f"{number}"))

    # Ten were under way; one probe after the rest, then the others.
    assert sent[:10] == [0.0] * 10
    assert sent[10] == pytest.approx(5.1)
    assert sent[11] > 5.19
    assert len(sent) == 40
    waits = [event.retry_in for event in events if isinstance(event, ModelCallFailed)]
    assert waits == [pytest.approx(5.0)] * 10
    assert any(isinstance(event, ModelCallQueued) for event in events)


async def test_a_failed_probe_doubles_the_rest() -> None:
    sent: list[float] = []
    began = anyio.current_time()

    def answer(_request: ChatRequest) -> str:
        sent.append(anyio.current_time() - began)
        if len(sent) <= 4:
            raise limited()
        return "done"

    async with model_on(FunctionProvider(answer), Gate(), []) as model:
        await model.complete(ask())

    assert sent == pytest.approx([0, 1, 3, 7, 15])


@pytest.mark.parametrize(
    ("wait", "most"), [(None, 12), (0.0, 30)], ids=["no word", "at once"]
)
async def test_an_account_that_refuses_for_ever_ends_all_calls(
    wait: float | None, most: int
) -> None:
    """Those in the queue too: each would otherwise try for as long on its own."""
    problems: list[str] = []
    began = anyio.current_time()

    def never(_request: ChatRequest) -> str:
        raise limited(wait)

    provider = FunctionProvider(never)
    async with model_on(provider, Gate(Limits(in_flight=1)), []) as model:

        async def work(number: int) -> None:
            try:
                await model.complete(ask(ticket=f"{number}"))
            except RateLimited as error:
                problems.append(error.message)

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(work, number)
        first = anyio.current_time() - began
        late = anyio.current_time()
        await work(50)

    assert first < 300 + 61
    assert len(provider.requests) <= most
    assert len(problems) == 51
    assert sum("it has refused all requests for 3" in one for one in problems) >= 49
    assert anyio.current_time() == late


async def test_a_cancelled_probe_lets_another_try() -> None:
    gate = Gate()
    permit = gate.enter_nowait(Demand())
    assert permit is not None
    gate.refused(permit, limited(1.0))
    entered: list[Permit] = []

    async def enter() -> None:
        entered.append(await gate.enter(Demand()))

    async with anyio.create_task_group() as group:
        group.start_soon(enter)
        group.start_soon(enter)
        await anyio.sleep(5)
        assert [permit.is_probe for permit in entered] == [True]
        gate.leave(entered[0])

    assert [permit.is_probe for permit in entered] == [True, True]


async def test_callers_are_not_left_waiting_for_a_long_rest() -> None:
    gate = Gate(Limits(in_flight=1))
    permit = gate.enter_nowait(Demand())
    assert permit is not None
    problems: list[str] = []

    async def enter() -> None:
        try:
            await gate.enter(Demand())
        except ProviderError as error:
            problems.append(error.message)

    async with anyio.create_task_group() as group:
        group.start_soon(enter)
        group.start_soon(enter)
        await anyio.wait_all_tasks_blocked()
        gate.refused(permit, limited(3_600))
        await anyio.sleep(60)
        group.start_soon(enter)

    assert problems[:2] == ["the provider asks to wait for 3,600 s"] * 2
    assert problems[2] == "the provider asks to wait for 3,540 s"


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    gate = Gate(Limits(in_flight=1))
    permit = gate.enter_nowait(Demand())
    assert permit is not None

    with anyio.move_on_after(1):
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(gate.enter, Demand())
    assert gate.waiting == 0
    gate.succeeded(permit, Usage())

    assert gate.in_flight == 0
    assert gate.enter_nowait(Demand()) is not None


async def test_an_overloaded_provider_is_given_a_rest_too() -> None:
    sent: list[float] = []
    began = anyio.current_time()

    def answer(_request: ChatRequest) -> str:
        sent.append(anyio.current_time() - began)
        if len(sent) == 1:
            raise ProviderOverloaded("busy", ProviderFacts(provider="p", status=529))
        return "done"

    async with model_on(FunctionProvider(answer), Gate(), []) as model:
        await model.complete(ask())

    assert sent == pytest.approx([0, 1])


# --- gates --------------------------------------------------------------------


async def test_a_gate_is_shared_by_account_and_model() -> None:
    class Two(FunctionProvider):
        account = "one account"

    governor = Governor()
    one, other = Two(lambda _: ""), Two(lambda _: "")

    assert governor.gate(one, "m", {}) is governor.gate(other, "m", {})
    assert governor.gate(one, "m", {}) is not governor.gate(one, "n", {})
    stranger = FunctionProvider(lambda _: "")
    assert governor.gate(one, "m", {}) is not governor.gate(stranger, "m", {})


async def sent_in(
    seconds: float, gates: list[Gate], callers: int = 10
) -> dict[Gate, int]:
    """Return how many requests went through each gate in that time."""
    sent = dict.fromkeys(gates, 0)

    async def work(gate: Gate) -> None:
        demand = Demand("r", "worker", 10, 10)
        while True:
            permit = gate.enter_nowait(demand) or await gate.enter(demand)
            sent[gate] += 1
            await anyio.sleep(0.5)
            gate.succeeded(permit, Usage(input=1, output=1))

    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as group:
            for gate in gates * callers:
                group.start_soon(work, gate)

    return sent


async def test_a_limit_for_a_whole_provider_holds_for_all_its_models_together() -> None:
    provider = FunctionProvider(lambda _: "")
    limits = {
        "function": Limits(requests_per_minute=60),
        "function:big": Limits(requests_per_minute=20),
    }
    governor = Governor()
    gates = [governor.gate(provider, model, limits) for model in ("big", "small")]

    sent = await sent_in(MINUTES, gates)

    assert 0.9 * 60 <= sum(sent.values()) / 10 <= 60
    # The smaller one takes what the other may not have.
    assert 0.9 * 20 <= sent[gates[0]] / 10 <= 20


async def test_runs_share_a_models_gate_whatever_they_configure() -> None:
    provider = FunctionProvider(lambda _: "")
    governor = Governor()

    whole = governor.gate(provider, "m", {"function": Limits(in_flight=9)})
    none = governor.gate(provider, "m", {})
    strict = governor.gate(provider, "m", {"function:m": Limits(in_flight=2)})
    loose = {"function:m": Limits(in_flight=5), "function": Limits(in_flight=50)}

    assert whole is none is strict is governor.gate(provider, "m", loose)
    # The stricter holds.
    assert [whole.enter_nowait(Demand()) is None for _ in range(3)] == [0, 0, 1]
    other = governor.gate(provider, "n", {})
    assert sum(other.enter_nowait(Demand()) is not None for _ in range(20)) == 7


async def test_a_higher_tier_goes_first_whichever_model_it_asks() -> None:
    provider, governor = FunctionProvider(lambda _: ""), Governor()
    limits = {"function": Limits(requests_per_minute=60)}
    small = governor.gate(provider, "small", limits)
    large = governor.gate(provider, "large", limits)
    took: list[float] = []

    async def ask_above() -> None:
        await anyio.sleep(120)
        for _ in range(5):
            began = anyio.current_time()
            permit = await large.enter(Demand("r", "orchestrator", 10, 10))
            took.append(anyio.current_time() - began)
            await anyio.sleep(2)
            large.succeeded(permit, Usage(input=1, output=1))

    async with anyio.create_task_group() as group:
        group.start_soon(ask_above)
        await sent_in(180, [small], callers=50)

    # One place, and what the minute's entries are counted together by.
    assert len(took) == 5
    assert max(took) <= 62 / 60 + 0.5


async def test_who_waits_for_one_model_is_not_in_the_way_at_another() -> None:
    provider, governor = FunctionProvider(lambda _: ""), Governor()
    slow = governor.gate(provider, "slow", {"function:slow": Limits(in_flight=1)})
    fast = governor.gate(provider, "fast", {"function": Limits(in_flight=9)})
    assert slow.enter_nowait(Demand()) is not None

    async with anyio.create_task_group() as group:
        group.start_soon(slow.enter, Demand("r", "orchestrator"))
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(1):
            await fast.enter(Demand("r", "worker"))
        group.cancel_scope.cancel()


@pytest.mark.parametrize("whole", [True, False], ids=["known", "not known"])
async def test_a_refusal_stops_all_models_where_a_limit_on_all_is_known(
    *, whole: bool
) -> None:
    provider, governor = FunctionProvider(lambda _: ""), Governor()
    limits = {"function": Limits(requests_per_minute=600)} if whole else {}
    one, other = (governor.gate(provider, model, limits) for model in "mn")
    permit = one.enter_nowait(Demand())
    assert permit is not None

    one.refused(permit, limited(20.0))

    assert one.paused_for() == 20
    assert other.paused_for() == (20 if whole else 0)
    assert (other.enter_nowait(Demand()) is None) is whole


def test_a_provider_does_not_get_the_gate_of_one_that_is_gone() -> None:
    governor = Governor()
    gates: list[Gate] = []
    for _ in range(50):
        provider = FunctionProvider(lambda _: "")
        gates.append(governor.gate(provider, "m", {}))
        assert governor.gate(provider, "m", {}) is gates[-1]
        del provider
        gc.collect()

    assert len(set(map(id, gates))) == 50


def test_a_provider_that_cannot_be_watched_is_kept_with_its_gate() -> None:
    class NoWeakReferences:
        __slots__ = ("_inner",)
        name = "slotted"

        def __init__(self) -> None:
            self._inner = FunctionProvider(lambda _: "")

        def __getattr__(self, name: str) -> Any:
            if name == "account":
                raise AttributeError(name)
            return getattr(self._inner, name)

    governor = Governor()
    gates: list[Gate] = []
    for _ in range(50):
        provider: Any = NoWeakReferences()
        gates.append(governor.gate(provider, "m", {}))
        del provider
        gc.collect()

    assert len(set(map(id, gates))) == 50


async def test_runtimes_of_one_event_loop_share_a_governor() -> None:
    assert shared_governor() is shared_governor()


async def test_a_model_that_is_no_service_is_never_held_up() -> None:
    gate = Gate(adapts=False)

    permits = [gate.enter_nowait(Demand()) for _ in range(10_000)]

    assert None not in permits
    assert gate.in_flight == 10_000
