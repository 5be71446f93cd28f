"""Each row of each service's errors, before the answer and inside a stream."""

import json
from typing import Any

import pytest

from mma_runtime.errors import (
    AuthenticationFailed,
    BalanceExhausted,
    ContentFiltered,
    ContextTooLong,
    ModelNotFound,
    PermissionRefused,
    ProtocolViolated,
    ProviderError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from mma_runtime.rate_limits import RateLimit, RateLimits
from mma_runtime.testing.wire import (
    chat_completions,
    generate_content,
    messages,
    responses,
)
from mma_runtime.testing.wire.answers import Answer
from mma_runtime.testing.wire.scripted import ScriptedServer, rendered
from mma_runtime.testing.wire.server import Recorded, Reply, event_reply
from tests.providers.services import (
    ANTHROPIC,
    GEMINI,
    OPENAI,
    RESPONSES,
    SERVICES,
    Service,
    collect,
    opened,
)

Rows = list[tuple[dict[str, Any], type[ProviderError]]]
CHAT: Rows = [
    ({"status": 400}, RequestRejected),
    ({"status": 400, "code": "unsupported_parameter"}, RequestRejected),
    ({"status": 400, "code": "unsupported_value"}, RequestRejected),
    ({"status": 400, "code": "context_length_exceeded"}, ContextTooLong),
    (
        {"status": 400, "message": "This model's maximum context length is 4096"},
        ContextTooLong,
    ),
    ({"status": 400, "code": "content_filter"}, ContentFiltered),
    ({"status": 401, "code": "invalid_api_key"}, AuthenticationFailed),
    ({"status": 401}, AuthenticationFailed),
    ({"status": 402}, BalanceExhausted),
    ({"status": 402, "message": "Insufficient Balance"}, BalanceExhausted),
    ({"status": 403}, PermissionRefused),
    (
        {"status": 403, "code": "unsupported_country_region_territory"},
        PermissionRefused,
    ),
    ({"status": 404, "code": "model_not_found"}, ModelNotFound),
    ({"status": 408}, ProviderTimedOut),
    ({"status": 409}, ProviderFailed),
    ({"status": 413}, RequestRejected),
    ({"status": 422}, RequestRejected),
    ({"status": 429}, RateLimited),
    ({"status": 429, "code": "rate_limit_exceeded", "kind": "tokens"}, RateLimited),
    ({"status": 429, "code": "insufficient_quota"}, QuotaExhausted),
    ({"status": 429, "kind": "insufficient_quota"}, QuotaExhausted),
    ({"status": 429, "code": "billing_hard_limit_reached"}, BalanceExhausted),
    ({"status": 429, "code": "credit_balance_exhausted"}, BalanceExhausted),
    ({"status": 429, "code": "project_spend_limit_exceeded"}, BalanceExhausted),
    ({"status": 500}, ProviderFailed),
    ({"status": 500, "code": "server_error"}, ProviderFailed),
    ({"status": 503}, ProviderOverloaded),
    ({"status": 503, "code": "server_is_overloaded"}, ProviderOverloaded),
    ({"status": 504}, ProviderTimedOut),
    ({"status": 529}, ProviderOverloaded),
]
MESSAGES: Rows = [
    ({"status": 400, "kind": "invalid_request_error"}, RequestRejected),
    (
        {
            "status": 400,
            "kind": "invalid_request_error",
            "message": "prompt is too long: 210000 tokens > 200000 maximum",
        },
        ContextTooLong,
    ),
    (
        {
            "status": 400,
            "kind": "invalid_request_error",
            "message": "Your credit balance is too low to access the API.",
        },
        BalanceExhausted,
    ),
    ({"status": 401, "kind": "authentication_error"}, AuthenticationFailed),
    ({"status": 402, "kind": "billing_error"}, BalanceExhausted),
    ({"status": 403, "kind": "permission_error"}, PermissionRefused),
    ({"status": 404, "kind": "not_found_error"}, ModelNotFound),
    ({"status": 408, "kind": "timeout_error"}, ProviderTimedOut),
    ({"status": 409, "kind": "conflict"}, ProviderFailed),
    ({"status": 413, "kind": "request_too_large"}, RequestRejected),
    ({"status": 422, "kind": "invalid_request_error"}, RequestRejected),
    ({"status": 429, "kind": "rate_limit_error"}, RateLimited),
    (
        {
            "status": 429,
            "kind": "rate_limit_error",
            "code": "contract_spend_limit_reached",
        },
        BalanceExhausted,
    ),
    (
        {
            "status": 429,
            "kind": "rate_limit_error",
            "code": "enforced_spend_limit_reached",
        },
        BalanceExhausted,
    ),
    ({"status": 500, "kind": "api_error"}, ProviderFailed),
    ({"status": 501, "kind": "unheard_of"}, ProviderFailed),
    ({"status": 503, "kind": "unheard_of"}, ProviderOverloaded),
    ({"status": 504, "kind": "timeout_error"}, ProviderTimedOut),
    ({"status": 529, "kind": "overloaded_error"}, ProviderOverloaded),
]
PER_DAY = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}],
}
PER_MINUTE = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}],
}
BAD_KEY = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "API_KEY_INVALID",
}
WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
CONTENT: Rows = [
    ({"status": 400, "word": "INVALID_ARGUMENT"}, RequestRejected),
    (
        {
            "status": 400,
            "word": "INVALID_ARGUMENT",
            "message": "The input token count (2000000) exceeds the maximum number of"
            " tokens allowed (1048576).",
        },
        ContextTooLong,
    ),
    (
        {"status": 400, "word": "INVALID_ARGUMENT", "details": [BAD_KEY]},
        AuthenticationFailed,
    ),
    (
        {
            "status": 400,
            "word": "FAILED_PRECONDITION",
            "message": "Please enable billing on your project.",
        },
        BalanceExhausted,
    ),
    ({"status": 401, "word": "UNAUTHENTICATED"}, AuthenticationFailed),
    ({"status": 403, "word": "PERMISSION_DENIED"}, PermissionRefused),
    ({"status": 404, "word": "NOT_FOUND"}, ModelNotFound),
    ({"status": 408, "word": "CANCELLED"}, ProviderTimedOut),
    ({"status": 429, "word": "RESOURCE_EXHAUSTED"}, RateLimited),
    (
        {"status": 429, "word": "RESOURCE_EXHAUSTED", "details": [PER_MINUTE]},
        RateLimited,
    ),
    (
        {"status": 429, "word": "RESOURCE_EXHAUSTED", "details": [WAIT, PER_DAY]},
        QuotaExhausted,
    ),
    ({"status": 500, "word": "INTERNAL"}, ProviderFailed),
    ({"status": 503, "word": "UNAVAILABLE"}, ProviderOverloaded),
    ({"status": 504, "word": "DEADLINE_EXCEEDED"}, ProviderTimedOut),
]


def cases(chat: Rows, messages_: Rows, content: Rows) -> list[Any]:
    return [
        *((OPENAI, chat_completions.error_reply(**row), kind) for row, kind in chat),
        *((RESPONSES, chat_completions.error_reply(**row), kind) for row, kind in chat),
        *((ANTHROPIC, messages.error_reply(**row), kind) for row, kind in messages_),
        *((GEMINI, generate_content.error_reply(**row), kind) for row, kind in content),
    ]


def without_status(rows: Rows) -> Rows:
    """Return the rows that say more than a status, which a stream has no room for."""
    clear = [row for row in rows if len(row[0]) > 1]
    return [row for row in clear if row[0].get("kind") != "unheard_of"]


BEFORE = cases(CHAT, MESSAGES, CONTENT)
INSIDE = cases(without_status(CHAT), without_status(MESSAGES), CONTENT)


def inside(service: Service, reply: Reply) -> bytes:
    """Return the error of *reply* as an event of a stream."""
    (raw,) = reply.body
    assert isinstance(raw, bytes)
    body: dict[str, Any] = json.loads(raw)
    if service is ANTHROPIC:
        return messages.event(body)
    if service is OPENAI:
        return chat_completions.event(body)
    if service is RESPONSES:
        flat = body["error"] if body["error"]["code"] else body
        return responses.event({**flat, "type": "error"})
    return generate_content.event(body)


def named(value: object) -> str | None:
    if isinstance(value, Service):
        return value.name
    return value.__name__ if isinstance(value, type) else None


@pytest.mark.parametrize(("service", "reply", "expected"), BEFORE, ids=named)
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_an_error_before_the_answer_has_its_meaning(
    wire: ScriptedServer,
    service: Service,
    reply: Reply,
    expected: type[ProviderError],
    *,
    streamed: bool,
) -> None:
    wire.say(reply)

    async with opened(service, wire) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, service.ask(streamed=streamed))

    facts = caught.value.facts
    assert type(caught.value) is expected
    assert (facts.provider, facts.model) == (service.name, service.model)
    assert facts.status == reply.status
    assert facts.request_id in {"req_wire", None}
    assert not facts.in_stream
    assert len(wire.requests) == 1


@pytest.mark.parametrize(("service", "reply", "expected"), INSIDE, ids=named)
async def test_an_error_inside_a_stream_has_the_same_meaning(
    wire: ScriptedServer,
    service: Service,
    reply: Reply,
    expected: type[ProviderError],
) -> None:
    def respond(request: Recorded) -> Reply:
        begun = rendered(request, Answer(text="partial text", pieces=4)).body[:5]
        return event_reply([*begun, inside(service, reply)])

    wire.say(respond)

    async with opened(service, wire) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, service.ask())

    assert type(caught.value) is expected
    assert caught.value.facts.in_stream
    assert caught.value.facts.partial_text.startswith("par")


@pytest.mark.parametrize(
    ("service", "reply", "seconds"),
    [
        (OPENAI, chat_completions.error_reply(429, headers={"retry-after": "7"}), 7),
        (
            OPENAI,
            chat_completions.error_reply(
                429, headers={"retry-after": "7", "retry-after-ms": "250"}
            ),
            0.25,
        ),
        (OPENAI, chat_completions.error_reply(429, headers={"retry-after": "x"}), None),
        (ANTHROPIC, messages.error_reply(529, headers={"retry-after": "2.5"}), 2.5),
        (GEMINI, generate_content.error_reply(429, details=[WAIT]), 7),
        (
            GEMINI,
            generate_content.error_reply(
                429, details=[WAIT], headers={"retry-after": "3"}
            ),
            3,
        ),
        (GEMINI, generate_content.error_reply(429), None),
    ],
)
async def test_the_server_says_how_long_to_wait(
    wire: ScriptedServer, service: Service, reply: Reply, seconds: float | None
) -> None:
    wire.say(reply)

    async with opened(service, wire) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, service.ask())

    assert caught.value.facts.retry_after == seconds


TOLD_IN_CHAT = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "120ms",
}
TOLD_IN_MESSAGES = {
    "anthropic-ratelimit-input-tokens-limit": "40000",
    "anthropic-ratelimit-input-tokens-remaining": "0",
}
FEW_REQUESTS = {
    "quotaMetric": "generate_content_free_tier_requests",
    "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    "quotaValue": "15",
}
FEW_TOKENS = {
    "quotaMetric": "generate_content_free_tier_input_token_count",
    "quotaId": "GenerateContentInputTokensPerModelPerMinute-FreeTier",
    "quotaValue": "250000",
}
NONSENSE = {"quotaId": "GenerateRequestsPerMinute", "quotaValue": "few"}


def violated(*quotas: object) -> dict[str, object]:
    kind = "type.googleapis.com/google.rpc.QuotaFailure"
    return {"@type": kind, "violations": [*quotas]}


@pytest.mark.parametrize(
    ("service", "reply", "told"),
    [
        (
            OPENAI,
            chat_completions.error_reply(429, headers=TOLD_IN_CHAT),
            RateLimits(requests=RateLimit(limit=500, remaining=0, reset=0.12)),
        ),
        (
            RESPONSES,
            chat_completions.error_reply(500, headers=TOLD_IN_CHAT),
            RateLimits(requests=RateLimit(limit=500, remaining=0, reset=0.12)),
        ),
        (
            ANTHROPIC,
            messages.error_reply(429, headers=TOLD_IN_MESSAGES),
            RateLimits(input_tokens=RateLimit(limit=40_000, remaining=0)),
        ),
        (
            GEMINI,
            generate_content.error_reply(429, details=[violated(FEW_REQUESTS), WAIT]),
            RateLimits(requests=RateLimit(limit=15, remaining=0, reset=7.0)),
        ),
        (
            GEMINI,
            generate_content.error_reply(429, details=[violated(FEW_TOKENS)]),
            RateLimits(input_tokens=RateLimit(limit=250_000, remaining=0)),
        ),
        (GEMINI, generate_content.error_reply(429, details=[violated(NONSENSE)]), None),
        (GEMINI, generate_content.error_reply(429, details=[violated("x")]), None),
        (OPENAI, chat_completions.error_reply(429), None),
    ],
)
async def test_a_refusal_tells_of_limits(
    wire: ScriptedServer, service: Service, reply: Reply, told: RateLimits | None
) -> None:
    wire.say(reply)

    async with opened(service, wire) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, service.ask())

    assert caught.value.limits == told


async def test_an_answer_that_breaks_off_has_told_of_limits(
    wire: ScriptedServer,
) -> None:
    def respond(request: Recorded) -> Reply:
        begun = rendered(request, Answer(text="partial text", pieces=4)).body[:5]
        return event_reply([*begun], headers=TOLD_IN_CHAT)

    wire.say(respond)

    async with opened(OPENAI, wire) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, OPENAI.ask())

    assert caught.value.limits is not None


@pytest.mark.parametrize("service", SERVICES, ids=named)
async def test_a_gateway_that_answers_in_html_is_a_failure(
    wire: ScriptedServer, service: Service
) -> None:
    wire.say(Reply(status=502, body=(b"<html>bad gateway</html>",)))

    async with opened(service, wire) as provider:
        with pytest.raises(ProviderFailed, match="bad gateway"):
            await collect(provider, service.ask())


@pytest.mark.parametrize(
    ("service", "answer", "expected"),
    [
        (ANTHROPIC, Answer(finish="model_context_window_exceeded"), ContextTooLong),
        (OPENAI, Answer(text="x", finish="error"), ProviderFailed),
        (GEMINI, Answer(finish="MALFORMED_FUNCTION_CALL"), ProtocolViolated),
        (GEMINI, Answer(finish="MISSING_THOUGHT_SIGNATURE"), ProtocolViolated),
    ],
)
async def test_a_finish_that_is_none_is_an_error(
    wire: ScriptedServer,
    service: Service,
    answer: Answer,
    expected: type[ProviderError],
) -> None:
    wire.say(answer)

    async with opened(service, wire) as provider:
        with pytest.raises(expected):
            await collect(provider, service.ask())


async def test_a_blocked_prompt_is_content_filtered(wire: ScriptedServer) -> None:
    body = {"promptFeedback": {"blockReason": "SAFETY"}}
    wire.say(event_reply([generate_content.event(body)]))

    async with opened(GEMINI, wire) as provider:
        with pytest.raises(ContentFiltered, match="SAFETY"):
            await collect(provider, GEMINI.ask())
