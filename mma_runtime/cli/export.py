"""`mma export`: a recorded run as a scripted scenario, a test that costs nothing."""

import sys
from pathlib import Path

import click

from mma_runtime.cli.options import Decorator, LogChoice, home_option
from mma_runtime.cli.terminal import Results, report_error, say
from mma_runtime.cli.wording import count
from mma_runtime.errors import MMAError
from mma_runtime.recording import find_run
from mma_runtime.recording.exporting import export

script_option: Decorator = click.option(
    "--script",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Where to write the scenario, as in out.yaml; its replies go beside it, into"
    " out.script.yaml.",
)


@click.command("export")
@click.argument("name", metavar="RUN")
@script_option
@home_option
def command(*, name: str, script: Path, home: Path) -> int:
    """Save RUN as a scripted scenario, which runs for free by `mma run FILE`.

    The models' replies are the recorded ones; tools, merges and checks are real.
    """
    return save(home, name, script, Results(sys.stdout))


def save(
    home: Path,
    name: str,
    file: Path,
    results: Results,
    logs: LogChoice | None = None,
) -> int:
    """Export the run *name* to *file* and say so; return the exit code."""
    try:
        done = export(find_run(home, name), file)
    except (MMAError, OSError) as error:
        return report_error(error, None, logs=logs)

    replies = count(done.replies, "reply").replace("replys", "replies")
    results.write(f"{replies} written to {done.script}; try `mma run {done.scenario}`")
    if done.rejected:
        times = count(done.rejected, "time")
        text = f"people said no {times}, which a script cannot: it allows all calls"
        say(f"mma: {text}", logs, "warning", "script_allows_more", problem=text)

    return 0
