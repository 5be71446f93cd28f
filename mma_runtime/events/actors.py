"""What happens to actors and their mail."""

from dataclasses import dataclass, field

from mma_runtime.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorEvent(Event):
    """Base of what happens to one actor; *actor* is its full name."""

    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorStarted(ActorEvent):
    """The actor has entered its lifespan and takes messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorEnded(ActorEvent):
    """The actor has ended for good; *reason* is `stopped` or the failure."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorCrashed(ActorEvent):
    """A handler or the lifespan raised; *message* is the type that was handled.

    *where* has the last lines of code on the way to it, `FILE:LINE in FUNCTION`, the
    innermost last. What is alike elsewhere is not another crash.
    """

    message: str
    error: str
    where: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorRestarted(ActorEvent):
    """The actor runs again from its recipe, with the same mailbox.

    *restarts* counts all of them; *delay* is the backoff before it, in seconds.
    *reason* is the failure, its own or that of the sibling it is restarted with.
    """

    restarts: int
    delay: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(ActorEvent):
    """A message that nobody handled; *reason* says why, *count* counts per actor."""

    message: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDropped(ActorEvent):
    """A full mailbox dropped its oldest message; *count* counts per actor."""

    message: str
    count: int
