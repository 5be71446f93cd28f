"""OpenAI's Chat Completions format, as a server writes it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mma_runtime.testing.wire.answers import Answer, Call, Failure
from mma_runtime.testing.wire.server import Recorded, Reply, event_reply, json_reply

HEADERS = {"x-request-id": "req_wire"}
SERVER = 500
"""From this status on it is the server's fault."""


def chat_reply(request: Recorded, answer: Answer) -> Reply:
    """Return *answer* as *request* wants it: streamed or whole."""
    if not request.body.get("stream"):
        return json_reply(whole(request, answer), headers=HEADERS)
    return event_reply(events(request, answer), headers=HEADERS)


def error_reply(
    status: int,
    *,
    code: str | None = None,
    kind: str | None = None,
    message: str = "scripted",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return an error as OpenAI words it."""
    error = {"message": message, "type": kind, "code": code, "param": None}
    return json_reply(
        {"error": error}, status=status, headers={**HEADERS, **(headers or {})}
    )


def failure_reply(failure: Failure) -> Reply:
    """Return *failure* as OpenAI words it."""
    kind, code = {
        401: ("invalid_request_error", "invalid_api_key"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("requests", "rate_limit_exceeded"),
    }.get(failure.status, ("server_error" if failure.status >= SERVER else None, None))
    return error_reply(
        failure.status,
        kind=kind,
        code=code,
        message=failure.message,
        headers=failure.headers,
    )


def event(body: Any) -> bytes:
    """Return *body* as one event of a stream."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def whole(request: Recorded, answer: Answer) -> dict[str, Any]:
    """Return *answer* in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        calls = [_call(call, index) for index, call in enumerate(answer.calls)]
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": _finish(answer)}
    return {
        **_frame(request, "chat.completion"),
        "choices": [choice],
        "usage": _usage(answer),
    }


def events(request: Recorded, answer: Answer) -> list[bytes]:
    """Return *answer* as the events of a stream, the end mark included."""
    frame = _frame(request, "chat.completion.chunk")

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event({**frame, "choices": [choice]})

    sent = [chunk({"role": "assistant", "content": ""})]
    if answer.reasoning:
        sent.append(chunk({"reasoning_content": answer.reasoning}))
    sent += [chunk({"content": piece}) for piece in answer.text_pieces]
    for index, call in enumerate(answer.calls):
        sent += [chunk({"tool_calls": [delta]}) for delta in _fragments(call, index)]
    sent.append(chunk({}, _finish(answer)))
    if answer.usage and request.body.get("stream_options"):
        sent.append(event({**frame, "choices": [], "usage": _usage(answer)}))
    return [*sent, b"data: [DONE]\n\n"]


def models_reply(names: Sequence[str], shutdown: Mapping[str, str]) -> Reply:
    """Return the listing of models."""
    data = [
        {
            "id": name,
            "object": "model",
            "created": 1_700_000_000,
            "owned_by": "wire",
            "shutdown_date": shutdown.get(name),
        }
        for name in names
    ]
    return json_reply({"object": "list", "data": data}, headers=HEADERS)


def _frame(request: Recorded, kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-wire",
        "object": kind,
        "created": 1_700_000_000,
        "model": request.body["model"],
    }


def _finish(answer: Answer) -> str:
    return answer.finish or ("tool_calls" if answer.calls else "stop")


def _call(call: Call, index: int) -> dict[str, Any]:
    raw = call.raw if call.raw is not None else json.dumps(dict(call.arguments))
    return {
        "id": call.id or f"call_wire_{index}",
        "type": "function",
        "function": {"name": call.name, "arguments": raw},
    }


def _fragments(call: Call, index: int) -> list[dict[str, Any]]:
    built = _call(call, index)
    raw: str = built["function"]["arguments"]
    first = {**built, "index": index, "function": {"name": call.name, "arguments": ""}}
    half = len(raw) // 2
    pieces = [piece for piece in (raw[:half], raw[half:]) if piece]
    return [
        first,
        *({"index": index, "function": {"arguments": piece}} for piece in pieces),
    ]


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
    }
