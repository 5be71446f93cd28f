"""The minute windows of an account: one for each limit that is known; no clock."""

from collections.abc import Mapping

from mma_runtime.pacing import Entry, MinuteWindow
from mma_runtime.rate_limits import Limits, RateLimit, RateLimits

Amounts = Mapping[str, float]
"""How much a request counts for, by the name of the window."""

Charges = Mapping[str, tuple[Entry, float]]
"""What a request was counted with, to be corrected later."""

NO_CHARGES: Charges = {}


class Windows:
    """How much may be sent in any minute, in requests and in tokens.

    The limits come from the user or from what answers say; a limit that the user has
    set stands where it is the lower one.
    """

    __slots__ = ("_learnt", "_windows")

    def __init__(self) -> None:
        self._windows: dict[str, MinuteWindow] = {}
        self._learnt: set[str] = set()

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
                self._learnt.discard(name)
                self._window(name, limit).allow(limit)

    def learn(self, limits: RateLimits, now: float) -> None:
        """Keep to what a provider says, and count what others have sent."""
        known: tuple[tuple[str, RateLimit | None], ...] = (
            ("requests", limits.requests),
            ("tokens", limits.tokens),
            ("input_tokens", limits.input_tokens),
            ("output_tokens", limits.output_tokens),
        )
        for name, said in known:
            if said is None or not said.limit:
                continue

            if name not in self._windows:
                self._learnt.add(name)

            window = self._window(name, said.limit)
            limit = said.limit
            if name not in self._learnt:
                limit = min(limit, window.limit)

            window.learn(limit, said.remaining, said.reset, now)

    def wait(self, amounts: Amounts, now: float) -> float:
        """Return the seconds until *amounts* may be sent; 0 is now."""
        wait = 0.0
        for name, window in self._windows.items():
            needed = window.wait(amounts[name], now)
            wait = max(wait, needed)

        return wait

    def take(self, amounts: Amounts, now: float) -> Charges:
        """Count *amounts* as sent."""
        if not self._windows:
            return NO_CHARGES

        return {
            name: (window.take(amounts[name], now), amounts[name])
            for name, window in self._windows.items()
        }

    def correct(self, charges: Charges, used: Amounts) -> None:
        """Put what a request has *used* in the place of what it was counted with."""
        for name, (entry, amount) in charges.items():
            self._windows[name].correct(entry, used[name] - amount)

    def give_back(self, charges: Charges) -> None:
        """Count a request no longer: it was not sent."""
        for name, (entry, amount) in charges.items():
            self._windows[name].correct(entry, -amount)

    def _window(self, name: str, limit: int) -> MinuteWindow:
        if name not in self._windows:
            self._windows[name] = MinuteWindow(limit)

        return self._windows[name]


def amounts_of(tokens: int, output: float) -> Amounts:
    """Return what a request with *tokens* of input counts for in each window."""
    return {
        "requests": 1,
        "tokens": tokens + output,
        "input_tokens": tokens,
        "output_tokens": output,
    }
