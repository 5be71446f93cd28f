"""An answer of Anthropic's Messages as neutral chunks and one completion."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from mma_providers.failures import Malformed, Report, Reported
from mma_providers.messages_request import ANSWER_TOOL, STATE
from mma_providers.wire_json import (
    Object,
    child,
    count,
    is_object,
    place,
    read_arguments,
    read_object,
    string,
    word,
)
from mma_runtime.llm.chat import (
    AssistantTurn,
    Chunk,
    Completion,
    Finish,
    ProviderState,
    Reasoning,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from mma_runtime.llm.usage import Usage

_FINISH = {
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "pause_turn": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "tool_use": Finish.TOOL_CALLS,
    "refusal": Finish.CONTENT_FILTER,
}


@dataclass(slots=True)
class _Block:
    kind: str
    data: Object
    pieces: list[str] = field(default_factory=list[str])
    signature: str = ""


class MessagesAnswer:
    """Collects one answer; *by_tool* reads the answer tool's input as the text."""

    def __init__(self, model: str, *, by_tool: bool = False) -> None:
        self.done: bool = False
        self._model = model
        self._by_tool = by_tool
        self._blocks: dict[int, _Block] = {}
        self._finish = ""
        self._counts: Object = {}
        self.usage: Usage | None = None

    @property
    def text(self) -> str:
        """What has come so far."""
        blocks = self._blocks.values()
        return "".join("".join(b.pieces) for b in blocks if self._is_text(b))

    def take(self, event: bytes) -> list[Chunk]:
        """Read an event and return what it adds."""
        body = read_object(event)
        match body.get("type"):
            case "content_block_delta":
                return self._grow(place(body["index"]), body["delta"])
            case "content_block_start":
                return self._open(place(body["index"]), body["content_block"])
            case "message_start":
                message = body["message"]
                self._model = word(message, "model") or self._model
                self._count(message.get("usage"))
                if self.usage is not None:
                    # Its output is only the beginning, whatever will be thought.
                    self.usage = replace(self.usage, output=0, reasoning=0)
            case "message_delta":
                self._finish = word(body["delta"], "stop_reason") or self._finish
                self._count(body.get("usage"))
            case "message_stop":
                self.done = True
            case "error":
                raise Reported(messages_report(body, None))
            case _:
                # Pings, ends of blocks, and what may come to be.
                pass
        return []

    def take_whole(self, body: Object) -> list[Chunk]:
        """Read an answer that was not streamed."""
        self._model = word(body, "model") or self._model
        self._finish = word(body, "stop_reason")
        self._count(body.get("usage"))
        added: list[Chunk] = []
        for index, block in enumerate(body.get("content") or ()):
            added += self._open(index, block)
            if block["type"] == "tool_use":
                raw = json.dumps(block.get("input") or {})
                added += self._grow(
                    index, {"type": "input_json_delta", "partial_json": raw}
                )
        return added

    def completion(self, request_id: str | None) -> Completion:
        """Return the whole answer."""
        if not self._finish:
            raise Malformed("the answer ended without a stop reason")
        if self._finish == "model_context_window_exceeded":
            raise Reported(
                Report(message="the answer reached its end", code=self._finish)
            )

        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        parts = [part for block in blocks if (part := self._part(block)) is not None]
        turn = AssistantTurn(tuple(parts))
        finish = _FINISH.get(self._finish, Finish.STOP)
        if finish is Finish.TOOL_CALLS and not turn.tool_calls:
            finish = Finish.STOP
        return Completion(
            turn=turn,
            finish=finish,
            usage=_usage(self._counts) if self._counts else None,
            model=self._model,
            raw_finish=self._finish,
            request_id=request_id,
        )

    def _is_text(self, block: _Block) -> bool:
        return block.kind == "text" or self._is_answer(block)

    def _is_answer(self, block: _Block) -> bool:
        return (
            self._by_tool
            and block.kind == "tool_use"
            and block.data.get("name") == ANSWER_TOOL
        )

    def _open(self, index: int, data: Object) -> list[Chunk]:
        block = _Block(kind=string(data["type"]), data=data)
        self._blocks[index] = block
        match block.kind:
            case "text" if data.get("text"):
                return self._grow(index, {"type": "text_delta", **_only(data, "text")})
            case "thinking":
                block.signature = word(data, "signature")
                if data.get("thinking"):
                    delta = {"type": "thinking_delta", **_only(data, "thinking")}
                    return self._grow(index, delta)
            case "tool_use" if not self._is_answer(block):
                call, name = string(data["id"]), string(data["name"])
                return [ToolCallDelta(index, call, name, "")]
            case _:
                pass
        return []

    def _grow(self, index: int, delta: Object) -> list[Chunk]:
        block = self._blocks[index]
        match delta.get("type"):
            case "text_delta":
                text = string(delta["text"])
                block.pieces.append(text)
                return [TextDelta(text)]
            case "input_json_delta":
                piece = string(delta["partial_json"])
                if not piece:
                    return []
                block.pieces.append(piece)
                if self._is_answer(block):
                    return [TextDelta(piece)]
                data = block.data
                return [ToolCallDelta(index, data["id"], data["name"], piece)]
            case "thinking_delta":
                thought = string(delta["thinking"])
                block.pieces.append(thought)
                return [ReasoningDelta(thought)]
            case "signature_delta":
                block.signature += string(delta["signature"])
            case _:
                # Citations, and what may come to be.
                pass
        return []

    def _part(self, block: _Block) -> Text | Reasoning | ToolCall | None:
        content = "".join(block.pieces)
        if self._is_text(block):
            return Text(content) if content else None

        match block.kind:
            case "thinking":
                data = {
                    "type": "thinking",
                    "thinking": content,
                    "signature": block.signature,
                }
                return Reasoning(content, ProviderState(STATE, data))
            case "redacted_thinking":
                return Reasoning("", ProviderState(STATE, block.data))
            case "tool_use":
                arguments = read_arguments(content)
                return ToolCall(
                    block.data["id"], block.data["name"], arguments, content
                )
            case _:
                return None

    def _count(self, usage: Any) -> None:
        # What comes later is cumulative and may leave out what has not changed.
        if is_object(usage):
            known = {name: value for name, value in usage.items() if value is not None}
            self._counts |= known
            self.usage = _usage(self._counts)


def messages_report(body: Object, status: int | None) -> Report:
    """Return what the body of an error says."""
    error = child(body, "error")
    code = child(error, "details").get("error_code")
    kind = error.get("type")
    request_id = body.get("request_id")
    return Report(
        message=str(error.get("message") or "no message"),
        status=status,
        code=code if isinstance(code, str) else None,
        kind=kind if isinstance(kind, str) else None,
        request_id=request_id if isinstance(request_id, str) else None,
    )


def _only(data: Object, name: str) -> Object:
    return {name: data[name]}


def _usage(usage: Object) -> Usage:
    """Return the tokens with the cached ones in the input; they come apart here."""
    read = count(usage, "cache_read_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    by_ttl = child(usage, "cache_creation")
    return Usage(
        input=count(usage, "input_tokens") + read + written,
        output=count(usage, "output_tokens"),
        cache_read=read,
        cache_write=written,
        cache_write_1h=count(by_ttl, "ephemeral_1h_input_tokens"),
        reasoning=count(child(usage, "output_tokens_details"), "thinking_tokens"),
    )
