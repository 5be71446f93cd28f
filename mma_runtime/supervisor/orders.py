"""What people and hosts may order while a run goes on."""

from dataclasses import dataclass
from enum import StrEnum

from mma_runtime.kernel import Message, Request
from mma_runtime.plan import Priority


class Order(StrEnum):
    """What is to become of a ticket."""

    BLOCK = "block"
    UNBLOCK = "unblock"
    SKIP = "skip"
    RETRY = "retry"
    CANCEL = "cancel"
    PRIORITISE = "prioritise"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTicket(Request[tuple[str, ...]]):
    """Order something of one ticket; answered with the ids that changed by it.

    Refused, with the reason, when the ticket is not in a state for it. *priority* is
    for `Order.PRIORITISE` alone.
    """

    ticket: str
    order: Order
    reason: str = ""
    priority: Priority = Priority.MEDIUM


@dataclass(frozen=True, slots=True)
class PauseRun(Message):
    """Start no further ticket; those at work go on to their end."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeRun(Message):
    """Start tickets again."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class CancelRun(Message):
    """Stop the run at once; what was done and spent stays on the board."""

    reason: str = "cancelled"


@dataclass(frozen=True, slots=True)
class StartRun(Request[None]):
    """Make ready for the job; answered when what was ordered before is done."""
