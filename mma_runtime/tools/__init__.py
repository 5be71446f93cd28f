"""Tools: functions that models may call, the native ones, and rounds of calls."""

from mma_runtime.tools.command import CommandResult, run_command
from mma_runtime.tools.native import NATIVE_TOOLS, native_tools
from mma_runtime.tools.tool import Content, FunctionTool, Tool, tool
from mma_runtime.tools.toolbox import OUTPUT_LIMIT, RoundResults, Toolbox

__all__ = [
    "NATIVE_TOOLS",
    "OUTPUT_LIMIT",
    "CommandResult",
    "Content",
    "FunctionTool",
    "RoundResults",
    "Tool",
    "Toolbox",
    "native_tools",
    "run_command",
    "tool",
]
