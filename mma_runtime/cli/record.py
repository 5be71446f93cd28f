"""`mma record`: `mma run`, and what came of it saved as a scripted scenario."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mma_runtime.cli.export import save, script_option
from mma_runtime.cli.options import chosen_logs
from mma_runtime.cli.run import command as run_command
from mma_runtime.cli.terminal import Results
from mma_runtime.recording import run_folders

_NOT_TAKEN = ("no_journal", "as_json", "jsonl")


def _options_of_run(function: Callable[..., int]) -> Callable[..., int]:
    taken = [one for one in run_command.params if one.name not in _NOT_TAKEN]
    function.__click_params__ = taken  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - where click's decorators leave them
    return function


@click.command("record")
@script_option
@_options_of_run
def command(*, script: Path, home: Path, **options: Any) -> int:
    """Run the scenario FILE and save it with the models' replies as another scenario.

    The same as `mma run FILE` and `mma export last --script OUT`: a run that was paid
    for becomes a test that is free. The exit code is that of the run.
    """
    logs = chosen_logs(options["log_format"], options["log_level"])
    known = set(run_folders(home))
    code: int = run_command.callback(  # type: ignore[misc] # it has one
        home=home, no_journal=False, as_json=False, jsonl=False, **options
    )
    for run in set(run_folders(home)) - known:
        saved = save(home, run.name, script, Results(sys.stdout), logs)
        code = code or saved

    return code
