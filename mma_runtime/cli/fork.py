"""`mma fork`: a new run with the past of another, and a future of its own."""

import sys
from decimal import Decimal
from pathlib import Path

import anyio
import click

from mma_runtime.cli.options import (
    LogChoice,
    apply_options,
    backend_option,
    changes_options,
    chosen_apply,
    chosen_changes,
    home_option,
    json_option,
    log_options,
    once_option,
)
from mma_runtime.cli.run import Order, play
from mma_runtime.cli.terminal import RunResults, report_error, say
from mma_runtime.cli.wording import dollars
from mma_runtime.errors import MMAError
from mma_runtime.journal import Past
from mma_runtime.recording import JOURNAL, find_run, recorded_start
from mma_runtime.recording.forking import ForkPoint
from mma_runtime.tools.approval import Approval


class PointType(click.ParamType[ForkPoint]):
    """The number of an event, or `ticket=ID`."""

    name = "point"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> ForkPoint:
        """Read either form."""
        if isinstance(value, ForkPoint):
            return value

        text = str(value)
        if text.startswith("ticket=") and text != "ticket=":
            return ForkPoint(ticket=text.removeprefix("ticket="))

        if not text.isdecimal():
            self.fail(
                f"{text!r} is neither an event's number nor ticket=ID", param, ctx
            )

        return ForkPoint(event=int(text))


@click.command("fork")
@click.argument("name", metavar="RUN")
@click.option(
    "--at",
    "point",
    type=PointType(),
    required=True,
    metavar="EVENT|ticket=ID",
    help="The last record of the common past, by its number in `mma show`, or a ticket"
    " to redo.",
)
@changes_options
@once_option
@apply_options
@json_option
@log_options
@backend_option
@home_option
def command(
    *,
    name: str,
    point: ForkPoint,
    models: tuple[tuple[str, str], ...],
    raises: tuple[tuple[str, Decimal], ...],
    rounds: int | None,
    once: Approval | None,
    apply: bool | None,
    branch: bool,
    as_json: bool,
    logs: LogChoice | None,
    backend: str,
    home: Path,
) -> int:
    """Copy the past of RUN and live another future, with other models if you like."""
    handed_over = chosen_apply(apply=apply, branch=branch)
    results = RunResults(sys.stdout)
    try:
        folder = find_run(home, name)
        scenario = recorded_start(folder).scenario
        before = Past.read(folder / JOURNAL)
    except MMAError as error:
        return report_error(error, results if as_json else None, logs=logs)

    changes = chosen_changes(models, raises, rounds)
    order = Order(
        scenario=scenario,
        start=lambda runtime: runtime.fork(
            folder.name, point, changes, apply=handed_over or False
        ),
        home=home,
        journal=True,
        logs=logs,
        as_json=as_json,
        jsonl=False,
        svg=None,
        once=once,
    )
    played = anyio.run(play, order, results, backend=backend)
    if played.run:
        after = Past.read(find_run(home, played.run) / JOURNAL)
        lines = _comparison(before, after)
        say("\n".join(["", *lines]), logs, "info", "fork_compared", told=lines)

    return played.code


def _comparison(before: Past, after: Past) -> list[str]:
    """Word what the fork has of the run that it comes from, and how it differs."""
    new = after.records - after.inherited
    reused = f"{after.inherited} of its {before.records} records reused, {new} new"
    ends = f"{before.state} before, {after.state} now"
    usd, tokens = after.usd - before.usd, after.tokens - before.tokens
    paid = f"{dollars(before.usd)} before, {dollars(after.usd)} now"
    return [
        f"forked from {before.run}: {reused}",
        f"outcome: {ends}",
        f"dollars: {paid}, {_signed(usd)}",
        f"tokens:  {before.tokens:,} before, {after.tokens:,} now, {tokens:+,}",
    ]


def _signed(usd: Decimal) -> str:
    return ("-" if usd < 0 else "+") + dollars(abs(usd))
