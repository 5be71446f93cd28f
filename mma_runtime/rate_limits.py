"""Rate limits of an account: as the user sets them, and as a provider tells them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a provider allows an account; `None` is unknown, to be learnt.

    All are per minute but *in_flight*, the most requests at the same time.
    *tokens_per_minute* counts input and output together.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    in_flight: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """One limit per minute; `None` is what the provider did not say.

    *limit* and *remaining* are in requests or tokens, *reset* is in seconds from the
    answer until all of the limit is there again. A limit for another time, such as a
    day, has no *limit* here: of that only what is left is known.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What the head of an answer says of the limits that the request counted against.

    *tokens* is for services that count input and output together; others fill
    *input_tokens* and *output_tokens*.
    """

    requests: RateLimit | None = None
    tokens: RateLimit | None = None
    input_tokens: RateLimit | None = None
    output_tokens: RateLimit | None = None

    @property
    def used_up(self) -> float:
        """Seconds until there is something left again, of a limit for a day or so."""
        return max(
            (
                one.reset or 0.0
                for one in (
                    self.requests,
                    self.tokens,
                    self.input_tokens,
                    self.output_tokens,
                )
                if one is not None and one.limit is None and one.remaining == 0
            ),
            default=0.0,
        )
