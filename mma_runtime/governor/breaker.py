"""Which of several models is left alone for a while; pure decisions."""

from mma_runtime.errors import (
    BalanceExhausted,
    ConnectionFailed,
    ModelNotFound,
    ProviderError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    QuotaExhausted,
    RateLimited,
)

UNAVAILABLE = (
    ConnectionFailed,
    ModelNotFound,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    RateLimited,
)
"""Errors after which another model may do better, at least for now."""

USED_UP = (BalanceExhausted, QuotaExhausted)
"""Errors after which another model may do better, for longer."""

REST = (30.0, 600.0)
"""How long a model is left alone, in seconds: at first and, doubling, at most."""

LONG_REST = 300.0
"""How long a model is left alone at first when its quota is used up, in seconds."""


class Breaker:
    """Open after a failure, half-open after a rest, closed after an answer.

    Half-open, it lets one call through; the others go on elsewhere until that has been
    answered. Calls that were under way when it opened make the rest no longer, unless
    they have more to say than that the model failed.
    """

    __slots__ = ("_open_until", "_openings", "_rest", "_trying")

    def __init__(self) -> None:
        self._rest = 0.0
        self._open_until = 0.0
        self._openings = 0
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether the model has failed and not answered since."""
        return bool(self._rest)

    def admits(self, now: float) -> int | None:
        """Return the number of openings until *now*, or `None` if no call may try.

        A call that may has to report back with that number.
        """
        if self._rest:
            if now < self._open_until or self._trying:
                return None

            self._trying = True

        return self._openings

    def rests_for(self, now: float) -> float:
        """Return the seconds for which the model is left alone yet."""
        return max(0.0, self._open_until - now) if self._rest else 0.0

    def answered(self) -> None:
        """Close."""
        self._rest = 0.0
        self._trying = False

    def left(self, openings: int) -> None:
        """Note that a call ended without an answer, and not for want of one."""
        if openings == self._openings:
            self._trying = False

    def failed(self, error: ProviderError, now: float, openings: int) -> bool:
        """Open if *error* says that the model is not available; tell if it does."""
        self.left(openings)
        if not is_unavailable(error):
            return False

        least = LONG_REST if isinstance(error, USED_UP) else REST[0]
        least = min(max(least, error.facts.retry_after or 0.0), REST[1])
        if openings == self._openings or not self._rest:
            self._openings += 1
            self._rest = min(max(self._rest * 2, least), REST[1])
            self._open_until = now + self._rest
        elif least > self._rest:
            self._rest = least
            self._open_until = max(self._open_until, now + least)

        return True


def is_unavailable(error: ProviderError) -> bool:
    """Tell whether another model may do what this one could not."""
    begun = error.facts.in_stream and error.facts.partial_text
    return isinstance(error, UNAVAILABLE + USED_UP) and not begun
