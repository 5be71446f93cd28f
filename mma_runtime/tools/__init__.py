"""Tools: functions that models may call, the native ones, and rounds of calls."""

from mma_runtime.tools.approval import Approval, Approver, Consents, Gate
from mma_runtime.tools.command import CommandResult, run_command
from mma_runtime.tools.native import DEFAULT_TOOLS, NATIVE_TOOLS, native_tools
from mma_runtime.tools.policy import (
    ASK_ALWAYS,
    DEFAULT_POLICY,
    Decision,
    Policy,
    Rule,
)
from mma_runtime.tools.sandbox import LIMITS, Limits, SandboxMode, find_confinement
from mma_runtime.tools.tool import Content, FunctionTool, Tool, tool
from mma_runtime.tools.toolbox import OUTPUT_LIMIT, RoundResults, Toolbox

__all__ = [
    "ASK_ALWAYS",
    "DEFAULT_POLICY",
    "DEFAULT_TOOLS",
    "LIMITS",
    "NATIVE_TOOLS",
    "OUTPUT_LIMIT",
    "Approval",
    "Approver",
    "CommandResult",
    "Consents",
    "Content",
    "Decision",
    "FunctionTool",
    "Gate",
    "Limits",
    "Policy",
    "RoundResults",
    "Rule",
    "SandboxMode",
    "Tool",
    "Toolbox",
    "find_confinement",
    "native_tools",
    "run_command",
    "tool",
]
