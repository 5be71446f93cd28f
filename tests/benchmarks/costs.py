"""Budgets and rate limits: what they cost in time, and what they prevent.

Run it as `python -m tests.benchmarks.costs`, with the group `bench` installed for the
comparison with pydantic-ai.
"""

import argparse
import gc
import importlib.util
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

import anyio

from mma_runtime.costs import CostAggregator, CostEvent, CostState, Ledger, Reserve
from mma_runtime.costs.budget import Budget, Budgets
from mma_runtime.costs.reservations import Reservation, WrapUp
from mma_runtime.errors import BudgetExhausted, ProviderError, RateLimited
from mma_runtime.events import Event, Origin
from mma_runtime.governor import Gate
from mma_runtime.governor.queueing import Demand
from mma_runtime.kernel import ActorSystem, Ref
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Completion,
    Finish,
    Text,
    user,
)
from mma_runtime.llm.pricing import FlatRates
from mma_runtime.llm.usage import Usage
from mma_runtime.model import Model
from mma_runtime.model.route import Route
from mma_runtime.rate_limits import Limits
from mma_runtime.testing import FunctionProvider
from mma_runtime.testing.clock import virtual_backend
from tests.account import Account, Count, ask, crowd

RATES = FlatRates(
    input=Decimal("0.15"),
    output=Decimal("0.60"),
    cache_read=Decimal("0.075"),
    cache_write=Decimal("0.15"),
    cache_write_1h=Decimal("0.15"),
)
USAGE = Usage(input=1_000, output=100)
ORIGIN = Origin(run="r", tier="worker", ticket="t", task="ticket")
MINUTES = 600.0


def quiet(_event: Event) -> None:
    """Take an event and do nothing."""


# --- what it costs ------------------------------------------------------------


async def measure(
    what: Callable[[Ref, Gate], Awaitable[None]], budgets: Budgets, limits: Limits
) -> float:
    """Return the CPU time of one *what*, in microseconds; the median of 9 rounds."""
    async with ActorSystem() as system:
        costs = await system.spawn("costs", CostAggregator, Ledger(budgets), quiet)
        gate = Gate(limits, adapts=bool(limits.in_flight))
        rounds: list[float] = []
        for _ in range(10):
            gc.collect()
            began = time.process_time()
            for _ in range(2_000):
                await what(costs, gate)
            rounds.append((time.process_time() - began) / 2_000 * 1e6)

    return statistics.median(rounds[1:])


async def pair(wrap_up: WrapUp, costs: Ref, gate: Gate) -> None:
    """Reserve, pass the gate, give the permit back, settle."""
    wish = Reservation(
        ORIGIN,
        "p:m",
        tokens=1_000,
        wanted=500,
        quote=RATES.quote(1_000),
        wrap_up=wrap_up,
    )
    await costs.ask(Reserve(wish))
    demand = Demand("r", "worker", 1_000, 500)
    permit = gate.enter_nowait(demand) or await gate.enter(demand)
    gate.succeeded(permit, USAGE)
    costs.tell(
        CostEvent(
            origin=ORIGIN,
            call="c",
            model="p:m",
            state=CostState.BILLED,
            usage=USAGE,
            usd=RATES.cost(USAGE),
            billed=True,
            reservation=wish,
        )
    )


def show_time(backend: str) -> None:
    """Print what a call costs around the call itself."""
    run = Budget(usd=Decimal(10**9), tokens=10**12)
    everything = Budgets(run=run, tiers={"worker": run}, ticket=run)
    known = Limits(requests_per_minute=10**9, tokens_per_minute=10**12, in_flight=50)
    none, keep = WrapUp.NONE, WrapUp.KEEP
    for name, budgets, limits, wrap_up in (
        ("no budget, no limits", Budgets(), Limits(), none),
        ("a run's budget in dollars and tokens", Budgets(run=run), Limits(), none),
        ("budgets at three levels, three limits", everything, known, none),
        ("the same, of a worker's turn", everything, known, keep),
    ):
        what = partial(pair, wrap_up)
        took = anyio.run(measure, what, budgets, limits, backend=backend)
        print(f"  {name:<40}{took:8.1f} us")


# --- what it prevents: one call too many ---------------------------------------


async def calls_of(workers: int) -> int:
    """Return how many calls a budget for five lets *workers* make."""

    async def slowly(_request: ChatRequest) -> Completion:
        await anyio.sleep(0.01)
        return Completion(
            turn=AssistantTurn((Text("x"),)),
            finish=Finish.STOP,
            usage=Usage(input=1_000, output=100),
            model="m",
        )

    provider = FunctionProvider(slowly)
    budgets = Budgets(run=Budget(tokens=5_500), floor=1)
    async with ActorSystem() as system:
        costs = await system.spawn("costs", CostAggregator, Ledger(budgets), quiet)
        model = Model(Route(provider, "m", costs=costs, emit=quiet, rates=None))

        async def work() -> None:
            # Five of them are sure to fit: 1,000 bytes are at most 1,000 tokens.
            request = ChatRequest(
                model="m",
                system="s" * 940,
                turns=(user(""),),
                max_output_tokens=100,
            )
            try:
                await model.complete(request)
            except BudgetExhausted:
                return

        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(work)

    return len(provider.requests)


def show_overrun() -> None:
    """Print how often a budget for five calls is passed, beside pydantic-ai's."""
    theirs = None
    if importlib.util.find_spec("pydantic_ai") is not None:
        peer = importlib.import_module("tests.benchmarks.peer_budgets")
        theirs = peer.calls_of

    for workers in (8, 32, 1_000):
        backend, options = virtual_backend("asyncio")
        ours = anyio.run(calls_of, workers, backend=backend, backend_options=options)
        line = f"  {workers:5} workers: {ours} calls here"
        if theirs is not None:
            line += f", {anyio.run(theirs, workers)} calls with pydantic-ai"
        print(line)

    if theirs is None:
        print("  (pydantic-ai is not installed: `uv sync --group bench`)")


# --- what it prevents: a storm of refusals --------------------------------------


async def ungoverned(account: Account, seconds: float) -> Count:
    """Let 50 workers retry each for itself, with backoff, as most do."""

    async def work() -> None:
        while True:
            for attempt in range(6):
                try:
                    async for _ in account.stream(ask()):
                        pass
                    break
                except RateLimited:
                    draw = random.random()  # noqa: S311 - a jitter
                    await anyio.sleep(draw * min(20, 0.5 * 2.0**attempt))
                except ProviderError:
                    break
            else:
                account.count.failed += 1

    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(work)

    return account.count


async def halved(account: Account, limits: Limits) -> tuple[Count, float]:
    """Halve the limits after four minutes; count from a minute after that."""
    gate = Gate(limits)
    await crowd(account, gate, seconds=240)
    account.halve()
    await crowd(account, gate, seconds=60)
    return await crowd(account, gate, seconds=300), account.allows(300)


async def governed(make: Callable[[], Account], limits: Limits) -> tuple[Count, float]:
    """Return what came of ten minutes with a governor, and what was allowed."""
    account = make()
    count = await crowd(account, Gate(limits), seconds=MINUTES)
    return count, account.allows(MINUTES)


async def alone(make: Callable[[], Account]) -> tuple[Count, float]:
    """Return what came of ten minutes without a governor, and what was allowed."""
    account = make()
    return await ungoverned(account, MINUTES), account.allows(MINUTES)


async def after_halving(
    make: Callable[[], Account], limits: Limits
) -> tuple[Count, float]:
    """Return what came after limits were halved."""
    return await halved(make(), limits)


def show_storm() -> None:
    """Print refusals and throughput of 50 workers in ten simulated minutes."""
    rpm = partial(Account, requests=300)
    tpm = partial(Account, tokens=200_000)
    flight = partial(Account, in_flight=10)
    low = partial(Account, requests=20)
    told = partial(Account, requests=300, tells=True)
    none = Limits()
    known = Limits(requests_per_minute=300)
    cases: list[tuple[str, Callable[[], Awaitable[tuple[Count, float]]]]] = [
        ("300 requests a minute, no governor", partial(alone, rpm)),
        ("  known", partial(governed, rpm, known)),
        ("  told by answers", partial(governed, told, none)),
        ("  unknown", partial(governed, rpm, none)),
        ("  halved in mid-run, unknown", partial(after_halving, rpm, none)),
        ("  halved in mid-run, known before", partial(after_halving, rpm, known)),
        ("200,000 tokens a minute, no governor", partial(alone, tpm)),
        ("  known", partial(governed, tpm, Limits(tokens_per_minute=200_000))),
        ("  unknown", partial(governed, tpm, none)),
        ("10 requests in flight, no governor", partial(alone, flight)),
        ("  known", partial(governed, flight, Limits(in_flight=10))),
        ("  unknown", partial(governed, flight, none)),
        ("20 requests a minute, no governor", partial(alone, low)),
        ("  known", partial(governed, low, Limits(requests_per_minute=20))),
        ("  unknown", partial(governed, low, none)),
    ]
    for name, case in cases:
        backend, options = virtual_backend("asyncio")
        count, allowed = anyio.run(case, backend=backend, backend_options=options)
        print(
            f"  {name:<38}{count.accepted:6} answers, {count.refused:6} refused"
            f" ({count.share_refused:7.2%}), {count.failed:5} lost,"
            f" {count.accepted / allowed:5.0%} of the limit"
        )


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="asyncio", choices=("asyncio", "trio"))
    backend = parser.parse_args().backend
    print(f"CPU per call of reserving, the gate and settling ({backend}):")
    show_time(backend)
    print("Calls that a shared budget for five lets through:")
    show_overrun()
    print("50 workers, ten simulated minutes:")
    show_storm()


if __name__ == "__main__":
    main()
