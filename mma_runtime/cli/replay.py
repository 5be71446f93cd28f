"""`mma replay`: the same run again, without a model, a tool or a cent."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import click

from mma_runtime.cli.exit_codes import ExitCode
from mma_runtime.cli.options import (
    backend_option,
    home_option,
    json_option,
    run_argument,
)
from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results, report_error
from mma_runtime.errors import MMAError
from mma_runtime.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay came to; *difference* is empty when all was as recorded."""

    run: str
    reused: int
    state: str
    difference: str


@click.command("replay")
@run_argument
@json_option
@backend_option
@home_option
def command(*, name: str, as_json: bool, backend: str, home: Path) -> int:
    """Go through RUN again and check that every decision is the same.

    Calls no model and runs no tool. Exit codes: 0 the same; 1 not the same, and the
    first difference is told; 2 it cannot be replayed.
    """
    results = Results(sys.stdout)
    try:
        found = anyio.run(_replay, name, home, backend=backend)
    except MMAError as error:
        return report_error(error, results if as_json else None)

    code = ExitCode.FAILED if found.difference else ExitCode.COMPLETED
    if as_json:
        results.write(to_json({**asdict(found), "exit_code": int(code)}, indent=2))
    elif found.difference:
        results.write(f"{found.run}: not the same: {found.difference}")
    else:
        results.write(
            f"{found.run}: the same, {found.state};"
            f" {found.reused} replies and results came from the journal"
        )

    return int(code)


async def _replay(name: str, home: Path) -> Replayed:
    with TemporaryDirectory(prefix="mma-replay-") as scratch:
        async with Runtime(home=home) as runtime:
            run = await runtime.replay(name, Path(scratch) / "run")
            outcome = await run.outcome()
            return Replayed(
                run=run.id,
                reused=run.reused,
                state=outcome.state.value,
                difference=run.difference,
            )
