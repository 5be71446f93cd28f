"""Assertions about how a run ended and what it cost, with the whole story in them."""

from collections.abc import Iterator
from decimal import Decimal

from mma_runtime.arguments import check_kind
from mma_runtime.costs.report import CostReport, Spent, check_keys
from mma_runtime.outcome import Outcome, RunState, TicketOutcome, TicketState


def assert_completed(outcome: Outcome) -> None:
    """Assert that all was done and every expectation held.

    Raises:
        AssertionError: It was not; tells how the run ended, ticket by ticket.
    """
    assert_state(outcome, RunState.COMPLETED)


def assert_state(outcome: Outcome, state: RunState | str) -> None:
    """Assert that the run ended as *state*.

    Raises:
        AssertionError: It ended otherwise; tells how, ticket by ticket.
        ValueError: There is no such state.
    """
    wanted = RunState(state)
    if outcome.state is not wanted:
        raise AssertionError(f"the run is not {wanted.value}\n{told(outcome)}")


def assert_ticket(
    outcome: Outcome,
    ticket: str,
    state: TicketState | str = TicketState.COMPLETED,
    *,
    attempts: int | None = None,
) -> TicketOutcome:
    """Assert that *ticket* ended as *state*, after so many *attempts*; return it.

    Raises:
        AssertionError: There is no such ticket, or it ended otherwise.
        ValueError: There is no such state.
    """
    wanted = TicketState(state)
    found = next((one for one in outcome.tickets if one.id == ticket), None)
    if found is None:
        raise AssertionError(f"there is no ticket {ticket!r}\n{told(outcome)}")

    if found.state is not wanted:
        raise AssertionError(f"ticket {ticket!r} is not {wanted}\n{told(outcome)}")

    if attempts not in (None, found.attempts):
        raise AssertionError(
            f"ticket {ticket!r} took {found.attempts} attempts, not {attempts}"
            f"\n{told(outcome)}"
        )

    return found


def assert_cost(
    costs: Outcome | CostReport,
    *,
    usd: Decimal | str | None = None,
    at_most: Decimal | str | None = None,
    calls: int | None = None,
    **where: str,
) -> Spent:
    """Assert what was spent, in US dollars and in model calls; return it.

    *usd* is the exact sum and *at_most* its bound, both in US dollars. *where* chooses
    some of the lines, by `tier`, `track`, `ticket`, `model`, `provider` or `run`. Calls
    of unknown price are never taken as free: with them no sum of dollars holds.

    Raises:
        AssertionError: It was another sum; shows the lines.
        ArgumentInvalid: *where* chooses by something else, or *costs* are none.
    """
    check_kind("costs", costs, (Outcome, CostReport), "an `Outcome` or a `CostReport`")
    check_keys(where)
    report = costs.costs if isinstance(costs, Outcome) else costs
    spent = CostReport.of(
        line
        for line in report.lines
        if all(getattr(line, key) == value for key, value in where.items())
    ).total
    of = ", ".join(f"{key} {value!r}" for key, value in where.items()) or "the run"
    problems: list[str] = []
    if (usd, at_most) != (None, None) and spent.unknown_calls:
        problems.append(f"{spent.unknown_calls} calls of unknown price")

    if usd is not None and spent.usd != Decimal(usd):
        problems.append(f"${spent.usd}, not ${usd}")

    if at_most is not None and spent.usd > Decimal(at_most):
        problems.append(f"${spent.usd}, more than ${at_most}")

    if calls not in (None, spent.calls):
        problems.append(f"{spent.calls} calls, not {calls}")

    if problems:
        lines = "\n".join(_cost_lines(report))
        raise AssertionError(f"{of} cost {' and '.join(problems)}\n{lines}")

    return spent


def told(outcome: Outcome) -> str:
    """Tell how a run ended, for a test's output: state, expectations, tickets, cost."""
    lines = [f"{outcome.name} ended as {outcome.state.value}: {outcome.reason}"]
    for one in outcome.expectations:
        mark = "held" if one.passed else "FAILED"
        lines.append(f"  expect {one.name}: {mark}")
        lines += [f"    {line}" for line in one.detail.splitlines()]

    for ticket in outcome.tickets:
        said = f"  ticket {ticket.id}: {ticket.state.value}"
        if ticket.state is not TicketState.COMPLETED and ticket.reason:
            said += f" ({ticket.reason})"

        lines.append(
            f"{said}, {ticket.rounds} rounds, {ticket.attempts} attempts"
            + (f", {', '.join(ticket.files)}" if ticket.files else "")
        )

    return "\n".join([*lines, *_cost_lines(outcome.costs)])


def _cost_lines(report: CostReport) -> Iterator[str]:
    for line in report.by("tier", "model"):
        yield f"  cost of {line.tier}, {line.model}: {_sum(line.spent)}"

    yield f"  cost in all: {_sum(report.total)}"


def _sum(spent: Spent) -> str:
    known = f"{spent.calls} calls, ${spent.usd}"
    if not spent.unknown_calls:
        return known

    return f"{known}, {spent.unknown_calls} of unknown price"
