"""Scripts: replies for a scripted model.

``stands_in_for`` (tier → address whose prices count) and ``replies``, a list in which
only ``tier`` must be given; what else an entry names must match too.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mma_runtime.llm.chat import Finish


class ScriptedUsage(BaseModel):
    """Tokens that a reply pretends to have used."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    input: int = Field(ge=0)
    output: int = Field(ge=0)
    cache_read: int = Field(default=0, ge=0)
    reasoning: int = Field(default=0, ge=0)


class ScriptedCall(BaseModel):
    """A tool call of a reply; *raw* instead of *arguments* can be broken JSON."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    arguments: Mapping[str, Any] | None = None
    raw: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "ScriptedCall":
        if self.arguments is not None and self.raw is not None:
            raise ValueError("give `arguments` or `raw`, not both")
        return self


class Reply(BaseModel):
    """What a model says, and when: every matcher that is given must hold.

    *turn* counts the model's calls within one task, *attempt* the workers of a ticket
    (both from 1). *contains* must stand in the last turn. *delay* is in seconds.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    tier: str = Field(min_length=1)
    task: str | None = None
    track: str | None = None
    ticket: str | None = None
    attempt: int | None = Field(default=None, ge=1)
    turn: int | None = Field(default=None, ge=1)
    contains: str | None = None

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    finish: Finish | None = None
    usage: ScriptedUsage | None = None
    delay: float = Field(default=0.0, ge=0)

    @property
    def matchers(self) -> dict[str, str | int]:
        """What this reply wants to match, by name, without those left open."""
        wanted = {
            "tier": self.tier,
            "task": self.task,
            "track": self.track,
            "ticket": self.ticket,
            "attempt": self.attempt,
            "turn": self.turn,
            "contains": self.contains,
        }
        return {name: value for name, value in wanted.items() if value is not None}


class Script(BaseModel):
    """All replies of a scripted team."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    stands_in_for: Mapping[str, str] = Field(default_factory=dict)
    replies: tuple[Reply, ...]
