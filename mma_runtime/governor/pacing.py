"""How fast requests may follow each other: pure decisions, given a number for *now*."""

from collections import deque
from math import inf

MINUTE = 62.0
"""A minute as limits are kept, in seconds.

A little longer than the provider's: requests reach it later than they left, and not all
equally late.
"""

_GRAIN = 0.25
_SMALL = 5.0

Entry = list[float]
"""When something was sent, and how much."""


class MinuteWindow:
    """At most *limit* requests or tokens in any minute.

    A second's worth may go at once, or a few where that is less; then it goes evenly,
    so that who comes first is served soon and not when the next minute begins.
    """

    __slots__ = ("_at", "_burst", "_dry", "_level", "_sent", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.allow(limit)
        self.used: float = 0.0
        self._sent: deque[Entry] = deque()
        self._level = self._burst
        self._at = -inf
        self._dry = False

    def allow(self, limit: int) -> None:
        """Set the limit."""
        self.limit = limit
        self._burst = max(limit / 60, min(limit / 4, _SMALL), 1.0)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until *amount* may be sent; 0 is now.

        It is a lower bound: ask again then. An amount above the limit goes alone.
        """
        if now != self._at or self._dry:
            self._advance(now)

        if self._sent and self.used + amount > self.limit:
            # What could not be used now is not to go at once later.
            self._level = min(self._level, amount)
            self._dry = True
            return max(self._sent[0][0] + MINUTE - now, 1e-3)

        missing = min(amount, self._burst) - self._level
        return missing * MINUTE / self.limit if missing > 1e-9 else 0.0  # noqa: PLR2004 - a rounding error

    def take(self, amount: float, now: float) -> Entry:
        """Count *amount* as sent; the entry is for `correct`."""
        if now != self._at or self._dry:
            self._advance(now)

        self._level -= amount
        return self._enter(amount, now)

    def correct(self, entry: Entry, amount: float) -> None:
        """Put what an entry's request turned out to be in the place of the guess.

        *amount* is what to add; it is negative when the guess was too high.
        """
        if entry[0] == -inf:
            return

        entry[1] += amount
        self.used += amount
        self._level = min(self._burst, self._level - amount)

    def learn(
        self, limit: int, remaining: int | None, reset: float | None, now: float
    ) -> None:
        """Take over what the provider says; others may use the same account."""
        self._advance(now)
        self.allow(limit)
        if remaining is None:
            return

        elsewhere = limit - remaining - self.used
        if elsewhere > 0:
            left = MINUTE if reset is None else min(reset, MINUTE)
            self._enter(elsewhere, now - MINUTE + left)
            self._level = min(self._level, float(remaining))

    def believe(self, used: float) -> None:
        """Count no more than *used* as sent in the last minute, the latest of it."""
        sent = self._sent
        while sent and self.used > used:
            entry = sent[0]
            less = min(entry[1], self.used - used)
            entry[1] -= less
            self.used -= less
            if entry[1] <= 0:
                sent.popleft()
                entry[0] = -inf

    def _enter(self, amount: float, time: float) -> Entry:
        self.used += amount
        sent = self._sent
        if sent and sent[-1][0] - _GRAIN <= time <= sent[-1][0]:
            sent[-1][1] += amount
            return sent[-1]

        # Dated a little late, so that what follows at once can be counted with it.
        entry = [time + _GRAIN, amount]
        if sent and entry[0] < sent[0][0]:
            sent.appendleft(entry)
        else:
            sent.append(entry)

        return entry

    def _advance(self, now: float) -> None:
        sent = self._sent
        while sent and sent[0][0] <= now - MINUTE:
            entry = sent.popleft()
            self.used -= entry[1]
            entry[0] = -inf

        if self._dry:
            self._dry = False
            self._at = now
        elif now > self._at:
            gained = (now - self._at) * self.limit / MINUTE
            self._level = min(self._burst, self._level + gained)
            self._at = now


START = 8
"""How many requests are in flight at first, where no limit is known."""

MOST = 256
"""How many requests are ever in flight, where no limit is known."""

_LEAST = 1 / 64
_SETTLING = 5.0  # Seconds after a cut without a rise.
_AGAIN = 30.0  # Seconds within which a second cut is a deep one.
_HOLD = (45.0, 360.0)  # Seconds at the ceiling before the first try of more; the most.


class Throttle:
    """How many requests may be in flight; rises by additions, falls by factors.

    It doubles until the provider first refuses. A refusal cuts it, once for all the
    requests that were under way, and leaves a ceiling. It rises fast up to where the
    cut has put it, slowly up to the ceiling, and beyond that only tries after a while,
    less often each time that this fails. Below 1 it is the share of the time in which a
    request is in flight.

    Where too many a minute are refused and not too many at a time, what was sent until
    then tells how many a minute it may be.
    """

    __slots__ = (
        "_began",
        "_ceiling",
        "_cut_at",
        "_goal",
        "_hold",
        "_latency",
        "_most",
        "_probe_at",
        "_sent",
        "_span",
        "_stood",
        "limit",
    )

    def __init__(self, start: int = START, most: int = MOST) -> None:
        self.limit: float = float(start)
        self._most = most
        self._ceiling = inf
        self._cut_at = -inf
        self._goal = 0.0
        self._probe_at = inf
        self._hold = _HOLD[0]
        self._latency = 0.0
        self._span = 1.0
        self._stood = 0
        # When those of the last minute were sent that have not been refused.
        self._sent: deque[float] = deque()
        self._began = -inf

    def wait(self, in_flight: int, sent_at: float, now: float) -> float:
        """Return the seconds until another may be sent; infinite: when one is done.

        *sent_at* is when the last one was sent.
        """
        if self.limit >= 1:
            return 0.0 if in_flight < int(self.limit) else inf

        if in_flight:
            return inf

        return max(0.0, sent_at + self._span / self.limit - now)

    def sent(self, now: float) -> None:
        """Note that a request is sent."""
        sent = self._sent
        while sent and sent[0] <= now - 60.0:
            sent.popleft()

        if not sent:
            self._began = now

        sent.append(now)

    def is_full(self, in_flight: int) -> bool:
        """Tell whether more would not be let in.

        Only then `succeeded` is of use: what was not needed is not known to be allowed.
        """
        return in_flight >= int(self.limit)

    def succeeded(self, seconds: float, now: float) -> None:
        """Count an answer that took so many seconds, while it was full."""
        seconds = max(seconds, 0.1)
        self._latency += (seconds - self._latency) / (8 if self._latency else 1)
        if self.limit < self._goal:
            self.limit = min(self._goal, self.limit + 1)
        elif now - self._cut_at < _SETTLING:
            return
        elif self._ceiling == inf:
            self.limit = min(self.limit + 1, self._most)
        elif self.limit < self._ceiling:
            rise = 1 / self.limit if self.limit >= 1 else self.limit / 8
            self.limit = min(self._ceiling, self.limit + rise)
            self._probe_at = now + self._hold
        elif now >= self._probe_at:
            more = 0.5 if self._ceiling >= 1 else 0.0
            factor = 1.25 if self._ceiling < 1 and self._hold == _HOLD[0] else 1.05
            self._ceiling = min(self._ceiling * factor + more, self._most)
            self._probe_at = now + self._hold

    def reopened(self, in_flight: int) -> None:
        """Begin again after a rest: with one more than those still under way."""
        self.limit = min(self.limit, in_flight + 1.0)

    def refused(
        self, in_flight: int, sent_at: float, now: float, *, pressed: bool = False
    ) -> None:
        """Cut, unless the request was sent before the last cut.

        *in_flight* includes the request. *pressed* tells that it is a rate limit that
        was met, and that others wait: then what was sent is what is allowed.
        """
        if self._sent:
            self._sent.pop()

        others, stood = in_flight - 1, self._stood
        self._stood = others
        if sent_at <= self._cut_at:
            return

        again = now - self._cut_at < _AGAIN
        deep = again or self._ceiling == inf
        if not deep:
            # The ceiling was found before: trying more is what failed.
            self._hold = min(self._hold * 2, _HOLD[1])

        level = min(self.limit, float(max(in_flight, 1)))
        # One at a time is slow enough for a first refusal.
        least = _LEAST if again or self._ceiling <= 1 else 1.0
        self._ceiling = level * 0.95 - 0.5 if level > 1 else level * 0.9
        self.limit = self._goal = max(level * (0.5 if deep else 0.8), least)
        if level >= 1:
            self._span = self._latency or 1.0

        if pressed and again and others < stood:
            # With fewer under way than were let in before: it does not count how many
            # there are at a time, but how many a minute.
            pace = self._pace(now) * self._span
            self._ceiling = min(self._ceiling, pace)
            self.limit = self._goal = max(min(self.limit, pace), _LEAST)

        self._cut_at = now
        self._probe_at = now + self._hold

    def _pace(self, now: float) -> float:
        """Return how many a second the provider has taken, as far as can be told.

        At first it takes a minute's worth at once, and then as many as that each
        minute.
        """
        took = now - self._began
        minutes = 1 + took / 60 if took < 60 else 1.0  # noqa: PLR2004 - a minute
        return 0.95 * max(len(self._sent), 1) / minutes / 60
