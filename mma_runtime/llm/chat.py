"""Turns of a conversation, in no provider's dialect.

Pure values: equal when equal, without ids or storage inside. What only one provider
understands rides along as `ProviderState` and is replayed to that provider alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mma_runtime.events import NOWHERE, Origin
from mma_runtime.llm.usage import Usage
from mma_runtime.rate_limits import RateLimits


@dataclass(frozen=True, slots=True)
class ProviderState:
    """What *provider* wants back unchanged with a part (a signature, an item id)."""

    provider: str
    data: Any


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str
    state: ProviderState | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image as bytes; *media_type* is `image/png`, `jpeg`, `webp` or `gif`."""

    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a model thought; *text* is empty where the provider hides it."""

    text: str
    state: ProviderState | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model asks for a tool.

    *raw* is the arguments' JSON as the model wrote it. *arguments* is `None` when that
    is not a JSON object: the model then gets an error result, nobody an exception.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] | None
    raw: str = ""
    state: ProviderState | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool call came to; *name* repeats the call's, some providers want it."""

    call_id: str
    name: str
    content: tuple[Text | Image, ...]
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What the runtime says to the model."""

    parts: tuple[Text | Image, ...]


@dataclass(frozen=True, slots=True)
class AssistantTurn:
    """What the model said, part by part, in order."""

    parts: tuple[Text | Reasoning | ToolCall, ...]

    @property
    def text(self) -> str:
        """The plain text of all parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model asks for, in its order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


@dataclass(frozen=True, slots=True)
class ToolTurn:
    """The results of one round, in the order of the calls."""

    results: tuple[ToolResult, ...]


Turn = UserTurn | AssistantTurn | ToolTurn


def user(text: str) -> UserTurn:
    """Return a turn that says *text* to the model."""
    return UserTurn((Text(text),))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """What a provider needs to know of a tool; *parameters* is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class ToolChoice(StrEnum):
    """Whether the model may, must or must not ask for a tool."""

    AUTO = "auto"
    REQUIRED = "required"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Counted:
    """The first *turns* turns, with all before them, came to *tokens* at *model*.

    The system prompt and *tools* are in it, as the provider counted them.
    """

    model: str
    turns: int
    tokens: int
    tools: tuple[ToolSpec, ...] = ()

    def bounds(self, model: str, tools: tuple[ToolSpec, ...]) -> bool:
        """Whether a request to *model* with *tools* has no more before its new turns.

        One with other tools may; one without any has less.
        """
        return self.model == model and (not tools or tools == self.tools)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One request to one model.

    *max_output_tokens* bounds the answer (tokens, hidden reasoning included),
    *temperature* is from 0 to 2; `None` is the provider's own. *response_schema* asks
    for JSON of that shape. *origin* and *turn* (the count of calls within this task,
    from 1) say who asks; they are never sent to a provider's server, where *headers* go
    besides. Without *streamed* the answer comes at once when it is whole, which takes
    less computing here. *counted* is what is known of the length of its beginning.
    """

    model: str
    system: str
    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = ToolChoice.AUTO
    temperature: float | None = None
    max_output_tokens: int | None = None
    reasoning_effort: str | None = None
    response_schema: Mapping[str, Any] | None = None
    streamed: bool = True
    origin: Origin = NOWHERE
    turn: int = 1
    counted: Counted | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Finish(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The whole answer; the last thing that a stream yields.

    *usage* is `None` when the provider did not say; that is unknown, not zero. *model*
    is the name that the provider reports. *raw_finish* is the provider's own word.
    *limits* is what the answer's head says of the account's rate limits.
    """

    turn: AssistantTurn
    finish: Finish
    usage: Usage | None
    model: str
    raw_finish: str = ""
    request_id: str | None = None
    limits: RateLimits | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of the model's visible reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of a tool call; *id* and *name* come with its first fragment.

    *index* counts the calls of an answer from 0.
    """

    index: int
    id: str
    name: str
    fragment: str


Chunk = TextDelta | ReasoningDelta | ToolCallDelta
