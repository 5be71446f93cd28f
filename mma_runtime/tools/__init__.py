"""Tools: functions that models may call, the native ones, and rounds of calls."""

from mma_runtime.tools.command import CommandResult, run_command
from mma_runtime.tools.native import (
    DEFAULT_TOOLS,
    NATIVE_TOOLS,
    TIER_TOOLS,
    native_tools,
)
from mma_runtime.tools.tool import Content, FunctionTool, Tool, tool
from mma_runtime.tools.toolbox import OUTPUT_LIMIT, RoundResults, Toolbox

__all__ = [
    "DEFAULT_TOOLS",
    "NATIVE_TOOLS",
    "OUTPUT_LIMIT",
    "TIER_TOOLS",
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
