"""A provider that passes everything on and keeps what was asked."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from mma_runtime import Provider
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Image,
    ToolTurn,
)
from mma_runtime.llm.provider import Capabilities, ModelInfo
from mma_runtime.llm.usage import Usage


class RecordingProvider:
    """Stands before another provider, under its name."""

    def __init__(self, inner: Provider) -> None:
        self.requests: list[ChatRequest] = []
        self._inner = inner

    @property
    def name(self) -> str:
        return self._inner.name

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Usage | Completion, None]:
        self.requests.append(request)
        async with aclosing(self._inner.stream(request)) as stream:
            async for chunk in stream:
                yield chunk

    async def models(self) -> tuple[ModelInfo, ...]:
        return await self._inner.models()

    def capabilities(self, model: str) -> Capabilities:
        return self._inner.capabilities(model)

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        return self._inner.priced_as(model)

    async def aclose(self) -> None:
        await self._inner.aclose()


def everything_told(request: ChatRequest) -> str:
    """Return all text that reaches the model: the system prompt and every turn."""
    texts = [request.system]
    for turn in request.turns:
        match turn:
            case ToolTurn(results):
                parts = [part for result in results for part in result.content]
                texts += [part.text for part in parts if not isinstance(part, Image)]
            case AssistantTurn():
                texts += [turn.text, *(call.raw for call in turn.tool_calls)]
            case _:
                texts += [p.text for p in turn.parts if not isinstance(p, Image)]

    return "\n".join(texts)
