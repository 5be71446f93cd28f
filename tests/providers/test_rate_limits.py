"""Rate limits as OpenAI's and Anthropic's answers tell them."""

import pytest

from mma_providers.rate_limits import rate_limits
from mma_runtime.rate_limits import RateLimit, RateLimits


def test_openais_headers_are_read() -> None:
    headers = {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "8.64s",
        "x-ratelimit-limit-tokens": "200000",
        "x-ratelimit-remaining-tokens": "199500",
        "x-ratelimit-reset-tokens": "6m0s",
    }

    assert rate_limits(headers) == RateLimits(
        requests=RateLimit(limit=10_000, remaining=9_999, reset=8.64),
        tokens=RateLimit(limit=200_000, remaining=199_500, reset=360.0),
    )


def test_anthropics_headers_are_read() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "1970-01-01T00:01:41Z",
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": "40000",
        "anthropic-ratelimit-input-tokens-reset": "1970-01-01T00:01:30Z",
        "anthropic-ratelimit-output-tokens-limit": "8000",
        "anthropic-ratelimit-tokens-limit": "48000",
    }

    assert rate_limits(headers, now=100.0) == RateLimits(
        requests=RateLimit(limit=50, remaining=49, reset=1.0),
        input_tokens=RateLimit(limit=40_000, remaining=40_000, reset=0.0),
        output_tokens=RateLimit(limit=8_000),
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/event-stream"},
        {"x-ratelimit-limit-requests": "many"},
        {"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "5"},
        {"anthropic-ratelimit-requests-limit": ""},
    ],
)
def test_where_nothing_usable_is_said_nothing_is_known(headers: dict[str, str]) -> None:
    assert rate_limits(headers) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120ms", 0.12),
        ("1h2m3s", 3723.0),
        ("1s junk", None),
        ("soon", None),
        ("1.2.3s", None),
        ("", None),
    ],
)
def test_a_reset_that_cannot_be_read_is_unknown(
    text: str, seconds: float | None
) -> None:
    found = rate_limits(
        {"x-ratelimit-limit-tokens": "1", "x-ratelimit-reset-tokens": text}
    )

    assert found is not None
    assert found.tokens is not None
    assert found.tokens.reset == pytest.approx(seconds)
