"""OpenAI's Responses format, as a server writes it."""

import json
from collections.abc import Mapping
from typing import Any

from mma_runtime.testing.wire.answers import Answer, Call
from mma_runtime.testing.wire.chat_completions import HEADERS
from mma_runtime.testing.wire.server import Recorded, Reply, event_reply, json_reply


def responses_reply(request: Recorded, answer: Answer) -> Reply:
    """Return *answer* as *request* wants it: streamed or whole."""
    if not request.body.get("stream"):
        return json_reply(response(request, answer), headers=HEADERS)
    return event_reply(events(request, answer), headers=HEADERS)


def event(body: Mapping[str, Any]) -> bytes:
    """Return *body* as one event of a stream."""
    return b"event: %b\ndata: %b\n\n" % (
        str(body.get("type", "error")).encode(),
        json.dumps(body).encode(),
    )


def response(request: Recorded, answer: Answer) -> dict[str, Any]:
    """Return *answer* in one piece; its *finish* is why it is incomplete."""
    details = {"reason": answer.finish} if answer.finish else None
    body: dict[str, Any] = {
        "id": "resp_wire",
        "object": "response",
        "model": request.body["model"],
        "status": "incomplete" if answer.finish else "completed",
        "incomplete_details": details,
        "error": None,
        "output": _items(answer),
    }
    return body | {"usage": _usage(answer)} if answer.usage else body


def events(request: Recorded, answer: Answer) -> list[bytes]:
    """Return *answer* as the events of a stream."""
    started: dict[str, Any] = {**response(request, answer), "status": "in_progress"}
    started["output"] = []
    sent = [event({"type": "response.created", "response": started})]
    for index, item in enumerate(_items(answer)):
        opened = {"type": "response.output_item.added", "output_index": index}
        sent.append(event({**opened, "item": _emptied(item)}))
        sent += [
            event({"type": kind, "output_index": index, "delta": delta})
            for kind, delta in _deltas(item, answer)
        ]
        closed = {"type": "response.output_item.done", "output_index": index}
        sent.append(event({**closed, "item": item}))
    final = response(request, answer)
    return [*sent, event({"type": f"response.{final['status']}", "response": final})]


def _items(answer: Answer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if answer.reasoning:
        summary = [{"type": "summary_text", "text": answer.reasoning}]
        item = {"type": "reasoning", "id": "rs_wire", "summary": summary}
        items.append({**item, "encrypted_content": "c2VhbGVk", "status": "completed"})
    if answer.text:
        part: dict[str, Any] = {"type": "output_text", "text": answer.text}
        items.append(
            {
                "type": "message",
                "id": "msg_wire",
                "role": "assistant",
                "status": "completed",
                "content": [{**part, "annotations": []}],
            }
        )
    items += [_call(call, index) for index, call in enumerate(answer.calls)]
    return items


def _call(call: Call, index: int) -> dict[str, Any]:
    raw = call.raw if call.raw is not None else json.dumps(dict(call.arguments))
    return {
        "type": "function_call",
        "id": f"fc_wire_{index}",
        "call_id": call.id or f"call_wire_{index}",
        "name": call.name,
        "arguments": raw,
        "status": "completed",
    }


def _emptied(item: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"arguments": "", "content": [], "summary": []}
    return {name: empty.get(name, value) for name, value in item.items()}


def _deltas(item: dict[str, Any], answer: Answer) -> list[tuple[str, str]]:
    match item["type"]:
        case "message":
            pieces = answer.text_pieces
            return [("response.output_text.delta", piece) for piece in pieces]
        case "reasoning":
            return [("response.reasoning_summary_text.delta", answer.reasoning)]
        case _:
            raw: str = item["arguments"]
            half = len(raw) // 2
            kind = "response.function_call_arguments.delta"
            return [(kind, raw[:half]), (kind, raw[half:])]


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
