"""An answer of Gemini's generateContent as neutral chunks and one completion."""

import json
from typing import Any

from mma_providers.content_request import SIGNATURE, STATE
from mma_providers.failures import Malformed, Report, Reported
from mma_providers.google_error import google_report
from mma_providers.wire_json import Object, child, count, read_object, string, word
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
    "STOP": Finish.STOP,
    "MAX_TOKENS": Finish.LENGTH,
    "CONTINUATION": Finish.LENGTH,
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "LANGUAGE",
            "IMAGE_SAFETY",
        ),
        Finish.CONTENT_FILTER,
    ),
}
_BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
    }
)


class ContentAnswer:
    """Collects one answer; *first_call* numbers the calls that come without an id."""

    done = False  # No event says that the stream is over; it just ends.

    def __init__(self, model: str, *, first_call: int) -> None:
        self._model = model
        self._first_call = first_call
        self._parts: list[Text | Reasoning | ToolCall] = []
        self._open: list[str] = []
        self._thinking = False
        self._calls = 0
        self._candidates = 0
        self._finish = ""
        self._counts: Object = {}
        self.usage: Usage | None = None
        self._response_id: str | None = None

    @property
    def text(self) -> str:
        """What has come so far."""
        closed = (part.text for part in self._parts if isinstance(part, Text))
        return "".join(closed) + ("" if self._thinking else "".join(self._open))

    def take(self, event: bytes) -> list[Chunk]:
        """Read an event and return what it adds."""
        return self.take_whole(read_object(event))

    def take_whole(self, body: Object) -> list[Chunk]:
        """Read a response; each event of a stream is one, with new parts."""
        if "error" in body:
            raise Reported(google_report(body, None))
        self._model = word(body, "modelVersion") or self._model
        self._response_id = word(body, "responseId") or self._response_id
        usage = body.get("usageMetadata")
        if usage:
            self._counts |= usage
            self.usage = _usage(self._counts)
        blocked = child(body, "promptFeedback").get("blockReason")
        if blocked:
            message = f"the prompt was blocked: {blocked}"
            raise Reported(Report(message=message, code="blocked_prompt"))

        added: list[Chunk] = []
        for candidate in body.get("candidates") or ():
            self._candidates += 1
            self._finish = word(candidate, "finishReason") or self._finish
            content = candidate.get("content")
            for part in (content.get("parts") if content else None) or ():
                self._take_part(part, added)
        return added

    def completion(self, request_id: str | None) -> Completion:
        """Return the whole answer."""
        if not self._candidates:
            raise Malformed("the answer holds no candidates")
        if not self._finish:
            raise Malformed("the answer ended without a finish reason")
        if self._finish in _BROKEN:
            raise Malformed(f"the model broke its own answer off: {self._finish}")

        self._close(None)
        turn = AssistantTurn(tuple(self._parts))
        finish = _FINISH.get(self._finish, Finish.STOP)
        if finish is Finish.STOP and turn.tool_calls:
            finish = Finish.TOOL_CALLS
        return Completion(
            turn=turn,
            finish=finish,
            usage=self.usage,
            model=self._model,
            raw_finish=self._finish,
            request_id=request_id or self._response_id,
        )

    def _take_part(self, part: Object, added: list[Chunk]) -> None:
        signature = part.get(SIGNATURE)
        call = part.get("functionCall")
        if call is not None:
            self._close(None)
            added.append(self._take_call(call, signature))
            return

        text = word(part, "text")
        thought = bool(part.get("thought"))
        if thought != self._thinking:
            self._close(None)
            self._thinking = thought
        if text:
            self._open.append(text)
            added.append(ReasoningDelta(text) if thought else TextDelta(text))
        if signature is not None:
            self._close(ProviderState(STATE, {SIGNATURE: signature}))

    def _take_call(self, call: Object, signature: Any) -> ToolCallDelta:
        index = self._calls
        self._calls += 1
        given = call.get("id")
        data: Object = {}
        if given:
            data["id"] = given
        if signature is not None:
            data[SIGNATURE] = signature
        arguments = child(call, "args")
        identifier = string(given or f"call_{self._first_call}_{index}")
        raw = json.dumps(arguments)
        state = ProviderState(STATE, data) if data else None
        name = string(call["name"])
        self._parts.append(ToolCall(identifier, name, arguments, raw, state))
        return ToolCallDelta(index, identifier, name, raw)

    def _close(self, state: ProviderState | None) -> None:
        """End the run of text that is open; a signature belongs to what it ends."""
        text = "".join(self._open)
        self._open.clear()
        if not text and state is None:
            return

        kind = Reasoning if self._thinking else Text
        self._parts.append(kind(text, state))


def _usage(usage: Object) -> Usage:
    """Return the tokens with the thoughts in the output; they come apart here."""
    thoughts = count(usage, "thoughtsTokenCount")
    return Usage(
        input=count(usage, "promptTokenCount")
        + count(usage, "toolUsePromptTokenCount"),
        output=count(usage, "candidatesTokenCount") + thoughts,
        cache_read=count(usage, "cachedContentTokenCount"),
        reasoning=thoughts,
    )
