"""`mma record`: `mma run`, and what came of it saved as a scripted scenario."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mma_runtime.cli.export import force_option, save, script_option
from mma_runtime.cli.options import chosen_logs, demand_folder
from mma_runtime.cli.run import command as run_command
from mma_runtime.cli.run import run_scenario
from mma_runtime.cli.terminal import RunResults, report_error
from mma_runtime.errors import ConfigurationError
from mma_runtime.recording.exporting import check_free

_NOT_TAKEN = ("no_journal", "as_json", "jsonl")


def _options_of_run(function: Callable[..., int]) -> Callable[..., int]:
    taken = [one for one in run_command.params if one.name not in _NOT_TAKEN]
    function.__click_params__ = taken  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - where click's decorators leave them
    return function


@click.command("record")
@script_option
@force_option
@_options_of_run
def command(
    *,
    script: Path,
    force: bool,
    home: Path,
    log_format: str | None,
    log_level: str | None,
    **options: Any,
) -> int:
    """Run the scenario FILE and save it with the models' replies as another scenario.

    The same as `mma run FILE` and `mma export last --script OUT`: a run that was paid
    for becomes a test that is free. The exit code is that of the run.
    """
    logs = chosen_logs(log_format, log_level)
    demand_folder(script, "--script")
    try:
        check_free(script, replace=force)
    except ConfigurationError as error:
        return report_error(error, None, logs=logs)

    played = run_scenario(
        home=home, no_journal=False, as_json=False, jsonl=False, logs=logs, **options
    )
    if played.run:
        save(home, played.run, script, RunResults(sys.stdout), logs, replace=force)

    return played.code
