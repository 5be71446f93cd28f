"""An async actor runtime for tiered teams of language-model agents.

The public names are loaded on first use: importing the package alone is nearly free,
and the command line can print its help without loading what it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # Type checkers cannot follow `__getattr__`.
    from mma_runtime.costs.report import CostReport
    from mma_runtime.errors import MMAError
    from mma_runtime.events import Event
    from mma_runtime.kernel import Actor, ActorSystem, Message, Ref, Request, handles
    from mma_runtime.llm.provider import Provider
    from mma_runtime.llm.usage import Usage
    from mma_runtime.outcome import Outcome, RunState
    from mma_runtime.plan.plan import Ticket, Track
    from mma_runtime.recording.changes import Changes
    from mma_runtime.recording.forking import ForkPoint
    from mma_runtime.rounds.rounds import MAX_TOOL_ROUNDS
    from mma_runtime.runtime.agent import Agent, Answer
    from mma_runtime.runtime.run import Run
    from mma_runtime.runtime.runtime import Runtime
    from mma_runtime.scenario.project import Workspace
    from mma_runtime.scenario.schema import Scenario, TierOptions, Tiers
    from mma_runtime.scenario.settings import Settings
    from mma_runtime.scenario.spending import Budget
    from mma_runtime.supervisor.question import Question
    from mma_runtime.tiers.tiers import Tier
    from mma_runtime.tools.approval import Approval
    from mma_runtime.tools.tool import Tool, tool

__all__ = [
    "MAX_TOOL_ROUNDS",
    "Actor",
    "ActorSystem",
    "Agent",
    "Answer",
    "Approval",
    "Budget",
    "Changes",
    "CostReport",
    "Event",
    "ForkPoint",
    "MMAError",
    "Message",
    "Outcome",
    "Provider",
    "Question",
    "Ref",
    "Request",
    "Run",
    "RunState",
    "Runtime",
    "Scenario",
    "Settings",
    "Ticket",
    "Tier",
    "TierOptions",
    "Tiers",
    "Tool",
    "Track",
    "Usage",
    "Workspace",
    "handles",
    "tool",
]

_HOMES = {
    "mma_runtime.costs.report": ("CostReport",),
    "mma_runtime.errors": ("MMAError",),
    "mma_runtime.events": ("Event",),
    "mma_runtime.kernel": (
        "Actor",
        "ActorSystem",
        "Message",
        "Ref",
        "Request",
        "handles",
    ),
    "mma_runtime.llm.provider": ("Provider",),
    "mma_runtime.llm.usage": ("Usage",),
    "mma_runtime.outcome": ("Outcome", "RunState"),
    "mma_runtime.plan.plan": ("Ticket", "Track"),
    "mma_runtime.recording.changes": ("Changes",),
    "mma_runtime.recording.forking": ("ForkPoint",),
    "mma_runtime.rounds.rounds": ("MAX_TOOL_ROUNDS",),
    "mma_runtime.runtime.agent": ("Agent", "Answer"),
    "mma_runtime.runtime.run": ("Run",),
    "mma_runtime.runtime.runtime": ("Runtime",),
    "mma_runtime.scenario.project": ("Workspace",),
    "mma_runtime.scenario.schema": ("Scenario", "TierOptions", "Tiers"),
    "mma_runtime.scenario.settings": ("Settings",),
    "mma_runtime.scenario.spending": ("Budget",),
    "mma_runtime.supervisor.questions": ("Question",),
    "mma_runtime.tiers.tiers": ("Tier",),
    "mma_runtime.tools.approval": ("Approval",),
    "mma_runtime.tools.tool": ("Tool", "tool"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # To type checkers, no other name is here.

    def __getattr__(name: str) -> Any:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

        value = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
