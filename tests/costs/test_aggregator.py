"""The ledger and the aggregator: sums, states and the budget."""

from decimal import Decimal
from typing import Any

import pytest
from anyio import wait_all_tasks_blocked

from mma_runtime.costs import (
    CostAggregator,
    CostEvent,
    CostState,
    Ledger,
    Report,
)
from mma_runtime.costs.report import CostReport, Spent
from mma_runtime.events import Origin
from mma_runtime.kernel import ActorSystem, handles
from mma_runtime.llm.usage import NO_USAGE, Usage


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


async def test_the_aggregator_answers_with_what_it_was_told() -> None:
    async with ActorSystem() as system:
        costs = await system.spawn("costs", CostAggregator, Ledger(), lambda _: None)

        costs.tell(event("0.10"))
        costs.tell(event("0.20"))
        report = await costs.ask(Report())

    assert report.total.usd == Decimal("0.30")


async def test_the_ledger_outlives_an_aggregator_that_fails() -> None:
    class Fragile(CostAggregator):
        backoff = (0.0, 0.0)

        @handles
        async def report(self, _request: Report) -> CostReport:
            raise ZeroDivisionError

    ledger = Ledger()
    async with ActorSystem(backoff=(0.0, 0.0)) as system:
        costs = await system.spawn("costs", Fragile, ledger, lambda _: None)
        costs.tell(event("0.10"))
        with pytest.raises(Exception, match="ZeroDivisionError"):
            await costs.ask(Report())

        costs.tell(event("0.20"))
        await wait_all_tasks_blocked()

    assert ledger.report().total.usd == Decimal("0.30")
