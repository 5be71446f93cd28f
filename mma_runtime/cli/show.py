"""`mma show`: what happened in a run, as its journal tells it."""

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from mma_runtime.cli.options import home_option, json_option, run_argument
from mma_runtime.cli.records import to_json
from mma_runtime.cli.tables import cost_note, costs_table
from mma_runtime.cli.terminal import Results, report_error
from mma_runtime.cli.wording import one_line, price, printable, wrapped
from mma_runtime.costs.report import CostReport
from mma_runtime.errors import ConfigurationError, MMAError, did_you_mean
from mma_runtime.events import Event
from mma_runtime.events.records import record_of
from mma_runtime.events.schema import event_kinds
from mma_runtime.journal import JournalReader, Record
from mma_runtime.journal.kinds import MERGE
from mma_runtime.journal.lock import holder
from mma_runtime.journal.summary import Summary
from mma_runtime.recording import JOURNAL, find_run

# Seconds between two looks at a run that goes on.
PAUSE = 0.2

KINDS: Mapping[str, type[Event]] = {
    kind.__name__: kind for kind in event_kinds().values()
}
"""The kinds of records that are events; the others are a journal's bookkeeping."""

_WIDTH = 110
_DULL = frozenset(("step", "intent", "reply", "tools", "command", "view", "failure"))
_SHOWN_FACTS = 6


@click.command("show")
@run_argument
@click.option("--ticket", metavar="ID", help="Show what concerns one ticket.")
@click.option("--all", "everything", is_flag=True, help="Show the bookkeeping, too.")
@click.option("--diffs", is_flag=True, help="Show the changes that were accepted.")
@click.option("--follow", is_flag=True, help="Go on as long as the run does.")
@json_option
@home_option
def command(
    *,
    name: str,
    ticket: str | None,
    everything: bool,
    diffs: bool,
    follow: bool,
    as_json: bool,
    home: Path,
) -> int:
    """Show the events of RUN, the last one by default, and what it cost.

    With --json each is a line, the same as `mma run --jsonl` has printed, with the
    number of its record, for `mma fork --at`.
    """
    results = Results(sys.stdout)
    columns = results.columns
    try:
        path = find_run(home, name) / JOURNAL
        with JournalReader(path) as reader:
            summary = Summary(reader.run or path.parent.name)
            told = 0
            tickets = set[str]()
            for record in _records(reader, path, follow=follow):
                summary.add(record)
                told += record.kind in KINDS
                tickets.add(record.origin.ticket)
                if ticket is not None and record.origin.ticket != ticket:
                    continue

                if as_json:
                    if everything or record.kind in KINDS:
                        results.write(to_json(_facts(record, told)), at_once=follow)

                    continue

                if everything or _is_told(record):
                    line = _line(record, summary.began)
                    results.write(
                        wrapped(line, columns) if columns else line, at_once=follow
                    )

                if diffs and record.kind == MERGE:
                    patch = reader.content(record.contents["patch"])
                    results.write(printable(patch.decode(errors="replace")))

        if ticket is not None and ticket not in tickets - {""}:
            near = did_you_mean(ticket, tickets)
            raise ConfigurationError(f"there is no ticket {ticket!r}{near}")
    except MMAError as error:
        return report_error(error, results if as_json else None)
    finally:
        results.flush()

    if not as_json:
        closing = _closing(summary, path)
        _print_costs(summary.costs, ticket, results)
        results.write(closing)

    return 0


def _print_costs(costs: CostReport, ticket: str | None, results: Results) -> None:
    """Print what was spent by tier and by ticket, or on *ticket* alone."""
    if ticket is not None:
        costs = CostReport.of(line for line in costs.lines if line.ticket == ticket)

    if not costs.lines:
        return

    results.write("")
    results.show(costs_table(costs, "tier", "model"))
    if ticket is None:
        results.write("")
        results.show(costs_table(costs, "ticket", title="Costs by ticket"))

    if note := cost_note(costs):
        results.show(note)

    results.write("")


def _records(reader: JournalReader, path: Path, *, follow: bool) -> Iterator[Record]:
    after = 0
    while True:
        # Asked before: what is written until it lets go is read once more.
        at_work = follow and holder(path) is not None
        for record in reader.records(after):
            yield record
            after = record.seq

        if not at_work:
            return

        time.sleep(PAUSE)


def _is_told(record: Record) -> bool:
    return record.kind not in _DULL and not record.kind.startswith("Actor")


def _line(record: Record, began: float) -> str:
    origin = record.origin
    place = "/".join(filter(None, (origin.track, origin.ticket)))
    if origin.ticket and origin.attempt > 1:
        place += f".{origin.attempt}"

    facts = [
        f"{name}={value}"
        for name, value in list(record.facts.items())[:_SHOWN_FACTS]
        if value not in ("", None, [], {})
    ]
    told = f"{record.kind} {' '.join(facts)}"
    # A clock may have been set back meanwhile.
    passed = max(0.0, record.time - began)
    start = f"{record.seq:>6} {passed:>8.2f}s {origin.tier:<12} {place:<20}"
    return f"{printable(start)} {one_line(told, _WIDTH)}".rstrip()


def _facts(record: Record, told: int) -> dict[str, Any]:
    """Return the line of a *record*; so many events were *told* up to here."""
    origin, kind = record.origin, KINDS.get(record.kind)
    if kind is not None:
        event = record_of(kind, origin, record.facts, seq=told, time=record.time)
        # Its number in the journal, which counts the bookkeeping as well.
        return {**event, "record": record.seq}

    return {
        "record": record.seq,
        "kind": record.kind,
        "time": record.time,
        "run": origin.run,
        "tier": origin.tier,
        "track": origin.track,
        "ticket": origin.ticket,
        "attempt": origin.attempt,
        "task": origin.task,
        "call": record.call,
        "facts": dict(record.facts),
    }


def _closing(summary: Summary, path: Path) -> str:
    state = summary.state
    if holder(path) is not None:
        state = "running"
    else:
        summary.give_up()

    total = summary.costs.total
    cost = price(total.usd, total.calls, total.unknown_calls)
    name = f" ({one_line(summary.name)})" if summary.name else ""
    return printable(
        f"{summary.run}{name}: {state},"
        f" {summary.completed} of {summary.tickets} tickets completed,"
        f" {total.calls} calls, {cost}"
    )
