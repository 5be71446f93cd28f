"""`mma resume`: goes on with a run that was killed, cancelled, paused or bounded."""

import sys
from decimal import Decimal
from pathlib import Path

import anyio
import click

from mma_runtime.cli.exit_codes import ExitCode
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
    run_argument,
)
from mma_runtime.cli.run import Order, play
from mma_runtime.cli.terminal import RunResults, report_error, say
from mma_runtime.errors import MMAError
from mma_runtime.journal.summary import summarise
from mma_runtime.outcome import RunState
from mma_runtime.recording import JOURNAL, find_run, mend, recorded_start
from mma_runtime.tools.approval import Approval


@click.command("resume")
@run_argument
@changes_options
@once_option
@apply_options
@json_option
@click.option("--jsonl", is_flag=True, help="Print each event as a line of JSON.")
@log_options
@backend_option
@home_option
def command(
    *,
    name: str,
    models: tuple[tuple[str, str], ...],
    raises: tuple[tuple[str, Decimal], ...],
    rounds: int | None,
    once: Approval | None,
    apply: bool | None,
    branch: bool,
    as_json: bool,
    jsonl: bool,
    logs: LogChoice | None,
    backend: str,
    home: Path,
) -> int:
    """Go on with RUN, the last one by default.

    What was done and paid for is not done again; a completed run is left as it is. RUN
    may be the beginning of a name.
    """
    if as_json and jsonl:
        raise click.UsageError("--json and --jsonl exclude each other.")

    handed_over = chosen_apply(apply=apply, branch=branch)
    results = RunResults(sys.stdout)
    try:
        folder = find_run(home, name)
        if (loss := mend(folder)) is not None:
            say(f"mma: {loss}", logs, "warning", "journal_mended", loss=str(loss))

        scenario = recorded_start(folder).scenario
        summary = summarise(folder / JOURNAL)
    except MMAError as error:
        told = results if as_json or jsonl else None
        return report_error(error, told, logs=logs, indent=None if jsonl else 2)

    is_for_people = not as_json and not jsonl
    if summary.state == RunState.COMPLETED and is_for_people and not handed_over:
        # A program gets the whole outcome once more.
        results.write(f"{folder.name} was completed already: there is nothing to do")
        return ExitCode.COMPLETED

    changes = chosen_changes(models, raises, rounds)
    order = Order(
        scenario=scenario,
        start=lambda runtime: runtime.resume(folder.name, changes, apply=handed_over),
        home=home,
        journal=True,
        logs=logs,
        as_json=as_json,
        jsonl=jsonl,
        svg=None,
        once=once,
    )
    return anyio.run(play, order, results, backend=backend).code
