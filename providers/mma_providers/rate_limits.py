"""What the head of an answer says of the account's rate limits."""

import re
import time
from collections.abc import Mapping
from datetime import datetime

from mma_runtime.rate_limits import RateLimit, RateLimits

_LONGEST = 120.0
"""How long a limit a minute takes at most until it is there again, in seconds.

A minute, were all clocks right and all services exact. Limits a day have the same names
at some (Groq, OpenAI's lowest tiers), and are told by that.
"""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SPAN = re.compile(r"([\d.]+)(ms|s|m|h|d)")


def rate_limits(
    headers: Mapping[str, str], *, now: float | None = None
) -> RateLimits | None:
    """Read OpenAI's and Anthropic's headers; `None` where there are none of them.

    *now* is seconds since the epoch, for headers that hold a date.
    """
    requests = _openai(headers, "requests")
    tokens = _openai(headers, "tokens")
    if requests or tokens:
        return RateLimits(requests=requests, tokens=tokens)

    now = time.time() if now is None else now
    requests = _anthropic(headers, "requests", now)
    inputs = _anthropic(headers, "input-tokens", now)
    outputs = _anthropic(headers, "output-tokens", now)
    # The limit on both together is the tighter of the two just now: it changes.
    if not (requests or inputs or outputs):
        return None

    return RateLimits(requests=requests, input_tokens=inputs, output_tokens=outputs)


def _openai(headers: Mapping[str, str], what: str) -> RateLimit | None:
    limit = _count(headers.get(f"x-ratelimit-limit-{what}"))
    if limit is None:
        return None

    remaining = _count(headers.get(f"x-ratelimit-remaining-{what}"))
    return _told(limit, remaining, _span(headers.get(f"x-ratelimit-reset-{what}")))


def _anthropic(headers: Mapping[str, str], what: str, now: float) -> RateLimit | None:
    begin = f"anthropic-ratelimit-{what}"
    limit = _count(headers.get(f"{begin}-limit"))
    if limit is None:
        return None

    remaining = _count(headers.get(f"{begin}-remaining"))
    return _told(limit, remaining, _until(headers.get(f"{begin}-reset"), now))


def _told(limit: int, remaining: int | None, reset: float | None) -> RateLimit:
    is_a_minutes = reset is None or reset <= _LONGEST
    return RateLimit(
        limit=limit if is_a_minutes else None, remaining=remaining, reset=reset
    )


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and value.strip().isdecimal() else None


def _span(value: str | None) -> float | None:
    """Read `1s`, `6m0s`, `120ms`: a time in seconds."""
    parts = _SPAN.findall(value or "")
    if not parts or "".join(map("".join, parts)) != (value or "").strip():
        return None

    try:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    except ValueError:
        return None


def _until(value: str | None, now: float) -> float | None:
    """Read a date: the seconds until then."""
    try:
        return max(0.0, datetime.fromisoformat(value or "").timestamp() - now)
    except ValueError:
        return None
