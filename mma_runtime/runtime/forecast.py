"""What it would take to go on with a run that its budget has stopped."""

import shlex
from collections.abc import Callable, Iterable
from decimal import ROUND_UP, Decimal
from pathlib import Path

from mma_runtime.costs.report import NOTHING_SPENT, CostReport, Spent
from mma_runtime.errors import BudgetExhausted
from mma_runtime.outcome import TicketOutcome, TicketState

HOME = Path(".mma")
"""Where the command line keeps its runs by default."""

_FINISHED = (TicketState.COMPLETED, TicketState.SKIPPED)
_CENT = Decimal("0.0001")
_UNITS: dict[str, Callable[[Spent], Decimal]] = {
    "usd": lambda spent: spent.usd,
    "tokens": lambda spent: Decimal(spent.usage.total),
    "calls": lambda spent: Decimal(spent.calls),
}


def to_go_on(
    tickets: Iterable[TicketOutcome], costs: CostReport, exhausted: BudgetExhausted
) -> Decimal | None:
    """Return about how many US dollars the tickets that are left would take.

    A ticket is reckoned at what the completed ones have cost on average, reviews and
    hints included, less what was spent on it already; at least the call that did not
    fit. `None` where nothing is known: no price, or no ticket completed and a budget
    that is not in dollars.
    """
    found = _left(tickets, costs, exhausted, "usd")
    return found.quantize(_CENT, ROUND_UP) if found else None


def resume_command(
    run: str,
    home: Path,
    tickets: Iterable[TicketOutcome],
    costs: CostReport,
    exhausted: BudgetExhausted,
) -> str:
    """Return the command that goes on with *run* in *home*, with a larger budget.

    It adds what the tickets that are left are likely to take in the unit that was used
    up; of seconds, and where nothing is known, as much again.
    """
    unit = exhausted.unit
    more = _left(tickets, costs, exhausted, unit) if unit in _UNITS else Decimal(0)
    more = (more or Decimal(exhausted.limit)).quantize(
        _CENT if unit == "usd" else Decimal(1), ROUND_UP
    )
    budget = f"{_limit(exhausted)}+{more}"
    return go_on(run, home, "--budget", budget)


def go_on(run: str, home: Path, *options: str) -> str:
    """Return the command that goes on with *run* in *home*."""
    return shlex.join(["mma", "resume", run, *options, *home_words(home)])


def home_words(home: Path) -> tuple[str, ...]:
    """Return what a command needs to find runs in *home*; nothing for the default."""
    return () if home.absolute() == HOME.absolute() else ("--home", str(home))


def _limit(exhausted: BudgetExhausted) -> str:
    """Name the limit as `--budget` takes it; the run's dollars need no name."""
    match exhausted.level:
        case "run":
            return "" if exhausted.unit == "usd" else f"{exhausted.unit}="
        case "tier":
            return f"{exhausted.name}.{exhausted.unit}="
        case level:
            return f"{level}.{exhausted.unit}="


def _left(
    tickets: Iterable[TicketOutcome],
    costs: CostReport,
    exhausted: BudgetExhausted,
    unit: str,
) -> Decimal:
    """Return what is likely to be missing in *unit*; 0 where nothing is known."""
    amount = _UNITS[unit]
    done: list[Decimal] = []
    left: list[Decimal] = []
    known = costs.tickets()
    for ticket in tickets:
        spent = known.get(ticket.id, NOTHING_SPENT)
        if ticket.state is TicketState.COMPLETED and not spent.unknown_calls:
            done.append(amount(spent))
        elif ticket.state not in _FINISHED:
            left.append(amount(spent))

    least = Decimal(exhausted.needed) if exhausted.unit == unit else Decimal(0)
    each = sum(done, Decimal(0)) / len(done) if done else Decimal(0)
    return max(least, sum((max(each - spent, least) for spent in left), Decimal(0)))
