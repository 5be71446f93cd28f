"""What went wrong at a provider, by meaning: its code first, status next, text last."""

import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2
from pydantic import SecretStr

from mma_runtime.errors import (
    AuthenticationFailed,
    BalanceExhausted,
    ContentFiltered,
    ContextTooLong,
    ModelNotFound,
    PermissionRefused,
    ProviderError,
    ProviderFacts,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from mma_runtime.rate_limits import RateLimits

_BY_CODE: Mapping[str, type[ProviderError]] = {
    # OpenAI and those who speak its dialect.
    "invalid_api_key": AuthenticationFailed,
    "account_deactivated": AuthenticationFailed,
    "model_not_found": ModelNotFound,
    "deploymentnotfound": ModelNotFound,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "insufficient_quota": QuotaExhausted,
    "billing_hard_limit_reached": BalanceExhausted,
    "billing_not_active": BalanceExhausted,
    "credit_balance_exhausted": BalanceExhausted,
    "context_length_exceeded": ContextTooLong,
    "string_above_max_length": ContextTooLong,
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
    "unsupported_country_region_territory": PermissionRefused,
    "unsupported_parameter": RequestRejected,
    "unsupported_value": RequestRejected,
    "server_error": ProviderFailed,
    "engine_overloaded": ProviderOverloaded,
    "server_is_overloaded": ProviderOverloaded,
    "slow_down": ProviderOverloaded,
    # Anthropic.
    "authentication_error": AuthenticationFailed,
    "billing_error": BalanceExhausted,
    "permission_error": PermissionRefused,
    "not_found_error": ModelNotFound,
    "request_too_large": RequestRejected,
    "timeout_error": ProviderTimedOut,
    "overloaded_error": ProviderOverloaded,
    "api_error": ProviderFailed,
    "model_context_window_exceeded": ContextTooLong,
    # Google.
    "unauthenticated": AuthenticationFailed,
    "api_key_invalid": AuthenticationFailed,
    "permission_denied": PermissionRefused,
    "not_found": ModelNotFound,
    "resource_exhausted": RateLimited,
    "quota_per_day": QuotaExhausted,
    "unavailable": ProviderOverloaded,
    "deadline_exceeded": ProviderTimedOut,
    "internal": ProviderFailed,
    "blocked_prompt": ContentFiltered,
}
_BY_STATUS: Mapping[int, type[ProviderError]] = {
    401: AuthenticationFailed,
    402: BalanceExhausted,
    403: PermissionRefused,
    404: ModelNotFound,
    408: ProviderTimedOut,
    409: ProviderFailed,
    429: RateLimited,
    503: ProviderOverloaded,
    504: ProviderTimedOut,
    529: ProviderOverloaded,
}
# Only where neither code nor status says it: some servers have but one code for all.
_BY_TEXT: tuple[tuple[re.Pattern[str], type[ProviderError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        (r"maximum context length|context (length|window|size)", ContextTooLong),
        (r"prompt is too long|exceeds the maximum number of tokens", ContextTooLong),
        (r"credit balance is too low|insufficient (balance|credit)", BalanceExhausted),
        (r"api key not valid|invalid api key", AuthenticationFailed),
        (r"billing", BalanceExhausted),
        (r"overloaded", ProviderOverloaded),
    )
)
_SPENT = ("spend_limit_exceeded", "spend_limit_reached", "billing_unavailable")
_REJECTED = frozenset({"invalid_request_error", "INVALID_ARGUMENT"})
_UNCLEAR_STATUSES = frozenset({None, 200, 400, 413, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An error as a provider tells it, in plain values.

    *kind* is the wider word that some providers give beside *code*. *retry_after* is in
    seconds. *limits* are those that the body tells of; most are told in the head.
    """

    message: str
    status: int | None = None
    code: str | None = None
    kind: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    limits: RateLimits | None = None

    @property
    def meaning(self) -> type[ProviderError]:
        """The error class that says what this means."""
        for word in (self.code, self.kind):
            found = _by_code(word or "")
            if found is not None:
                return found

        if self.status in _UNCLEAR_STATUSES:
            for pattern, meaning in _BY_TEXT:
                if pattern.search(self.message):
                    return meaning
            rejected = self.status not in {None, 200} or self.kind in _REJECTED
            return RequestRejected if rejected else ProviderFailed

        status = self.status or 0
        fallback = ProviderFailed if status >= 500 else RequestRejected  # noqa: PLR2004 - HTTP
        return _BY_STATUS.get(status, fallback)


class Reported(Exception):
    """An error that came inside an answer, on its way to the provider's own."""

    def __init__(self, report: Report) -> None:
        self.report = report
        super().__init__(report.message)


class Malformed(Exception):
    """An answer that breaks the interface's promise, on its way to the provider's."""


class Late(Exception):
    """A time limit was reached, on its way to the provider's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a call had come when it failed."""

    model: str
    request_id: str | None = None
    limits: RateLimits | None = None
    begun: bool = False
    partial_text: str = ""


def provider_error(
    provider: str,
    found: Report | type[ProviderError],
    progress: Progress,
    *,
    message: str = "",
    secret: SecretStr | None = None,
    sent: bool = True,
) -> ProviderError:
    """Word a failure as one of ours; *secret* is blotted out where it is echoed.

    Without *sent* the request never left this machine, so that nobody bills it.
    """
    if not isinstance(found, Report):
        kind, report = found, Report(message=message)
    else:
        kind, report = found.meaning, found
    text = report.message.strip().rstrip(".")
    return kind(
        without_secret(text, secret),
        ProviderFacts(
            provider=provider,
            model=progress.model,
            status=report.status,
            code=report.code or report.kind,
            request_id=report.request_id or progress.request_id,
            retry_after=report.retry_after,
            in_stream=progress.begun,
            partial_text=progress.partial_text,
            sent=sent,
        ),
    )


def never_connected(error: BaseException | None) -> bool:
    """Tell whether *error* or what caused it came before there was a connection."""
    while error is not None:
        if isinstance(error, _BEFORE_THE_CONNECTION):
            return True

        error = error.__cause__ or error.__context__

    return False


_BEFORE_THE_CONNECTION = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
)


def without_secret(text: str, secret: SecretStr | None) -> str:
    """Return *text* with the key blotted out."""
    key = secret.get_secret_value() if secret else ""
    return text.replace(key, "**********") if key else text


def retry_after(
    headers: Mapping[str, str], *, now: float | None = None
) -> float | None:
    """Return how long a server asks to wait, in seconds; `None` when it does not say.

    *now* is seconds since the epoch, for headers that hold a date.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds

    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - (time.time() if now is None else now))


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _by_code(word: str) -> type[ProviderError] | None:
    word = word.lower()
    if word.endswith(_SPENT):
        return BalanceExhausted
    return _BY_CODE.get(word)
