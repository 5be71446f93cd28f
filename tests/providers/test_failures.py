"""How long to wait, and what a provider's words mean, as pure functions."""

from collections.abc import Mapping

import pytest
from pydantic import SecretStr

from mma_providers.failures import Progress, Report, provider_error, retry_after
from mma_runtime.errors import (
    ContextTooLong,
    ProviderError,
    ProviderFailed,
    RateLimited,
    RequestRejected,
)

NOON = 1_800_000_000.0  # 2027-01-15, 08:00:00 UTC.


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after_is_read_in_every_form(
    headers: Mapping[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, now=NOON) == seconds


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            Report(message="", code="context_length_exceeded", status=500),
            ContextTooLong,
        ),
        (Report(message="", kind="rate_limit_error", status=500), RateLimited),
        (Report(message="maximum context length", status=500), ProviderFailed),
        (Report(message="maximum context length", status=400), ContextTooLong),
        (Report(message="whatever", status=418), RequestRejected),
        (Report(message="whatever"), ProviderFailed),
    ],
)
def test_the_code_counts_before_the_status_and_that_before_the_text(
    report: Report, expected: type[ProviderError]
) -> None:
    assert report.meaning is expected


def test_a_key_is_blotted_out_wherever_it_is_echoed() -> None:
    error = provider_error(
        "x",
        Report(message="the key sk-1 is not sk-1."),
        Progress(model="m"),
        secret=SecretStr("sk-1"),
    )

    assert "sk-1" not in str(error)
    assert "the key ********** is not **********" in str(error)
