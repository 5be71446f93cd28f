"""A model whose answers come from a function."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable

from mma_runtime.arguments import check_callable, check_text
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
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
from mma_runtime.llm.provider import Capabilities, ModelInfo
from mma_runtime.llm.usage import Usage

Said = str | AssistantTurn | Completion


class FunctionProvider:
    """A `Provider` whose answers come from a function of the request.

    *function* may be async and may raise one of our errors. A text or a turn that it
    returns counts as a whole answer of 10 tokens in and 5 tokens out. `requests` holds
    what was asked, in order.

    Raises:
        ArgumentInvalid: *function* cannot be called, or *name* is no text.
    """

    def __init__(
        self,
        function: Callable[[ChatRequest], Said | Awaitable[Said]],
        *,
        name: str = "function",
    ) -> None:
        check_callable("function", function, "a function of one request")
        check_text("name", name)
        self.requests: list[ChatRequest] = []
        self._function = function
        self._name = name

    @property
    def name(self) -> str:
        """The name in `provider:model` addresses."""
        return self._name

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Usage | Completion, None]:
        """Yield what the function returns for *request*, part by part.

        Cancellation cancels the function where it waits; `requests` keeps the request.
        """
        self.requests.append(request)
        said = self._function(request)
        if inspect.isawaitable(said):
            said = await said
        completion = _completion(said, request.model)
        calls = 0
        for part in completion.turn.parts:
            match part:
                case Text():
                    yield TextDelta(part.text)
                case Reasoning():
                    yield ReasoningDelta(part.text)
                case ToolCall():
                    yield ToolCallDelta(calls, part.id, part.name, part.raw)
                    calls += 1
        yield completion

    async def models(self) -> tuple[ModelInfo, ...]:
        """List nothing: any model name is taken. Waits for nothing to be cancelled."""
        return ()

    def capabilities(self, model: str) -> Capabilities:  # noqa: ARG002 - Protocol
        """Say that anything may be sent."""
        return Capabilities()

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        """Return the model itself; it is never billed."""
        return self._name, model, False

    async def aclose(self) -> None:
        """Do nothing: there are no connections, and nothing to be cancelled."""


def _completion(said: Said, model: str) -> Completion:
    if isinstance(said, Completion):
        return said

    turn = AssistantTurn((Text(said),)) if isinstance(said, str) else said
    return Completion(
        turn=turn,
        finish=Finish.TOOL_CALLS if turn.tool_calls else Finish.STOP,
        usage=Usage(input=10, output=5),
        model=model,
    )
