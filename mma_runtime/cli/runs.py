"""`mma runs`: the recorded runs, what became of them and what they cost."""

import sys
import time
from collections.abc import Iterable, Iterator
from math import inf
from pathlib import Path

import click

from mma_runtime.cli.options import home_option, json_option
from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results
from mma_runtime.cli.wording import one_line, price, printable
from mma_runtime.journal.summary import Summary, summarise
from mma_runtime.recording import JOURNAL, run_folders

_TITLES = ("run", "scenario", "state", "began (UTC)", "tickets", "US$")
_NAME, _MONEY = 1, 5

# Which of them are shown: the first of these that has room. When a run began is in its
# name, too.
_LAYOUTS = ((0, 1, 2, 3, 4, 5), (0, 1, 2, 4, 5), (0, 1, 2, 5), (0, 2, 5), (0, 5))

# Characters of a scenario's name.
_NAME_LEAST, _NAME_MOST = 8, 40


@click.command("runs")
@json_option
@home_option
def command(*, as_json: bool, home: Path) -> int:
    """List the runs that were recorded here, the newest last."""
    found = [summarise(folder / JOURNAL) for folder in run_folders(home)]
    results = Results(sys.stdout)
    if as_json:
        results.write(to_json({"runs": [one.as_facts() for one in found]}, indent=2))
        return 0

    if not found:
        results.write(f"no run was recorded in {home}")
        return 0

    results.write("\n".join(_lines(found, results.columns)))
    return 0


def _lines(found: Iterable[Summary], width: int | None) -> Iterator[str]:
    """Lay out the runs in *width* columns; `None`: as wide as they are.

    The scenario's name is cut, which leads nowhere; what has no room beside it is left
    out whole.
    """
    rows = [_TITLES, *map(_row, found)]
    widths: dict[int, int] = {}
    for kept in _LAYOUTS:
        widths = {at: max(len(row[at]) for row in rows) for at in kept}
        over = sum(widths.values()) + len(kept) - 1 - (width or inf)
        if over > 0 and _NAME in widths:
            cut = min(int(over), widths[_NAME] - _NAME_LEAST)
            widths[_NAME] -= cut
            over -= cut

        if over <= 0:
            break

    for row in rows:
        cells = (
            row[at].rjust(size) if at == _MONEY else one_line(row[at], size).ljust(size)
            for at, size in widths.items()
        )
        yield " ".join(cells)


def _row(one: Summary) -> tuple[str, ...]:
    # The year is in the run's name.
    began = time.strftime("%m-%d %H:%M", time.gmtime(one.began)) if one.began else ""
    total = one.costs.total
    return (
        printable(one.run),
        one_line(one.name, _NAME_MOST),
        printable(one.state),
        began,
        f"{one.completed}/{one.tickets}",
        price(total.usd, total.calls, total.unknown_calls),
    )
