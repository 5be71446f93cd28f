"""What becomes of tool calls."""

from dataclasses import dataclass

from mma_runtime.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEvent(Event):
    """Base of what happens to one tool call.

    *call* is the id that the model gave it, *model_call* the call that asked for it,
    as `TASK/TICKET/ATTEMPT.TURN`.
    """

    call: str
    tool: str
    model_call: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked(ToolEvent):
    """A tool call waits for somebody's word. What it is for is content, not here.

    Without a tool it is about the ticket, which may start or not.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalGiven(ToolEvent):
    """The wait for a word has ended.

    *edited* tells that the arguments were changed. *reason* is why not, if it was
    said, or that the call has happened already, and the run goes on.
    """

    approved: bool
    edited: bool
    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDenied(ToolEvent):
    """A call is not run: the policy denies it, and nobody is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallStarted(ToolEvent):
    """A tool begins. Its arguments are not here: they are content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallFinished(ToolEvent):
    """A tool ended; *characters* is the length of what the model gets to see.

    *where* is for a bug of the tool: the last lines of code on the way to it,
    `FILE:LINE in FUNCTION`, the innermost last.
    """

    is_error: bool
    characters: int
    seconds: float
    where: tuple[str, ...] = ()
