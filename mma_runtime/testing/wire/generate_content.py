"""Gemini's generateContent format, as a server writes it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mma_runtime.testing.wire.answers import Answer, Call, Failure
from mma_runtime.testing.wire.server import Recorded, Reply, event_reply, json_reply

HEADERS = {"x-request-id": "req_wire"}


def content_reply(request: Recorded, answer: Answer) -> Reply:
    """Return *answer* as *request* wants it: streamed or whole."""
    if ":streamGenerateContent" not in request.path:
        return json_reply(whole(request, answer), headers=HEADERS)
    return event_reply(events(request, answer), headers=HEADERS)


def error_reply(
    status: int,
    *,
    word: str = "INTERNAL",
    message: str = "scripted",
    details: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return an error as Google words it."""
    return json_reply(
        error_body(status, word, message, details),
        status=status,
        headers={**HEADERS, **(headers or {})},
    )


def failure_reply(failure: Failure) -> Reply:
    """Return *failure* as Google words it."""
    words = {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED",
        503: "UNAVAILABLE",
    }
    return error_reply(
        failure.status,
        word=words.get(failure.status, "INTERNAL"),
        message=failure.message,
        headers=failure.headers,
    )


def error_body(
    status: int,
    word: str,
    message: str = "scripted",
    details: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the body of an error."""
    error = {"code": status, "status": word, "message": message}
    return {"error": {**error, "details": list(details)}}


def event(body: Any) -> bytes:
    """Return *body* as one event of a stream."""
    return b"data: " + json.dumps(body).encode() + b"\r\n\r\n"


def whole(request: Recorded, answer: Answer) -> dict[str, Any]:
    """Return *answer* in one piece."""
    parts = _thoughts(answer)
    if answer.text:
        parts.append({"text": answer.text})
    return _response(request, answer, parts + _calls(answer), _finish(answer))


def events(request: Recorded, answer: Answer) -> list[bytes]:
    """Return *answer* as the events of a stream."""
    pieces = [*_thoughts(answer), *({"text": piece} for piece in answer.text_pieces)]
    sent = [event(_response(request, answer, [piece])) for piece in pieces]
    last = _response(request, answer, _calls(answer), _finish(answer))
    return [*sent, event(last)]


def models_reply(models: Sequence[Mapping[str, Any]]) -> Reply:
    """Return the listing of models."""
    return json_reply({"models": list(models)}, headers=HEADERS)


def _response(
    request: Recorded,
    answer: Answer,
    parts: list[dict[str, Any]],
    finish: str | None = None,
) -> dict[str, Any]:
    content = {"role": "model", "parts": parts} if parts else {}
    candidate: dict[str, Any] = {"index": 0, "content": content}
    if finish:
        candidate["finishReason"] = finish
    body: dict[str, Any] = {
        "candidates": [candidate],
        "modelVersion": request.path.rpartition("/")[2].partition(":")[0],
    }
    if answer.usage:
        body["usageMetadata"] = _usage(answer)
    return body


def _finish(answer: Answer) -> str:
    return answer.finish or "STOP"


def _thoughts(answer: Answer) -> list[dict[str, Any]]:
    return [{"text": answer.reasoning, "thought": True}] if answer.reasoning else []


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [_call(call, signed=index == 0) for index, call in enumerate(answer.calls)]


def _call(call: Call, *, signed: bool) -> dict[str, Any]:
    built: dict[str, Any] = {"name": call.name, "args": dict(call.arguments)}
    if call.id:
        built["id"] = call.id
    part: dict[str, Any] = {"functionCall": built}
    return part | {"thoughtSignature": "c2lnbmVk"} if signed else part


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "promptTokenCount": answer.input_tokens,
        "cachedContentTokenCount": answer.cached_tokens,
        "candidatesTokenCount": answer.output_tokens - answer.reasoning_tokens,
        "thoughtsTokenCount": answer.reasoning_tokens,
    }
