"""What it would cost to go on with a run that its budget has stopped."""

from collections.abc import Iterable
from decimal import ROUND_UP, Decimal

from mma_runtime.cost_report import NOTHING_SPENT, CostReport
from mma_runtime.errors import BudgetExhausted
from mma_runtime.outcome import TicketOutcome, TicketState

_FINISHED = (TicketState.COMPLETED, TicketState.SKIPPED)
_CENT = Decimal("0.0001")


def to_go_on(
    tickets: Iterable[TicketOutcome], costs: CostReport, exhausted: BudgetExhausted
) -> Decimal | None:
    """Return about how many US dollars the tickets that are left would take.

    A ticket is reckoned at what the completed ones have cost on average, reviews and
    hints included, less what was spent on it already; at least the call that did not
    fit. `None` where nothing is known: no price, or no ticket completed and a budget
    that is not in dollars.
    """
    done: list[Decimal] = []
    left: list[Decimal] = []
    known = costs.tickets()
    for ticket in tickets:
        spent = known.get(ticket.id, NOTHING_SPENT)
        if ticket.state is TicketState.COMPLETED and not spent.unknown_calls:
            done.append(spent.usd)
        elif ticket.state not in _FINISHED:
            left.append(spent.usd)

    least = Decimal(exhausted.needed) if exhausted.unit == "usd" else Decimal(0)
    each = sum(done, Decimal(0)) / len(done) if done else Decimal(0)
    found = max(least, sum((max(each - spent, least) for spent in left), Decimal(0)))
    return found.quantize(_CENT, ROUND_UP) if found else None
