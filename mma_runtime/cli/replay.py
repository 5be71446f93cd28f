"""`mma replay`: the same run again, without a model, a tool or a cent."""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import click
from anyio import to_thread

from mma_runtime.cli.exit_codes import ExitCode
from mma_runtime.cli.options import (
    LogChoice,
    backend_option,
    home_option,
    json_option,
    log_options,
    run_argument,
)
from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results, load_logs, report_error
from mma_runtime.cli.wording import printable
from mma_runtime.errors import MMAError
from mma_runtime.journal import Past
from mma_runtime.recording import JOURNAL, find_run
from mma_runtime.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay came to; *difference* is empty when all was as recorded.

    *legs* counts the scenarios that it had: each is gone through with its own.
    """

    run: str
    legs: int
    reused: int
    state: str
    difference: str


@click.command("replay")
@run_argument
@json_option
@log_options
@backend_option
@home_option
def command(
    *, name: str, as_json: bool, logs: LogChoice | None, backend: str, home: Path
) -> int:
    """Go through RUN again and check that every decision is the same.

    Calls no model and runs no tool. Exit codes: 0 the same; 1 not the same, and the
    first difference is told; 2 it cannot be replayed.
    """
    if logs is not None:
        load_logs(logs)

    results = Results(sys.stdout)
    try:
        found = anyio.run(_replay, name, home, backend=backend)
    except MMAError as error:
        return report_error(error, results if as_json else None, logs=logs)

    code = ExitCode.FAILED if found.difference else ExitCode.COMPLETED
    if as_json:
        results.write(to_json({**asdict(found), "exit_code": int(code)}, indent=2))
    elif found.difference:
        results.write(printable(f"{found.run}: not the same: {found.difference}"))
    else:
        results.write(
            f"{found.run}: the same, {found.state};"
            f" {found.reused} replies and results came from the journal"
        )

    return int(code)


async def _replay(name: str, home: Path) -> Replayed:
    folder = await to_thread.run_sync(find_run, home, name)
    past = await to_thread.run_sync(Past.read, folder / JOURNAL)
    legs = len(past.legs) + 1
    with TemporaryDirectory(prefix="mma-replay-") as scratch:
        async with Runtime(home=home) as runtime:
            for leg in range(legs - 1):
                place = Path(scratch) / f"leg{leg}"
                found = await _replay_leg(runtime, name, place, leg, legs)
                if found.difference:
                    told = f"before it was resumed with changes: {found.difference}"
                    return replace(found, difference=told)

            found = await _replay_leg(
                runtime, name, Path(scratch) / "last", legs - 1, legs
            )
            # Where the record ends the replay is cancelled; the run was not.
            return found if found.difference else replace(found, state=past.state)


async def _replay_leg(
    runtime: Runtime, name: str, scratch: Path, leg: int, legs: int
) -> Replayed:
    run = await runtime.replay(name, scratch, leg=leg)
    outcome = await run.outcome()
    return Replayed(
        run=run.id,
        legs=legs,
        reused=run.reused,
        state=outcome.state.value,
        difference=run.difference,
    )
