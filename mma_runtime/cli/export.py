"""`mma export`: a recorded run as a scripted scenario, a test that costs nothing."""

import shlex
import sys
from pathlib import Path

import click

from mma_runtime.cli.exit_codes import code_of_error
from mma_runtime.cli.options import Decorator, LogChoice, home_option
from mma_runtime.cli.terminal import Results, report_error, say
from mma_runtime.cli.wording import count, printable
from mma_runtime.errors import MMAError
from mma_runtime.recording import find_run
from mma_runtime.recording.exporting import export
from mma_runtime.runtime.forecast import home_words

script_option: Decorator = click.option(
    "--script",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Where to write the scenario, as in out.yaml; its replies go beside it, into"
    " out.script.yaml.",
)

force_option: Decorator = click.option(
    "--force", is_flag=True, help="Replace what is in the place of these two files."
)


@click.command("export")
@click.argument("name", metavar="RUN")
@script_option
@force_option
@home_option
def command(*, name: str, script: Path, force: bool, home: Path) -> int:
    """Save RUN as a scripted scenario, which runs for free by `mma run FILE`.

    The models' replies are the recorded ones; tools, merges and checks are real.
    """
    return save(home, name, script, Results(sys.stdout), replace=force)


def save(
    home: Path,
    name: str,
    file: Path,
    results: Results,
    logs: LogChoice | None = None,
    *,
    replace: bool,
) -> int:
    """Export the run *name* to *file* and say so; return the exit code.

    With *replace* files that are there already are replaced.
    """
    try:
        done = export(find_run(home, name), file, replace=replace)
    except MMAError as error:
        return report_error(error, None, logs=logs)
    except OSError as error:
        problem = f"{printable(str(file))} could not be written: {error.strerror}"
        again = shlex.join(["mma", "export", name, *home_words(home), "--script"])
        text = f"mma: {problem}; elsewhere it can be: {again} FILE"
        say(text, logs, "error", "run_not_saved", problem=problem)
        return code_of_error(error)

    replies = count(done.replies, "reply").replace("replys", "replies")
    results.write(f"{replies} written to {done.script}; try `mma run {done.scenario}`")
    if done.rejected:
        times = count(done.rejected, "time")
        text = f"people said no {times}, which a script cannot: it allows all calls"
        say(f"mma: {text}", logs, "warning", "script_allows_more", problem=text)

    return 0
