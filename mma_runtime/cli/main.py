"""The entry of `mma`: knows its commands by name and loads one when it is used.

Needs click and the standard library alone, so that help comes at once.
"""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TextIO

import click

from mma_runtime.cli.streams import OutputLost, discard, open_missing

# Name: where the command is, and its line in the help.
COMMANDS = {
    "new": ("mma_runtime.cli.new:command", "Write a first scenario to begin with."),
    "run": ("mma_runtime.cli.run:command", "Run a scenario with its team."),
    "check": ("mma_runtime.cli.check:command", "Check a scenario; run nothing."),
    "prompt": ("mma_runtime.cli.prompt:command", "Print what a model would receive."),
    "models": ("mma_runtime.cli.models:command", "List what your keys can use."),
    "prices": ("mma_runtime.cli.prices:command", "Show what models cost."),
    "runs": ("mma_runtime.cli.runs:command", "List recorded runs."),
    "show": ("mma_runtime.cli.show:command", "Show what happened in a run."),
    "resume": ("mma_runtime.cli.resume:command", "Go on with a run."),
    "replay": ("mma_runtime.cli.replay:command", "Go through a run again, for free."),
    "fork": ("mma_runtime.cli.fork:command", "Live another future of a run."),
    "record": ("mma_runtime.cli.record:command", "Run, and save it as a script."),
    "export": ("mma_runtime.cli.export:command", "Save a run's replies as a script."),
    "prune": ("mma_runtime.cli.prune:command", "Remove old runs."),
    "schema": (
        "mma_runtime.cli.schema:command",
        "Print a JSON schema.",
    ),
}

INTERRUPTED = 130


class _LazyGroup(click.Group):
    """Loads a command when it is called, and takes its options before its name too."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None

        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, command_first(args))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS:
            near = get_close_matches(name, COMMANDS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "See 'mma --help'."
            if name.endswith((".yaml", ".yml")):
                hint = f"Did you mean 'mma run {name}'?"

            raise click.UsageError(f"There is no command {name!r}. {hint}", ctx)

        return super().resolve_command(ctx, args)


def command_first(args: Sequence[str]) -> list[str]:
    """Move the command's name to the front, so that its options may stand before it."""
    for place, arg in enumerate(args):
        if arg == "--":
            break

        if arg in COMMANDS:
            return [arg, *args[:place], *args[place + 1 :]]

    return list(args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mma-runtime", prog_name="mma")
def cli() -> None:
    """Run tiered teams of language-model agents.

    `mma COMMAND --help` tells what a command takes; options may stand anywhere.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    open_missing()
    try:
        code = _code_of(args)
    except BrokenPipeError:
        # Nobody reads any more; nor shall the interpreter try at its exit.
        discard(sys.stdout)
        code = 0
    except OSError as error:
        # Help and the like, which click writes; all else is written by `Results`.
        if _is_written_to(sys.stdout):
            raise

        discard(sys.stdout)
        lost = OutputLost(error)
        lost.show()
        code = lost.exit_code

    sys.exit(code)


def _code_of(args: Sequence[str] | None) -> int:
    try:
        code: int = cli.main(args, prog_name="mma", standalone_mode=False)
    except click.ClickException as error:
        try:
            error.show()
        except OSError:
            discard(sys.stderr)

        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED

    return code


def _is_written_to(stream: TextIO) -> bool:
    """Whether *stream* takes a line end."""
    try:
        stream.write("\n")
        stream.flush()
    except OSError:
        return False

    return True
