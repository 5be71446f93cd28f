"""Rate limits as OpenAI's and Anthropic's answers tell them."""

import pytest

from mma_providers.profiles import anthropic_profile, openai_profile
from mma_providers.rate_limits import rate_limits
from mma_runtime.rate_limits import RateLimit, RateLimits


def test_openais_headers_are_read() -> None:
    headers = {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "8.64s",
        "x-ratelimit-limit-tokens": "200000",
        "x-ratelimit-remaining-tokens": "199500",
        "x-ratelimit-reset-tokens": "150ms",
    }

    assert rate_limits(headers) == RateLimits(
        requests=RateLimit(limit=10_000, remaining=9_999, reset=8.64),
        tokens=RateLimit(limit=200_000, remaining=199_500, reset=0.15),
    )


def test_a_limit_a_day_is_none_a_minute() -> None:
    headers = {
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "2h59m56s",
        "x-ratelimit-limit-tokens": "18000",
        "x-ratelimit-remaining-tokens": "17997",
        "x-ratelimit-reset-tokens": "7.66s",
    }

    limits = rate_limits(headers)

    assert limits == RateLimits(
        requests=RateLimit(limit=None, remaining=0, reset=10_796.0),
        tokens=RateLimit(limit=18_000, remaining=17_997, reset=7.66),
    )
    assert limits is not None
    assert limits.used_up == 10_796.0
    headers["x-ratelimit-remaining-requests"] = "5"
    some_left = rate_limits(headers)
    assert some_left is not None
    assert some_left.used_up == 0


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


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        ("claude-sonnet-4-5", False),
        ("claude-3-7-sonnet-latest", False),
        ("claude-some-day", False),
        ("claude-3-5-haiku-latest", True),
        ("claude-3-haiku-20240307", True),
    ],
)
def test_newer_claude_models_do_not_count_what_was_cached(
    model: str, *, counts: bool
) -> None:
    assert anthropic_profile(model).counts_cached is counts
    assert openai_profile("gpt-4o").counts_cached
