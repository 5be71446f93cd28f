"""The tools that every agent can be given, bound to the checkout it works in."""

from collections.abc import Callable, Collection
from importlib import import_module
from typing import Protocol

from mma_runtime.tools.code import CodeTools
from mma_runtime.tools.commands import CommandTools
from mma_runtime.tools.files import FileTools
from mma_runtime.tools.sandbox import SandboxMode
from mma_runtime.tools.tool import Tool
from mma_runtime.workspace.checkout import Checkout

_FETCH = "mma_runtime.tools.fetch"

DEFAULT_TOOLS = tuple(
    each.name
    for each in (
        FileTools.read_file,
        FileTools.list_directory,
        FileTools.search_files,
        CodeTools.find_symbol,
        CodeTools.get_skeleton,
        CodeTools.get_definition,
        CodeTools.find_usages,
        CodeTools.check_syntax,
        CodeTools.git_diff,
        FileTools.write_file,
        FileTools.edit_file,
        CodeTools.update_definition,
        CommandTools.run_command,
    )
)
"""What a worker has unless told otherwise."""

NATIVE_TOOLS = (*DEFAULT_TOOLS, "fetch_url")
"""The names of all, for those who have no checkout yet."""


class _Fetches(Protocol):
    @property
    def fetch_url(self) -> Tool: ...


def native_tools(
    checkout: Checkout,
    names: Collection[str] | None = None,
    *,
    sandbox: SandboxMode = SandboxMode.AUTO,
) -> tuple[Tool, ...]:
    """Return the native tools of those *names* for *checkout*, in their own order.

    `None` is `DEFAULT_TOOLS`. Names of other tools are left to others. *sandbox* says
    how commands are walled in.
    """
    wanted = DEFAULT_TOOLS if names is None else names
    files = FileTools(checkout)
    code = CodeTools(checkout)
    commands = CommandTools(checkout, sandbox)
    every: tuple[Tool, ...] = (
        files.read_file,
        files.list_directory,
        files.search_files,
        code.find_symbol,
        code.get_skeleton,
        code.get_definition,
        code.find_usages,
        code.check_syntax,
        code.git_diff,
        files.write_file,
        files.edit_file,
        code.update_definition,
        commands.run_command,
    )
    chosen = tuple(each for each in every if each.name in wanted)
    if "fetch_url" in wanted:
        # Loaded only where it is wanted: it brings an HTTP client.
        fetch: Callable[[], _Fetches] = import_module(_FETCH).FetchTools
        chosen += (fetch().fetch_url,)

    return chosen
