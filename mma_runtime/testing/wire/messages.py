"""Anthropic's Messages format, as a server writes it."""

import json
from collections.abc import Mapping
from typing import Any

from mma_runtime.testing.wire.answers import Answer, Call, Failure
from mma_runtime.testing.wire.server import Recorded, Reply, event_reply, json_reply

HEADERS = {"request-id": "req_wire"}


def messages_reply(request: Recorded, answer: Answer) -> Reply:
    """Return *answer* as *request* wants it: streamed or whole."""
    if not request.body.get("stream"):
        return json_reply(whole(request, answer), headers=HEADERS)
    return event_reply(events(request, answer), headers=HEADERS)


def error_reply(
    status: int,
    *,
    kind: str = "api_error",
    code: str | None = None,
    message: str = "scripted",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return an error as Anthropic words it."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if code:
        error["details"] = {"error_code": code}
    body = {"type": "error", "error": error}
    return json_reply(body, status=status, headers={**HEADERS, **(headers or {})})


def failure_reply(failure: Failure) -> Reply:
    """Return *failure* as Anthropic words it."""
    kinds = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
        529: "overloaded_error",
    }
    return error_reply(
        failure.status,
        kind=kinds.get(failure.status, "api_error"),
        message=failure.message,
        headers=failure.headers,
    )


def event(body: Mapping[str, Any]) -> bytes:
    """Return *body* as one event of a stream."""
    return b"event: %b\ndata: %b\n\n" % (
        body["type"].encode(),
        json.dumps(body).encode(),
    )


def whole(request: Recorded, answer: Answer) -> dict[str, Any]:
    """Return *answer* in one piece."""
    return {
        **_message(request),
        "content": _blocks(answer),
        "stop_reason": _finish(answer),
        "usage": _usage(answer),
    }


def events(request: Recorded, answer: Answer) -> list[bytes]:
    """Return *answer* as the events of a stream, the end mark included."""
    empty_content: list[dict[str, Any]] = []
    start = {**_message(request), "content": empty_content, "stop_reason": None}
    usage = {**_usage(answer), "output_tokens": 1}
    sent = [event({"type": "message_start", "message": {**start, "usage": usage}})]
    sent.append(event({"type": "ping"}))
    for index, block in enumerate(_blocks(answer)):
        empty, deltas = _in_pieces(block, answer)
        opening = {"type": "content_block_start", "content_block": empty}
        sent.append(event({**opening, "index": index}))
        for delta in deltas:
            change = {"type": "content_block_delta", "index": index, "delta": delta}
            sent.append(event(change))
        sent.append(event({"type": "content_block_stop", "index": index}))
    end: dict[str, Any] = {
        "type": "message_delta",
        "delta": {"stop_reason": _finish(answer), "stop_sequence": None},
    }
    if answer.usage:
        end["usage"] = {"output_tokens": answer.output_tokens}
    return [*sent, event(end), event({"type": "message_stop"})]


def models_reply(models: list[dict[str, Any]]) -> Reply:
    """Return the listing of models; *models* overrides what each would be."""
    data = [
        {
            "type": "model",
            "display_name": model["id"],
            "created_at": "2026-01-01T00:00:00Z",
            "lifecycle": "active",
            **model,
        }
        for model in models
    ]
    body = {"data": data, "has_more": False, "first_id": None, "last_id": None}
    return json_reply(body, headers=HEADERS)


def _message(request: Recorded) -> dict[str, Any]:
    return {
        "id": "msg_wire",
        "type": "message",
        "role": "assistant",
        "model": request.body["model"],
        "stop_sequence": None,
    }


def _finish(answer: Answer) -> str:
    return answer.finish or ("tool_use" if answer.calls else "end_turn")


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning:
        thought = {"type": "thinking", "thinking": answer.reasoning}
        blocks.append({**thought, "signature": "c2lnbmVk"})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    blocks += [_call(call, index) for index, call in enumerate(answer.calls)]
    return blocks


def _call(call: Call, index: int) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": call.id or f"toolu_wire_{index}",
        "name": call.name,
        "input": dict(call.arguments),
    }


def _in_pieces(
    block: dict[str, Any], answer: Answer
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
            return {**block, "thinking": "", "signature": ""}, deltas
        case "text":
            pieces = answer.text_pieces
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
            return {**block, "text": ""}, deltas
        case _:
            raws = [
                call.raw
                for index, call in enumerate(answer.calls)
                if _call(call, index)["id"] == block["id"] and call.raw is not None
            ]
            raw = raws[0] if raws else json.dumps(block["input"] or {})
            raw = "" if raw == "{}" else raw
            half = len(raw) // 2
            deltas = [
                {"type": "input_json_delta", "partial_json": piece}
                for piece in ("", raw[:half], raw[half:])
            ]
            return {**block, "input": {}}, deltas


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens - answer.cached_tokens,
        "cache_read_input_tokens": answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": answer.output_tokens,
    }
