"""One question of a run: whether a tool call or a ticket may go ahead."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mma_runtime.events import Origin
from mma_runtime.llm.chat import ToolCall

SECONDS = 60.0
"""How long an answer is waited for unless told otherwise."""


class NoAnswer(StrEnum):
    """What becomes of a question that nobody answers in time."""

    REJECT = "reject"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something that waits for somebody's word.

    It is about a call of *tool* with *arguments*; without a tool it is whether the
    ticket in *origin* may start, and *arguments* show the `commands` that judge it.
    *id* is for the answer; no two of a run are the same. *why* tells what is special:
    what is to happen once may have happened already. To that there is a third answer
    besides yes and no, `Approval.happened`. With *is_planned* it is about a command
    that a model's plan wants to judge the ticket by: it runs as it is or not at all.
    """

    id: str
    origin: Origin
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    why: str = ""
    is_planned: bool = False

    @property
    def is_editable(self) -> bool:
        """Whether it may be approved with other arguments."""
        return bool(self.tool) and not self.why and not self.is_planned

    @property
    def has_alike(self) -> bool:
        """Whether a yes may hold for all calls like it."""
        return bool(self.tool) and not self.why

    def as_call(self) -> ToolCall:
        """Return the call that it is about, for rules."""
        return ToolCall(self.id, self.tool, dict(self.arguments), "")
