"""The tools that every agent can be given, bound to the checkout it works in."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from mma_runtime.tools.sandbox import SandboxMode
from mma_runtime.tools.tool import Tool
from mma_runtime.workspace.checkout import Checkout

_FILES = "mma_runtime.tools.files:FileTools"
_CODE = "mma_runtime.tools.code:CodeTools"
_COMMANDS = "mma_runtime.tools.commands:CommandTools"
_FETCH = "mma_runtime.tools.fetch:FetchTools"

# Which class has which tool, in the order in which a model is told of them.
_HOMES = {
    "read_file": _FILES,
    "list_directory": _FILES,
    "search_files": _FILES,
    "find_symbol": _CODE,
    "get_skeleton": _CODE,
    "get_definition": _CODE,
    "find_usages": _CODE,
    "check_syntax": _CODE,
    "git_diff": _CODE,
    "write_file": _FILES,
    "edit_file": _FILES,
    "update_definition": _CODE,
    "run_command": _COMMANDS,
    "fetch_url": _FETCH,
}

NATIVE_TOOLS = tuple(_HOMES)
"""The names of all, for those who have no checkout yet."""

DEFAULT_TOOLS = tuple(name for name, home in _HOMES.items() if home != _FETCH)
"""What a worker has unless told otherwise."""


def native_tools(
    checkout: Checkout,
    names: Collection[str] | None = None,
    *,
    sandbox: SandboxMode = SandboxMode.AUTO,
) -> tuple[Tool, ...]:
    """Return the native tools of those *names* for *checkout*, in their own order.

    `None` is `DEFAULT_TOOLS`. Names of other tools are left to others. *sandbox* says
    how commands are walled in. Loads what has those tools: one brings parsers, another
    an HTTP client.
    """
    wanted = DEFAULT_TOOLS if names is None else names
    given: dict[str, tuple[Any, ...]] = {
        _FILES: (checkout,),
        _CODE: (checkout,),
        _COMMANDS: (checkout, sandbox),
        _FETCH: (),
    }
    chosen = {name: home for name, home in _HOMES.items() if name in wanted}
    owners = {home: _load(home)(*given[home]) for home in set(chosen.values())}
    return tuple(getattr(owners[home], name) for name, home in chosen.items())


def _load(home: str) -> Any:
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)
