"""Who waits for whom, so that a circle of asks is an error and not a silence."""

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Protocol

from mma_runtime.errors import AskCycle
from mma_runtime.kernel.reply import Reply


class Waiter(Protocol):
    """What is needed of an actor here.

    `turn` is the number of its present turn (a message, or its start), or of the next
    one while it is idle. `waits` maps what it waits for to the turn that does.
    """

    name: str
    turn: int
    waits: dict[Reply[Any], int]


_turn: ContextVar[tuple[Waiter, int] | None] = ContextVar("turn", default=None)

Noted = Token[tuple[Waiter, int] | None]

begin_turn: Callable[[tuple[Waiter, int] | None], Noted] = _turn.set
"""Note which turn of which actor the code of this task belongs to."""

end_turn: Callable[[Noted], None] = _turn.reset
"""Take back what `begin_turn` has noted in this task."""


def present_turn() -> tuple[Waiter, int] | None:
    """Return the turn that this code belongs to, or `None`.

    A task that outlives the turn it was started in belongs to none: nobody waits for
    it, so what it asks can close no circle.
    """
    turn = _turn.get()
    if turn is None or turn[0].turn != turn[1]:
        return None

    return turn


def begin_wait(reply: Reply[Any]) -> Waiter | None:
    """Note that the present turn waits for *reply*, and return whose turn it is.

    That actor's `waits` must be rid of *reply* again when the wait is over.

    Raises:
        AskCycle: the owner of *reply* waits, over any number of actors, for this turn.
    """
    turn = present_turn()
    if turn is None:
        return None

    asker, number = turn
    refuse_cycle(asker, reply.owner)
    asker.waits[reply] = number
    return asker


def refuse_cycle(asker: Waiter, target: Waiter) -> None:
    """Raise `AskCycle` if *target* waits for *asker*, or is the asker itself."""
    path = _path(target, asker, set())
    if path is not None:
        raise AskCycle([asker.name, *path])


def _path(start: Waiter, goal: Waiter, seen: set[int]) -> list[str] | None:
    if start is goal:
        return [start.name]

    seen.add(id(start))
    for reply, number in start.waits.items():
        owner = reply.owner
        if number == start.turn and not reply.done and id(owner) not in seen:
            path = _path(owner, goal, seen)
            if path is not None:
                return [start.name, *path]

    return None
