"""What it would take to go on: what is missing, and the command that adds it."""

from decimal import Decimal
from pathlib import Path

import pytest

from mma_runtime.costs.report import CostLine, CostReport, Spent
from mma_runtime.errors import BudgetExhausted
from mma_runtime.llm.usage import Usage
from mma_runtime.outcome import TicketOutcome, TicketState
from mma_runtime.runtime.forecast import resume_command, to_go_on


def ticket(name: str, state: TicketState) -> TicketOutcome:
    return TicketOutcome(id=name, title="", track="", state=state)


TICKETS = (
    ticket("done", TicketState.COMPLETED),
    ticket("half", TicketState.OVER_BUDGET),
    ticket("never", TicketState.PENDING),
    ticket("skipped", TicketState.SKIPPED),
)


def line(name: str, usd: str, calls: int) -> CostLine:
    usage = Usage(input=1_000 * calls, output=0)
    return CostLine(
        ticket=name, spent=Spent(calls=calls, usage=usage, usd=Decimal(usd))
    )


COSTS = CostReport.of([line("done", "0.10", 5), line("half", "0.04", 2)])


def used_up(unit: str, limit: str, needed: str = "0") -> BudgetExhausted:
    return BudgetExhausted("run", unit, limit, limit, needed=needed)


def test_what_is_left_is_reckoned_at_what_the_completed_have_cost() -> None:
    assert to_go_on(TICKETS, COSTS, used_up("calls", "7")) == Decimal("0.1600")


@pytest.mark.parametrize(
    ("exhausted", "added"),
    [
        (used_up("usd", "0.14", "0.02"), "+0.1600"),
        (used_up("calls", "7", "1"), "calls=+8"),
        (used_up("tokens", "7000", "600"), "tokens=+8000"),
        (used_up("seconds", "30"), "seconds=+30"),
        (BudgetExhausted("ticket", "calls", "7", "7", name="half"), "ticket.calls=+8"),
        (BudgetExhausted("tier", "usd", "1", "1", name="qa"), "qa.usd=+0.1600"),
    ],
)
def test_the_command_adds_it_in_the_unit_that_was_used_up(
    exhausted: BudgetExhausted, added: str
) -> None:
    command = resume_command("r1", Path(".mma"), TICKETS, COSTS, exhausted)

    assert command == f"mma resume r1 --budget {added}"


def test_where_nothing_is_known_as_much_again_is_added() -> None:
    nothing = CostReport()
    exhausted = used_up("tokens", "500")

    assert to_go_on(TICKETS[2:3], nothing, exhausted) is None
    command = resume_command("r1", Path(".mma"), TICKETS[2:3], nothing, exhausted)
    assert command.endswith("--budget tokens=+500")


def test_a_home_of_ones_own_is_named_and_quoted(tmp_path: Path) -> None:
    home = tmp_path / "of mine"

    command = resume_command("r1", home, (), COSTS, used_up("calls", "1"))

    assert command == f"mma resume r1 --budget calls=+1 --home '{home}'"
