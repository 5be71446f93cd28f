"""What becomes of model calls."""

from dataclasses import dataclass
from decimal import Decimal

from mma_runtime.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent(Event):
    """Base of what happens to one attempt of a model call.

    *call* names it as `TASK/TICKET/ATTEMPT.TURN.TRY`, *model* is its `provider:model`.
    """

    call: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallQueued(CallEvent):
    """A call has to wait before it is sent; *reason* is `budget` or `rate limit`."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallStarted(CallEvent):
    """A request is about to be sent; *call* names it in the events that follow."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallFinished(CallEvent):
    """A completion came. Tokens are as billed; *usd* is `None` where no price is known.

    *seconds* is the wall time of the call. *billed* is false for a scripted reply,
    which is priced as the model it stands in for.
    """

    finish: str
    input_tokens: int
    output_tokens: int
    usd: Decimal | None
    billed: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallFailed(CallEvent):
    """A call failed or was cancelled.

    *retry_in* is in seconds, `None` when it is not tried again.
    """

    error: str
    retry_in: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFellBack(CallEvent):
    """A model was not to be had, so a call goes to the next one, *to*.

    *error* is why; it is empty where the model is left alone because of earlier errors.
    """

    to: str
    error: str
