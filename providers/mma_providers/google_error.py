"""The errors of Google's services."""

from collections.abc import Iterator
from typing import Any

from mma_providers.failures import Report
from mma_providers.wire_json import Object, child, is_list, is_object
from mma_runtime.rate_limits import RateLimit, RateLimits


def google_report(body: Object, status: int | None) -> Report:
    """Return what the body of an error says."""
    error = child(body, "error") or body
    number = error.get("code")
    word = error.get("status")
    wait = _retry_delay(error)
    return Report(
        message=str(error.get("message") or "no message"),
        status=number if isinstance(number, int) else status,
        code=_code(error),
        kind=word if isinstance(word, str) else None,
        retry_after=wait,
        limits=_limits(error, wait),
    )


def _details(error: Object) -> Iterator[Object]:
    details: Any = error.get("details")
    if is_list(details):
        yield from (detail for detail in details if is_object(detail))


def _code(error: Object) -> str | None:
    for detail in _details(error):
        reason = detail.get("reason")
        if isinstance(reason, str):
            return reason

        violations: Any = detail.get("violations")
        if is_list(violations) and any("PerDay" in str(each) for each in violations):
            return "quota_per_day"
    return None


def _limits(error: Object, wait: float | None) -> RateLimits | None:
    """Return the limits per minute that the request has met: nothing of them is left.

    Google names them in the body of the refusal, and nowhere else.
    """
    found: dict[str, RateLimit] = {}
    for detail in _details(error):
        violations: Any = detail.get("violations")
        for violation in violations if is_list(violations) else ():
            if is_object(violation) and "PerMinute" in str(violation.get("quotaId")):
                limit = str(violation.get("quotaValue", ""))
                metric = str(violation.get("quotaMetric")).lower()
                what = "input_tokens" if "token" in metric else "requests"
                if limit.isdecimal():
                    found[what] = RateLimit(limit=int(limit), remaining=0, reset=wait)

    return RateLimits(**found) if found else None


def _retry_delay(error: Object) -> float | None:
    for detail in _details(error):
        delay = detail.get("retryDelay")
        if isinstance(delay, str):
            try:
                return float(delay.removesuffix("s"))
            except ValueError:
                return None
    return None
