"""The minute windows of an account: one for each limit that is known; no clock."""

from mma_runtime.governor.pacing import Entry, MinuteWindow
from mma_runtime.rate_limits import Limits, RateLimit, RateLimits

Amounts = tuple[float, float, float, float]
"""How much a request counts for, in the order of `UNITS`."""

UNITS = ("requests", "tokens", "input_tokens", "output_tokens")
"""What may be limited a minute."""

Charges = tuple[tuple[int, MinuteWindow, Entry, float], ...]
"""What a request was counted with in each window, to be corrected later."""

NO_CHARGES: Charges = ()


class Windows:
    """How much may be sent in any minute, in requests and in tokens.

    The limits come from users or from what answers say; a limit that a user has set
    stands where it is the lower one, and of several that users have set the lowest.
    """

    __slots__ = ("_configured", "_in_use", "_windows")

    def __init__(self) -> None:
        self._windows: dict[str, MinuteWindow] = {}
        # The same with the place of each unit in `Amounts`: every call goes over it.
        self._in_use: tuple[tuple[int, MinuteWindow], ...] = ()
        self._configured: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether any limit is known."""
        return bool(self._windows)

    @property
    def counts_tokens(self) -> bool:
        """Whether any limit is on tokens."""
        return len(self._windows) > ("requests" in self._windows)

    @property
    def limits(self) -> dict[str, int]:
        """The limits a minute, by unit."""
        return {name: window.limit for name, window in self._windows.items()}

    def configure(self, limits: Limits) -> None:
        """Keep to *limits*; what they leave open stays as it is."""
        for name, limit in (
            ("requests", limits.requests_per_minute),
            ("tokens", limits.tokens_per_minute),
            ("input_tokens", limits.input_tokens_per_minute),
            ("output_tokens", limits.output_tokens_per_minute),
        ):
            if limit is not None:
                least = min(limit, self._configured.get(name, limit))
                self._configured[name] = least
                self._window(name, least).allow(least)

    def learn(self, limits: RateLimits, now: float, *, is_last: bool = False) -> None:
        """Keep to what a provider says, and count what others have sent.

        *is_last* tells that nothing of ours is under way or was sent since: then what
        is left is believed, too, where it is more than we have reckoned.
        """
        known: tuple[tuple[str, RateLimit | None], ...] = (
            ("requests", limits.requests),
            ("tokens", limits.tokens),
            ("input_tokens", limits.input_tokens),
            ("output_tokens", limits.output_tokens),
        )
        for name, said in known:
            if said is not None and said.limit is None:
                # It turned out to be a limit for another time than a minute.
                self._forget(name)

            if said is None or not said.limit:
                continue

            window = self._window(name, said.limit)
            limit = min(said.limit, self._configured.get(name, said.limit))
            window.learn(limit, said.remaining, said.reset, now)
            if is_last and said.remaining is not None:
                window.believe(limit - said.remaining)

    def wait(self, amounts: Amounts, now: float) -> float:
        """Return the seconds until *amounts* may be sent; 0 is now."""
        wait = 0.0
        for unit, window in self._in_use:
            needed = window.wait(amounts[unit], now)
            wait = max(wait, needed)

        return wait

    def take(self, amounts: Amounts, now: float) -> Charges:
        """Count *amounts* as sent."""
        if not self._in_use:
            return NO_CHARGES

        return tuple(
            [
                (unit, window, window.take(amounts[unit], now), amounts[unit])
                for unit, window in self._in_use
            ]
        )

    def correct(self, charges: Charges, used: Amounts) -> None:
        """Put what a request has *used* in the place of what it was counted with."""
        for unit, window, entry, amount in charges:
            if used[unit] != amount:
                window.correct(entry, used[unit] - amount)

    def give_back(self, charges: Charges) -> None:
        """Count a request no longer: it was not sent."""
        for _, window, entry, amount in charges:
            window.correct(entry, -amount)

    def _window(self, name: str, limit: int) -> MinuteWindow:
        if name not in self._windows:
            self._windows[name] = MinuteWindow(limit)
            self._number()

        return self._windows[name]

    def _forget(self, name: str) -> None:
        if name in self._windows and name not in self._configured:
            del self._windows[name]
            self._number()

    def _number(self) -> None:
        self._in_use = tuple(
            (UNITS.index(unit), window) for unit, window in self._windows.items()
        )


def amounts_of(tokens: float, output: float) -> Amounts:
    """Return what a request with *tokens* of input counts for in each window."""
    return 1, tokens + output, tokens, output
