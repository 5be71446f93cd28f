"""A Chat Completions stream, event by event, as neutral chunks and one completion."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mma_providers.failures import Malformed, Report, Reported
from mma_providers.wire_json import (
    Object,
    child,
    is_object,
    read_arguments,
    read_object,
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
        self.done = False
        self._model = model
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _OpenCall] = {}
        self._finish = ""
        self._refused = False
        self._usage: Usage | None = None
        self._choices = 0

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._texts)

    def take(self, data: bytes) -> Iterator[Chunk]:
        """Read one event's *data* and yield what it adds.

        Raises:
            Malformed: It is not what the interface promises.
            Reported: It is an error.
        """
        if data.startswith(b"[DONE]"):
            self.done = True
            return

        event = read_object(data)
        if event.get("error"):
            raise Reported(error_report(event["error"]))
        try:
            yield from self._take(event)
        except (AttributeError, TypeError, KeyError) as error:
            raise Malformed(
                f"an event of the stream has a wrong shape: {error}"
            ) from error

    def completion(self, request_id: str | None) -> Completion:
        """Return the whole answer.

        Raises:
            Malformed: The stream ended before the answer did.
        """
        if not self._choices:
            raise Malformed("the answer holds no choices")
        if not self._finish:
            raise Malformed("the stream ended without a finish reason")
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
            usage=self._usage,
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

    def _take(self, event: Object) -> Iterator[Chunk]:
        self._model = event.get("model") or self._model
        if event.get("usage"):
            self._usage = _usage(event["usage"])
        for choice in event.get("choices") or ():
            self._choices += 1
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta")
            if delta:
                yield from self._take_delta(delta)

    def _take_delta(self, delta: Object) -> Iterator[Chunk]:
        text = delta.get("content")
        if text:
            self._texts.append(text)
            yield TextDelta(text)
            if len(delta) == 1:
                return

        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought:
            self._reasoning.append(thought)
            yield ReasoningDelta(thought)
        refusal = delta.get("refusal")
        if refusal:
            self._refused = True
            self._texts.append(refusal)
            yield TextDelta(refusal)
        for position, fragment in enumerate(delta.get("tool_calls") or ()):
            yield self._take_call(fragment, position)

    def _take_call(self, fragment: Object, position: int) -> ToolCallDelta:
        index = fragment.get("index")
        if index is None:
            index = position
        function = child(fragment, "function")
        call = self._calls.get(index)
        if call is None:
            identifier = fragment.get("id") or f"call_{index}"
            call = self._calls[index] = _OpenCall(
                identifier, function.get("name") or ""
            )
        piece = function.get("arguments") or ""
        call.fragments.append(piece)
        return ToolCallDelta(index, call.id, call.name, piece)


def error_report(error: Any, *, status: int | None = None) -> Report:
    """Return what the `error` member of an OpenAI answer says."""
    if not is_object(error):
        return Report(message=str(error), status=status)
    code = error.get("code")
    kind = error.get("type")
    if isinstance(code, int) or (isinstance(code, str) and code.isdigit()):
        status, code = status or int(code), None
    return Report(
        message=str(error.get("message") or "no message"),
        status=status,
        code=code if isinstance(code, str) else None,
        kind=kind if isinstance(kind, str) else None,
    )


def _usage(usage: Object) -> Usage:
    of_prompt = child(usage, "prompt_tokens_details")
    of_output = child(usage, "completion_tokens_details")
    return Usage(
        input=usage.get("prompt_tokens") or 0,
        output=usage.get("completion_tokens") or 0,
        cache_read=of_prompt.get("cached_tokens") or 0,
        cache_write=of_prompt.get("cache_write_tokens") or 0,
        reasoning=of_output.get("reasoning_tokens") or 0,
    )
