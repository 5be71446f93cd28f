"""What to do when an actor fails: pure decisions, given a number for *now*.

Knows nothing of tasks; `family` carries out what is decided here.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

Restart = Literal["permanent", "transient", "temporary"]
"""Which children come back: all that end unasked, those that fail, or none."""

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""Who is restarted with a failed child: nobody, all, or those started after it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one parent supervises its children.

    *intensity* is how many restarts are allowed within how many seconds; one more and
    the parent fails itself. *backoff* is the delay before the first restart and the
    longest delay, in seconds; it doubles from one restart to the next.
    """

    strategy: Strategy = "one_for_one"
    intensity: tuple[int, float] = (3, 5.0)
    backoff: tuple[float, float] = (0.05, 2.0)


def comes_back(restart: Restart, *, failed: bool) -> bool:
    """Decide if a child that ended unasked is started again."""
    return restart == "permanent" or (restart == "transient" and failed)


def affected(strategy: Strategy, children: Sequence[T], failed: T) -> Sequence[T]:
    """Return who is restarted when *failed* fails, in start order."""
    if strategy == "one_for_one":
        return (failed,)

    return children if strategy == "one_for_all" else children[children.index(failed) :]


def delay(backoff: tuple[float, float], restart: int, jitter: float) -> float:
    """Return the seconds to wait before the *restart*-th restart (1 is the first).

    *jitter*, from 0 to 1, takes away up to half, so that actors that failed together
    do not come back together.
    """
    first, longest = backoff
    return min(first * 2.0 ** (restart - 1), longest) * (1 - jitter / 2)


@dataclass(slots=True)
class RestartBudget:
    """At most *restarts* within any *seconds* seconds."""

    restarts: int
    seconds: float
    _spent: deque[float] = field(default_factory=deque[float], init=False)

    def spend(self, now: float) -> int | None:
        """Return the number of this restart within the window; `None`: give up."""
        while self._spent and self._spent[0] <= now - self.seconds:
            self._spent.popleft()

        if len(self._spent) >= self.restarts:
            return None

        self._spent.append(now)
        return len(self._spent)
