"""What all actors of one system share: names, tasks, and the ear for events."""

from collections.abc import Callable
from typing import Any

from anyio.abc import TaskGroup

from mma_runtime.events import DeadLetter, Event

Emit = Callable[[Event], None]


class Registry:
    """The actors of one system by name, the group their tasks run in, and `emit`.

    `emit` is `None` when nobody listens, so that no event need be made. *jitter*
    returns a number from 0 to 1.
    """

    __slots__ = ("actors", "dead_letters", "emit", "group", "jitter")

    def __init__(
        self, group: TaskGroup, emit: Emit | None, jitter: Callable[[], float]
    ) -> None:
        self.group = group
        self.emit = emit
        self.jitter = jitter
        self.actors: dict[str, Any] = {}
        self.dead_letters = 0

    def dead_letter(self, actor: str, message: object, reason: str, count: int) -> None:
        """Count a message that nobody handles, and tell of it."""
        self.dead_letters += 1
        if self.emit is not None:
            kind = type(message).__qualname__
            self.emit(DeadLetter(actor=actor, message=kind, reason=reason, count=count))
