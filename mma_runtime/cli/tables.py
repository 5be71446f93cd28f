"""The tables at the end of a run, from its outcome."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mma_runtime.cli.wording import count, dollars, one_line, price, printable
from mma_runtime.costs.escalation import Escalation
from mma_runtime.costs.report import NOTHING_SPENT, CostReport, Spent
from mma_runtime.firewall import Firewall
from mma_runtime.outcome import Expectation, Outcome
from mma_runtime.workspace.diff import FileStat

COLOURS = {
    "completed": "green",
    "accepted": "green",
    "failed": "red",
    "provider_failed": "red",
    "rejected": "red",
    "bounded": "yellow",
    "over_budget": "yellow",
    "skipped": "yellow",
    "stuck": "red",
    "blocked": "yellow",
    "paused": "yellow",
    "cancelled": "yellow",
}

# Marks of a diffstat at most; more changed lines share them.
BAR = 30

# Columns below which there is room for the figures that matter most alone.
NARROW = 60

# Characters of a run's reason, which is told in full here and cut elsewhere.
REASON = 4_000

# Characters of the longest state of a ticket.
_STATE = len("over_budget")


def end_tables(outcome: Outcome, width: int) -> Iterator[RenderableType]:
    """Yield what is shown of *outcome*: tickets, costs, changes, expectations.

    What climbed, and how much was kept from the upper tiers, goes with the costs. Less
    than 60 columns of *width* are for the figures that matter most.
    """
    is_narrow = width < NARROW
    if outcome.tickets:
        yield tickets_table(outcome, is_narrow=is_narrow)

    if outcome.costs.lines:
        keys = ("tier",) if is_narrow else ("tier", "model")
        yield costs_table(outcome.costs, *keys, is_narrow=is_narrow)
        if note := cost_note(outcome.costs):
            yield Text(note, style="dim")

        if note := firewall_note(outcome.firewall):
            yield Text(note, style="dim")

    if outcome.escalations:
        yield escalations_table(outcome.escalations)

    if outcome.changes:
        yield changes_table(outcome.changes)

    if outcome.expectations:
        yield expectations_table(outcome.expectations)


def tickets_table(outcome: Outcome, *, is_narrow: bool = False) -> Table:
    """Lay out how each ticket ended and what all tiers spent on it.

    A reason that is the run's as well is left to the result, which tells it in full.
    """
    table = _table("Tickets")
    table.add_column("ticket", no_wrap=True)
    table.add_column("outcome", min_width=_STATE)
    for name in () if is_narrow else ("rounds", "attempts"):
        table.add_column(name, justify="right")

    table.add_column("tokens", justify="right")
    _add_money(table, "US dollars")
    known = outcome.costs.tickets()
    for ticket in outcome.tickets:
        spent = known.get(ticket.id, NOTHING_SPENT)
        ended = Text(ticket.state.value, style=COLOURS.get(ticket.state, ""))
        is_told = ticket.state == "completed" or ticket.reason in outcome.reason
        if ticket.reason and not is_told:
            ended.append(f": {one_line(ticket.reason)}", style="default")

        work = () if is_narrow else (str(ticket.rounds), str(ticket.attempts))
        table.add_row(
            printable(ticket.id),
            ended,
            *work,
            f"{spent.usage.total:,}",
            _price(spent),
        )

    return table


def costs_table(
    costs: CostReport, *keys: str, title: str = "Costs", is_narrow: bool = False
) -> Table:
    """Lay out tokens and dollars by *keys*, such as `tier` and `model`.

    What there is nothing of, such as cached tokens, has no column; where it *is_narrow*
    input, output and dollars alone have.
    """
    table = _table(title)
    for place, key in enumerate(keys):
        table.add_column(key, no_wrap=place == 0)

    columns = [
        one
        for one in _COLUMNS
        if one.is_shown(costs.total) and (one.matters_most or not is_narrow)
    ]
    for column in columns:
        if column.is_money:
            _add_money(table, column.name)
        else:
            table.add_column(column.name, justify="right")

    for line in costs.by(*keys):
        names = [printable(getattr(line, key)) or "-" for key in keys]
        table.add_row(*names, *(column.figure(line.spent) for column in columns))

    table.add_section()
    blank = [""] * (len(keys) - 1)
    figures = [column.figure(costs.total) for column in columns]
    table.add_row("total", *blank, *figures, style="bold")
    return table


def cost_note(costs: CostReport) -> str:
    """Say in words what the dollars of *costs* are: paid, or what they would be."""
    total = costs.total
    notes: list[str] = []
    if not any(line.billed for line in costs.lines):
        notes.append(
            "nothing was billed: scripted replies, priced as the models they stand in"
            " for"
        )
    elif not all(line.billed for line in costs.lines):
        notes.append(
            f"{dollars(total.billed_usd)} was billed; scripted replies are priced as"
            " the models they stand in for"
        )

    if total.estimated_calls:
        calls = count(total.estimated_calls, "call")
        notes.append(f"{calls} estimated: cut off midway")

    if total.unknown_calls:
        notes.append(f"the price of {count(total.unknown_calls, 'call')} is unknown")

    return "; ".join(notes)


def firewall_note(firewall: Firewall) -> str:
    """Say how little of what was produced below went up; nothing if there is no up."""
    if not firewall.passed:
        return ""

    kept = f": {firewall.kept_back:.0%} kept back" if firewall.kept_back else ""
    return (
        f"firewall: {count(firewall.produced, 'token')} produced below,"
        f" {firewall.passed:,} went up{kept}"
    )


def escalations_table(escalations: tuple[Escalation, ...]) -> Table:
    """Lay out which tickets climbed, over which models, and what that cost."""
    table = _table("Escalations")
    table.add_column("ticket", no_wrap=True)
    table.add_column("attempts on")
    for name in ("calls", "tokens", "US dollars"):
        table.add_column(name, justify="right")

    for one in escalations:
        table.add_row(
            printable(one.ticket),
            ", ".join(map(printable, one.models)),
            str(one.spent.calls),
            f"{one.spent.usage.total:,}",
            _price(one.spent),
        )

    return table


def changes_table(changes: tuple[FileStat, ...]) -> Table:
    """Lay out the changed files as a diffstat."""
    table = _table("Changes")
    table.add_column("file")
    table.add_column("")
    table.add_column("lines", justify="right")
    table.add_column("", no_wrap=True)
    most = max(file.added + file.removed for file in changes)
    scale = min(1.0, BAR / most) if most else 0.0
    for file in changes:
        bar = Text("+" * round(file.added * scale), style="green")
        bar.append("-" * round(file.removed * scale), style="red")
        lines = "binary" if file.binary else f"+{file.added} -{file.removed}"
        table.add_row(printable(file.path), file.state, lines, bar)

    return table


def expectations_table(expectations: tuple[Expectation, ...]) -> Table:
    """Lay out what was expected and whether it held."""
    table = _table("Expectations")
    table.add_column("expected")
    table.add_column("")
    for one in expectations:
        held = Text("yes", style="green") if one.passed else Text("NO", style="red")
        if one.detail and not one.passed:
            held.append(f": {one_line(one.detail)}", style="default")

        table.add_row(one_line(one.name), held)

    return table


def result_text(outcome: Outcome, folder: Path | None) -> str:
    """Return the result for people: how it ended and where what it made is.

    *folder* is the user's own, for changes that were applied to it.
    """
    reason = one_line(outcome.reason, REASON)
    lines = [f"{outcome.state.value}: {reason} ({outcome.seconds:.1f} s)"]
    if outcome.to_go_on_usd is not None:
        lines.append(f"to go on would take about {dollars(outcome.to_go_on_usd)} more")

    if outcome.resume_command:
        lines.append(f"to go on:      {printable(outcome.resume_command)}")

    if outcome.tree is None:
        lines += [
            f"\n{ticket.id}: {printable(ticket.answer).strip()}"
            for ticket in outcome.tickets
            if ticket.answer.strip()
        ]
    elif outcome.applied:
        lines.append(f"{count(len(outcome.changes), 'file')} changed in {folder}")
    elif outcome.branch:
        files = count(len(outcome.changes), "file")
        lines.append(f"{files} changed on the branch {outcome.branch} of {folder}")
    elif not outcome.changes:
        lines.append("no file was changed")
    else:
        lines.append(f"changed files: {shown(outcome.tree)}")
        lines.append(f"as a patch:    {shown(outcome.patch)}")

    if outcome.unmerged is not None and not outcome.completed:
        lines.append(f"not merged:    {shown(outcome.unmerged)}")

    if outcome.sandbox:
        lines.append(f"sandbox:       {outcome.sandbox}")

    # Files, folders and branches, too, have names that other people gave them.
    return printable("\n".join(lines))


def shown(path: Path | None) -> str:
    """Return *path* relative to the working folder where it lies in it."""
    if path is None:
        return "none"

    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _price(spent: Spent) -> str:
    return price(spent.usd, spent.calls, spent.unknown_calls)


def _always(_total: Spent) -> bool:
    return True


def _most(spent: Spent) -> str:
    return "unknown" if spent.unknown_usd is None else dollars(spent.unknown_usd)


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the table of costs; not shown where a total has nothing for it."""

    name: str
    figure: Callable[[Spent], str]
    is_shown: Callable[[Spent], bool] = _always
    matters_most: bool = False
    is_money: bool = False


_COLUMNS = (
    _Column("calls", lambda spent: f"{spent.calls:,}"),
    _Column(
        "attempts",
        lambda spent: f"{spent.attempts:,}",
        lambda total: total.attempts > total.calls,
    ),
    _Column("input", lambda spent: f"{spent.usage.input:,}", matters_most=True),
    _Column(
        "cached",
        lambda spent: f"{spent.usage.cache_read:,}",
        lambda total: total.usage.cache_read > 0,
    ),
    _Column("output", lambda spent: f"{spent.usage.output:,}", matters_most=True),
    _Column(
        "reasoning",
        lambda spent: f"{spent.usage.reasoning:,}",
        lambda total: total.usage.reasoning > 0,
    ),
    _Column("US dollars", _price, matters_most=True, is_money=True),
    _Column(
        "estimated",
        lambda spent: dollars(spent.estimated_usd),
        lambda total: total.estimated_calls > 0,
        is_money=True,
    ),
    _Column(
        "at most more",
        _most,
        lambda total: total.unknown_usd is None or total.unknown_usd > 0,
        is_money=True,
    ),
    _Column(
        "saved",
        lambda spent: dollars(spent.saved_usd),
        lambda total: total.saved_usd != 0,
        is_money=True,
    ),
)


def _add_money(table: Table, name: str) -> None:
    # As a column that does not wrap it is the last to be cut.
    table.add_column(name, justify="right", no_wrap=True)


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
