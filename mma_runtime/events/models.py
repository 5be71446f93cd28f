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

    *retry_in* is in seconds, `None` when it is not tried again; *final* then says why
    not.
    """

    error: str
    retry_in: float | None
    final: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFellBack(CallEvent):
    """A model was not available, so a call goes to the next one, *to*.

    *error* is why; it is empty where the model is left alone because of earlier errors.
    *seconds* is how long it is left alone from now on.
    """

    to: str
    error: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallShrunk(CallEvent):
    """A budget has room for *allowed* tokens of output, not for the *wanted* ones."""

    wanted: int
    allowed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRested(CallEvent):
    """A provider has refused a call: all callers of its account rest for *seconds*.

    After that one of them tries. *in_flight* is how many calls may be under way from
    then on, *before* how many might be until now; 0 is not known.
    """

    error: str
    seconds: float
    in_flight: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitLearnt(CallEvent):
    """An answer told a rate limit that was not known, or was another.

    *unit* is `requests`, `tokens`, `input_tokens` or `output_tokens`, *limit* is how
    many a minute.
    """

    unit: str
    limit: int
