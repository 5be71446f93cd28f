"""The ledger and the aggregator: sums, states and the budget."""

from decimal import Decimal
from typing import Any

import pytest
from anyio import wait_all_tasks_blocked

from mma_runtime.costs import (
    Budget,
    BudgetSpent,
    CostAggregator,
    CostEvent,
    CostReport,
    CostState,
    Ledger,
    Report,
    Spent,
)
from mma_runtime.events import BudgetReached, Event, Origin
from mma_runtime.kernel import Actor, ActorSystem, Ref, handles
from mma_runtime.llm.usage import NO_USAGE, Usage


class Owner(Actor):
    """Keeps what the aggregator tells it."""

    def __init__(self, told: list[BudgetSpent]) -> None:
        self.told = told

    @handles
    async def spent(self, message: BudgetSpent) -> None:
        self.told.append(message)


def event(
    usd: str | None = "0.10",
    *,
    ticket: str = "t",
    tier: str = "worker",
    model: str = "openai:gpt-4o-mini",
    **more: Any,
) -> CostEvent:
    return CostEvent(
        origin=Origin(tier=tier, ticket=ticket),
        call="ticket/t/1.1.1",
        model=model,
        state=more.pop("state", CostState.BILLED),
        usage=more.pop("usage", Usage(input=100, output=10)),
        usd=None if usd is None else Decimal(usd),
        billed=more.pop("billed", True),
    )


def test_nothing_spent_is_a_report_of_zeros() -> None:
    report = Ledger().report()

    assert report.total == Spent()
    assert report.ticket("t") == Spent()


def test_calls_are_summed_by_tier_and_model_by_ticket_and_in_all() -> None:
    ledger = Ledger()
    ledger.add(event("0.10"))
    ledger.add(event("0.20"))
    ledger.add(event("0.30", tier="qa", ticket="u", model="openai:gpt-4o"))
    ledger.add(event("0.40", tier="orchestrator", ticket=""))

    report = ledger.report()

    assert report.total.calls == 4
    assert report.total.usd == Decimal("1.00")
    assert report.total.usage == Usage(input=400, output=40)
    assert report.ticket("t").usd == Decimal("0.30")
    assert report.ticket("u").usd == Decimal("0.30")
    by_tier = {(line.tier, line.model): line.spent.usd for line in report.lines}
    assert by_tier == {
        ("worker", "openai:gpt-4o-mini"): Decimal("0.30"),
        ("qa", "openai:gpt-4o"): Decimal("0.30"),
        ("orchestrator", "openai:gpt-4o-mini"): Decimal("0.40"),
    }


def test_sums_are_exact_to_the_last_digit() -> None:
    ledger = Ledger()
    for _ in range(10):
        ledger.add(event("0.1000000000000000000001"))

    assert ledger.report().total.usd == Decimal("1.000000000000000000001")


def test_scripted_replies_have_a_price_that_nobody_pays() -> None:
    ledger = Ledger()
    ledger.add(event("0.10", billed=False))
    ledger.add(event("0.25"))

    total = ledger.report().total

    assert (total.usd, total.unpaid_usd) == (Decimal("0.35"), Decimal("0.10"))
    assert total.billed_usd == Decimal("0.25")


def test_estimated_and_unknown_calls_are_told_apart_from_billed_ones() -> None:
    ledger = Ledger()
    ledger.add(event())
    ledger.add(event(state=CostState.ESTIMATED))
    ledger.add(event(None, state=CostState.UNKNOWN, usage=NO_USAGE))
    ledger.add(event(None))

    total = ledger.report().total

    assert (total.calls, total.estimated_calls, total.unknown_calls) == (4, 1, 2)
    assert total.usd == Decimal("0.20")


@pytest.mark.parametrize(
    ("budget", "unit", "limit", "spent"),
    [
        (Budget(usd=Decimal("0.20")), "usd", "0.20", "0.20"),
        (Budget(usd=Decimal("0.15")), "usd", "0.15", "0.20"),
        (Budget(tokens=220), "tokens", "220", "220"),
        (Budget(tokens=130), "tokens", "130", "220"),
    ],
)
def test_a_budget_is_used_up_when_its_limit_is_reached(
    budget: Budget, unit: str, limit: str, spent: str
) -> None:
    ledger = Ledger(budget)
    ledger.add(event("0.10"))
    assert ledger.exhausted() is None

    ledger.add(event("0.10"))

    exhausted = ledger.exhausted()
    assert exhausted is not None
    assert (exhausted.level, exhausted.unit) == ("run", unit)
    assert (exhausted.limit, exhausted.spent) == (limit, spent)


def test_without_a_budget_nothing_is_ever_used_up() -> None:
    ledger = Ledger()
    ledger.add(event("1000000"))

    assert ledger.exhausted() is None


async def test_the_aggregator_answers_with_what_it_was_told() -> None:
    async with ActorSystem() as system:
        owner = await system.spawn("owner", Owner, [])
        costs = await system.spawn(
            "costs", CostAggregator, Ledger(), owner, lambda _: None
        )

        costs.tell(event("0.10"))
        costs.tell(event("0.20"))
        report = await costs.ask(Report())

    assert report.total.usd == Decimal("0.30")


async def test_a_spent_budget_is_told_once_to_the_owner_and_as_an_event() -> None:
    told: list[BudgetSpent] = []
    events: list[Event] = []
    async with ActorSystem() as system:
        owner = await system.spawn("owner", Owner, told)
        ledger = Ledger(Budget(usd=Decimal("0.15")))
        costs = await system.spawn(
            "costs", CostAggregator, ledger, owner, events.append
        )

        for _ in range(4):
            costs.tell(event("0.10"))
        await costs.ask(Report())
        await wait_all_tasks_blocked()

    assert [message.exhausted.unit for message in told] == ["usd"]
    assert [(one.unit, one.limit) for one in events_of(events)] == [("usd", "0.15")]


async def test_the_ledger_outlives_an_aggregator_that_fails() -> None:
    class Fragile(CostAggregator):
        backoff = (0.0, 0.0)

        @handles
        async def report(self, _request: Report) -> CostReport:
            raise ZeroDivisionError

    ledger = Ledger()
    async with ActorSystem(backoff=(0.0, 0.0)) as system:
        owner: Ref = await system.spawn("owner", Owner, [])
        costs = await system.spawn("costs", Fragile, ledger, owner, lambda _: None)
        costs.tell(event("0.10"))
        with pytest.raises(Exception, match="ZeroDivisionError"):
            await costs.ask(Report())

        costs.tell(event("0.20"))
        await wait_all_tasks_blocked()

    assert ledger.report().total.usd == Decimal("0.30")


def events_of(events: list[Event]) -> list[BudgetReached]:
    return [one for one in events if isinstance(one, BudgetReached)]
