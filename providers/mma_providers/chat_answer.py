"""A Chat Completions stream, event by event, as neutral chunks and one completion."""

from dataclasses import dataclass, field

from mma_providers.failures import Malformed, Report, Reported
from mma_providers.openai_error import error_report
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
    Reasoning,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from mma_runtime.llm.usage import Usage

_FINISH = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "content_filter": Finish.CONTENT_FILTER,
}


@dataclass(slots=True)
class _OpenCall:
    id: str
    name: str
    fragments: list[str] = field(default_factory=list[str])

    def whole(self) -> ToolCall:
        raw = "".join(self.fragments)
        return ToolCall(self.id, self.name, read_arguments(raw), raw)


class ChatAnswer:
    """Collects one answer; knows when it is whole."""

    def __init__(self, model: str) -> None:
        self.done: bool = False
        self._model = model
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _OpenCall] = {}
        self._finish = ""
        self._refused = False
        self.usage: Usage | None = None
        self._choices = 0

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._texts)

    def take(self, event: bytes) -> list[Chunk]:
        """Read an event and return what it adds."""
        if event.startswith(b"[DONE]"):
            self.done = True
            return []

        body = read_object(event)
        if body.get("error"):
            raise Reported(error_report(body["error"]))
        return self._take(body, "delta")

    def take_whole(self, body: Object) -> list[Chunk]:
        """Read an answer that was not streamed."""
        return self._take(body, "message")

    def completion(self, request_id: str | None) -> Completion:
        """Return the whole answer."""
        if not self._choices:
            raise Malformed("the answer holds no choices")
        if not self._finish:
            raise Malformed("the answer ended without a finish reason")
        if self._finish == "error":
            raise Reported(Report(message="the upstream provider failed"))

        calls = [self._calls[index] for index in sorted(self._calls)]
        parts: list[Text | Reasoning | ToolCall] = []
        if self._reasoning:
            parts.append(Reasoning("".join(self._reasoning)))
        if self._texts:
            parts.append(Text(self.text))
        parts += [call.whole() for call in calls]
        return Completion(
            turn=AssistantTurn(tuple(parts)),
            finish=self._meaning_of_finish(),
            usage=self.usage,
            model=self._model,
            raw_finish=self._finish,
            request_id=request_id,
        )

    def _meaning_of_finish(self) -> Finish:
        finish = _FINISH.get(self._finish, Finish.STOP)
        if self._refused:
            return Finish.CONTENT_FILTER
        if finish is Finish.STOP and self._calls:
            # Some compatible servers say `stop` whatever they ask for.
            return Finish.TOOL_CALLS
        return finish

    def _take(self, body: Object, member: str) -> list[Chunk]:
        added: list[Chunk] = []
        self._model = word(body, "model") or self._model
        if body.get("usage"):
            self.usage = _usage(body["usage"])
        for choice in body.get("choices") or ():
            self._choices += 1
            self._finish = word(choice, "finish_reason") or self._finish
            # Azure leaves it out of an answer that its filter stopped.
            delta = choice.get(member)
            if delta:
                self._take_delta(delta, added)
        return added

    def _take_delta(self, delta: Object, added: list[Chunk]) -> None:
        text = delta.get("content")
        if text:
            self._texts.append(string(text))
            added.append(TextDelta(text))
            if len(delta) == 1:
                return

        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought:
            self._reasoning.append(string(thought))
            added.append(ReasoningDelta(thought))
        refusal = delta.get("refusal")
        if refusal:
            self._refused = True
            self._texts.append(string(refusal))
            added.append(TextDelta(refusal))
        for position, fragment in enumerate(delta.get("tool_calls") or ()):
            added.append(self._take_call(fragment, position))

    def _take_call(self, fragment: Object, position: int) -> ToolCallDelta:
        given = fragment.get("index")
        index = position if given is None else place(given)
        function = child(fragment, "function")
        call = self._calls.get(index)
        if call is None:
            identifier = word(fragment, "id") or f"call_{index}"
            call = self._calls[index] = _OpenCall(identifier, word(function, "name"))
        piece = word(function, "arguments")
        call.fragments.append(piece)
        return ToolCallDelta(index, call.id, call.name, piece)


def _usage(usage: Object) -> Usage:
    of_prompt = child(usage, "prompt_tokens_details")
    of_output = child(usage, "completion_tokens_details")
    return Usage(
        input=count(usage, "prompt_tokens"),
        output=count(usage, "completion_tokens"),
        cache_read=count(of_prompt, "cached_tokens"),
        cache_write=count(of_prompt, "cache_write_tokens"),
        reasoning=count(of_output, "reasoning_tokens"),
    )
