"""What follows from refusals: an account rests, then one caller tries."""

from math import inf

from mma_runtime.errors import ProviderError, ProviderFacts
from mma_runtime.governor.queueing import Permit

PAUSE = (1.0, 60.0)
"""How long a refused account rests, in seconds: at first and, doubling, at most."""

PATIENCE = 300.0
"""How long an account may refuse all requests until those who wait get the error."""

# How many refusals a provider is believed that names a time.
_WORDS = 4


class Rest:
    """Whether an account rests, and who tries first after that; no clock.

    `on_trial` is from a refusal until a request is accepted: `probe` is the one that
    tries, if one is under way. `refusal` is the last error.
    """

    __slots__ = ("on_trial", "probe", "refusal", "refused_since", "strikes", "until")

    def __init__(self) -> None:
        self.until: float = -inf
        self.strikes: int = 0
        self.refused_since: float = inf
        self.on_trial: bool = False
        self.probe: Permit | None = None
        self.refusal: ProviderError | None = None

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be sent; infinite: not by waiting."""
        if self.on_trial and self.probe is not None:
            return inf

        return max(0.0, self.until - now)

    def refused(self, permit: Permit, error: ProviderError, now: float) -> float | None:
        """Rest; return for how many seconds, or `None`: no longer than before."""
        rest = error.facts.retry_after
        if permit.is_probe or not self.on_trial:
            self.strikes += 1
            # Who names a time is taken at its word, until that has failed repeatedly.
            doublings = self.strikes - (1 if rest is None else _WORDS)
            least = PAUSE[0] * 2.0**doublings if doublings >= 0 else 0.0
            rest = max(rest or 0.0, min(least, PAUSE[1]))

        self.on_trial = True
        self.refused_since = min(self.refused_since, now)
        if rest is not None:
            self.pause(error, rest, now)
        else:
            self.refusal = error

        return rest

    def pause(self, error: ProviderError, seconds: float, now: float) -> None:
        """Rest for so long, because of *error*."""
        self.until = max(self.until, now + seconds)
        self.refusal = error

    def ended(self) -> None:
        """Note that a request was accepted."""
        self.probe = None
        self.on_trial = False
        self.strikes = 0
        self.refused_since = inf

    def final(
        self, error: ProviderError, rest: float, now: float, patience: float
    ) -> ProviderError | None:
        """Return the error for who waits, once that would be for too long."""
        if rest > patience:
            return too_long(error, rest)

        refused = now - self.refused_since
        if refused > PATIENCE:
            return _worded(error, f"it has refused all requests for {refused:,.0f} s")

        return None


def too_long(error: ProviderError, rest: float) -> ProviderError:
    """Word that the provider asks for more time than callers are left to wait."""
    return _worded(error, f"the provider asks to wait for {rest:,.0f} s", rest)


def _worded(
    error: ProviderError, message: str, rest: float | None = None
) -> ProviderError:
    facts = error.facts
    final = type(error)(
        message,
        ProviderFacts(
            provider=facts.provider,
            model=facts.model,
            status=facts.status,
            code=facts.code,
            retry_after=rest,
        ),
    )
    # Sent again at once, it would be turned away here and not by the provider.
    final.retryable = False
    return final
