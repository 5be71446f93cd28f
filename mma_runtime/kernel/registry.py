"""What all actors of one system share: names, tasks, and the ear for events."""

from collections.abc import Callable
from typing import Any

from anyio.abc import TaskGroup

from mma_runtime.events import DeadLetter, Event

Emit = Callable[[Event], None]


class Registry:
    """The actors of one system by name, the group their tasks run in, and `emit`.

    `emit` is `None` when nobody listens, so that no event need be made. *jitter*
    returns a number from 0 to 1. `failures` leave the system in an exception group.
    """

    __slots__ = (
        "actors",
        "dead_letters",
        "emit",
        "failures",
        "group",
        "is_closing",
        "jitter",
    )

    def __init__(
        self, group: TaskGroup, emit: Emit | None, jitter: Callable[[], float]
    ) -> None:
        self.group: TaskGroup = group
        self.emit: Emit | None = emit
        self.jitter: Callable[[], float] = jitter
        self.actors: dict[str, Any] = {}
        self.dead_letters: int = 0
        self.failures: list[Exception] = []
        self.is_closing: bool = False

    def forget(self, name: str) -> None:
        """Free *name*."""
        self.actors.pop(name, None)

    def fail(self, failure: Exception) -> None:
        """Cancel the system, which then raises *failure*."""
        self.failures.append(failure)
        self.group.cancel_scope.cancel()

    def lost(self, failure: Exception) -> None:
        """Keep a *failure* that came while the system is left: nobody can repair it."""
        if self.is_closing:
            self.failures.append(failure)

    def dead_letter(self, actor: str, message: object, reason: str, count: int) -> None:
        """Count a message that nobody handles, and tell of it."""
        self.dead_letters += 1
        if self.emit is not None:
            kind = type(message).__qualname__
            self.emit(DeadLetter(actor=actor, message=kind, reason=reason, count=count))
