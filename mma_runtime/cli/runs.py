"""`mma runs`: the recorded runs, what became of them and what they cost."""

import sys
import time
from pathlib import Path

import click
from rich.table import Table

from mma_runtime.cli.options import home_option, json_option
from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results
from mma_runtime.cli.wording import price
from mma_runtime.journal.summary import Summary, summarise
from mma_runtime.recording import JOURNAL, run_folders

_WIDE = 160
_LEAST = {"run": 24, "state": 11, "began (UTC)": 16, "tickets": 7}


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

    # Where no terminal cuts it off, a table is as wide as it has to be.
    results.show(_table(found), width=None if sys.stdout.isatty() else _WIDE)
    return 0


def _table(found: list[Summary]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = ("run", "scenario", "state", "began (UTC)", "tickets")
    for title in columns:
        # Where there is little room, the scenario's name is cut: it leads nowhere.
        least = 8 if title == "scenario" else _LEAST.get(title)
        table.add_column(title, no_wrap=True, min_width=least)

    table.add_column("US$", justify="right", no_wrap=True, min_width=8)
    for one in found:
        began = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.began))
        total = one.costs.total
        table.add_row(
            one.run,
            one.name,
            one.state,
            began if one.began else "",
            f"{one.completed}/{one.tickets}",
            price(total.usd, total.calls, total.unknown_calls),
        )

    return table
