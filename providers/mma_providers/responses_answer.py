"""An answer of OpenAI's Responses as neutral chunks and one completion."""

from mma_providers.failures import Malformed, Reported
from mma_providers.openai_error import error_report
from mma_providers.responses_request import STATE
from mma_providers.wire_json import (
    Object,
    child,
    count,
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

_TEXT = frozenset({"response.output_text.delta", "response.refusal.delta"})
_REASONING = frozenset(
    {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
)
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_FINISH = {
    "max_output_tokens": Finish.LENGTH,
    "content_filter": Finish.CONTENT_FILTER,
}


class ResponsesAnswer:
    """Collects one answer; the last event holds it whole."""

    def __init__(self, model: str) -> None:
        self.done: bool = False
        self.usage: Usage | None = None
        self._model = model
        self._texts: list[str] = []
        self._calls: dict[int, Object] = {}
        self._items: list[Object] = []
        self._response: Object = {}

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._texts)

    def take(self, event: bytes) -> list[Chunk]:
        """Read an event and return what it adds."""
        body = read_object(event)
        kind = string(body.get("type"))
        if kind in _TEXT:
            text = string(body["delta"])
            self._texts.append(text)
            return [TextDelta(text)] if text else []
        if kind in _REASONING:
            return [ReasoningDelta(string(body["delta"]))]
        if kind == "response.function_call_arguments.delta":
            index = place(body["output_index"])
            return [self._fragment(index, self._calls[index], body["delta"])]
        if kind == "response.output_item.added":
            item = body["item"]
            if item["type"] == "function_call":
                index = place(body["output_index"])
                self._calls[index] = item
                return [self._fragment(index, item, "")]
        elif kind == "response.output_item.done":
            self._items.append(body["item"])
        elif kind == "error":
            raise Reported(error_report(body.get("error") or {**body, "type": None}))
        elif kind in _ENDS:
            self._end(body["response"])
            self.done = True
        return []

    def take_whole(self, body: Object) -> list[Chunk]:
        """Read an answer that was not streamed."""
        self._end(body)
        added: list[Chunk] = []
        items: list[Object] = body.get("output") or []
        for index, item in enumerate(items):
            match item["type"]:
                case "function_call":
                    added.append(self._fragment(index, item, item["arguments"]))
                case "message":
                    added += [TextDelta(text) for text in _texts(item)]
                case "reasoning":
                    thought = _thought(item)
                    added += [ReasoningDelta(thought)] if thought else []
                case _:
                    # Items of hosted tools, which are never asked for.
                    pass
        return added

    def completion(self, request_id: str | None) -> Completion:
        """Return the whole answer."""
        response = self._response
        status = word(response, "status")
        if not status:
            raise Malformed("the answer ended without a final response")
        if response.get("error") or status == "failed":
            raise Reported(error_report(response.get("error") or {}))
        if status not in {"completed", "incomplete"}:
            raise Malformed(f"the answer ended with status {status!r}")

        items = response.get("output") or self._items
        turn = AssistantTurn(tuple(part for item in items for part in _parts(item)))
        reason = word(child(response, "incomplete_details"), "reason")
        return Completion(
            turn=turn,
            finish=self._finish(status, reason, turn, items),
            usage=self.usage,
            model=word(response, "model") or self._model,
            raw_finish=reason or status,
            request_id=request_id,
        )

    def _end(self, response: Object) -> None:
        self._response = response
        if response.get("usage"):
            self.usage = _usage(response["usage"])

    def _finish(
        self, status: str, reason: str, turn: AssistantTurn, items: list[Object]
    ) -> Finish:
        if status == "incomplete":
            return _FINISH.get(reason, Finish.LENGTH)
        if any(_refuses(item) for item in items):
            return Finish.CONTENT_FILTER
        return Finish.TOOL_CALLS if turn.tool_calls else Finish.STOP

    def _fragment(self, index: int, item: Object, piece: object) -> ToolCallDelta:
        return ToolCallDelta(
            index, string(item["call_id"]), string(item["name"]), string(piece)
        )


def _parts(item: Object) -> list[Text | Reasoning | ToolCall]:
    match item.get("type"):
        case "message":
            text = "".join(_texts(item))
            return [Text(text)] if text else []
        case "function_call":
            raw = string(item["arguments"])
            call_id, name = string(item["call_id"]), string(item["name"])
            return [ToolCall(call_id, name, read_arguments(raw), raw)]
        case "reasoning":
            kept = {name: value for name, value in item.items() if name != "status"}
            return [Reasoning(_thought(item), ProviderState(STATE, kept))]
        case _:
            return []


def _texts(item: Object) -> list[str]:
    return [
        string(part.get("text") or part.get("refusal") or "")
        for part in item.get("content") or ()
    ]


def _thought(item: Object) -> str:
    parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    return "\n".join(string(part["text"]) for part in parts)


def _refuses(item: Object) -> bool:
    return any(part.get("type") == "refusal" for part in item.get("content") or ())


def _usage(usage: Object) -> Usage:
    of_input = child(usage, "input_tokens_details")
    of_output = child(usage, "output_tokens_details")
    return Usage(
        input=count(usage, "input_tokens"),
        output=count(usage, "output_tokens"),
        cache_read=count(of_input, "cached_tokens"),
        cache_write=count(of_input, "cache_write_tokens"),
        reasoning=count(of_output, "reasoning_tokens"),
    )
