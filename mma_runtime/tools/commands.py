"""The native tool that runs commands in a checkout."""

import shlex
from typing import Annotated

from anyio import to_thread
from pydantic import Field

from mma_runtime.errors import CommandFailed, ToolFailed
from mma_runtime.tools.command import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    SECONDS,
    run_command,
)
from mma_runtime.tools.sandbox import SandboxMode
from mma_runtime.tools.tool import tool
from mma_runtime.workspace.checkout import Checkout

_SHELL_SIGNS = frozenset({"|", "||", "&&", ";", ">", ">>", "<", "&", "2>&1"})


class CommandTools:
    """Tools that run programs in *checkout*, walled in as *sandbox* says."""

    def __init__(
        self, checkout: Checkout, sandbox: SandboxMode = SandboxMode.AUTO
    ) -> None:
        self._checkout = checkout
        self._sandbox = sandbox

    @tool
    async def run_command(
        self,
        command: str | list[str],
        path: str = ".",
        seconds: Annotated[float, Field(gt=0, le=600)] = SECONDS,
        *,
        shell: bool = False,
    ) -> str:
        """Run a command in the project, without input, and return what it prints.

        A command that fails is an error that shows its exit code and output.

        Args:
            command: The command with its arguments, such as "python -m pytest -q".
            path: The folder to run it in, relative to the project's root.
            seconds: The time limit.
            shell: Run it by a shell, for pipes and the like.
        """
        folder = self._checkout.resolve(path)
        if not await to_thread.run_sync(folder.is_dir):
            raise ToolFailed(f"there is no folder {path!r}")

        argv = _split(command, shell=shell)
        result = await run_command(
            argv,
            folder,
            seconds=seconds,
            home=self._checkout.home,
            hidden=self._checkout.hidden,
            writable=(self._checkout.root,),
            sandbox=self._sandbox,
        )
        shown = command if isinstance(command, str) else shlex.join(command)
        if result.timed_out:
            raise CommandFailed(
                shown,
                None,
                f"ended after {seconds:g} s, with all that it had started\n"
                + result.output,
            )

        if result.exit_code in (NOT_FOUND, NOT_EXECUTABLE) and not shell:
            advice = "; set shell for pipes and the like"
            raise ToolFailed(
                result.output + (advice if _SHELL_SIGNS & set(argv) else "")
            )

        if not result.succeeded:
            raise CommandFailed(shown, result.exit_code, result.output)

        return f"exit code 0\n{result.output}" if result.output else "exit code 0"


def _split(command: str | list[str], *, shell: bool) -> list[str]:
    if shell:
        line = command if isinstance(command, str) else shlex.join(command)
        return ["/bin/sh", "-c", line]

    try:
        argv = shlex.split(command) if isinstance(command, str) else command
    except ValueError as error:
        raise ToolFailed(f"the command cannot be split into words: {error}") from error

    if not argv or not argv[0]:
        raise ToolFailed("the command is empty")

    return argv
