"""The tools that every agent can be given, bound to the checkout it works in."""

from mma_runtime.tools.commands import CommandTools
from mma_runtime.tools.files import FileTools
from mma_runtime.tools.tool import Tool
from mma_runtime.workspace.checkout import Checkout

NATIVE_TOOLS = tuple(
    each.name
    for each in (
        FileTools.read_file,
        FileTools.list_directory,
        FileTools.search_files,
        FileTools.write_file,
        FileTools.edit_file,
        CommandTools.run_command,
    )
)
"""Their names, for those who have no checkout yet."""


def native_tools(checkout: Checkout) -> tuple[Tool, ...]:
    """Return the native tools for *checkout*, in the order of `NATIVE_TOOLS`."""
    files = FileTools(checkout)
    commands = CommandTools(checkout)
    return (
        files.read_file,
        files.list_directory,
        files.search_files,
        files.write_file,
        files.edit_file,
        commands.run_command,
    )
