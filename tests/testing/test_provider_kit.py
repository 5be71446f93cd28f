"""The doubles and the contract that users test their own providers with."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mma_providers.script import Reply, Script, ScriptedCall, ScriptedUsage
from mma_providers.scripted import ScriptedProvider
from mma_runtime.errors import ProviderFacts, RateLimited
from mma_runtime.events import Origin
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
    user,
)
from mma_runtime.llm.usage import Usage
from mma_runtime.testing import (
    FunctionProvider,
    RequestForbidden,
    forbid_requests,
    provider_contract,
)

REQUEST = ChatRequest(
    model="m", system="", turns=(user("Hi"),), origin=Origin(tier="worker")
)
TURN = AssistantTurn(
    (Reasoning("hm"), Text("Hello"), ToolCall("c", "f", {"a": 1}, '{"a": 1}'))
)


async def items(provider: FunctionProvider) -> list[Chunk | Usage | Completion]:
    async with aclosing(provider.stream(REQUEST)) as stream:
        return [item async for item in stream]


async def test_a_function_answers_with_a_text_a_turn_or_a_completion() -> None:
    completion = Completion(turn=TURN, finish=Finish.STOP, usage=None, model="own")

    async def later(request: ChatRequest) -> AssistantTurn:
        return TURN

    text = FunctionProvider(lambda request: request.model)
    turn = FunctionProvider(later)
    whole = FunctionProvider(lambda _: completion)

    *chunks, last = await items(text)
    assert chunks == [TextDelta("m")]
    assert isinstance(last, Completion)
    assert last.usage == Usage(input=10, output=5)
    assert text.requests == [REQUEST]

    *chunks, last = await items(turn)
    assert chunks == [
        ReasoningDelta("hm"),
        TextDelta("Hello"),
        ToolCallDelta(0, "c", "f", '{"a": 1}'),
    ]
    assert isinstance(last, Completion)
    assert last.finish is Finish.TOOL_CALLS

    assert (await items(whole))[-1] is completion


async def test_a_function_may_fail_as_a_provider_does() -> None:
    def busy(_: ChatRequest) -> str:
        raise RateLimited("later", ProviderFacts(provider="function"))

    with pytest.raises(RateLimited):
        await items(FunctionProvider(busy))


async def test_the_contract_holds_for_the_doubles() -> None:
    call = ScriptedCall(name="f", arguments={"a": 1})
    usage = ScriptedUsage(input=9, output=5)
    script = Script(
        replies=(Reply(tier="worker", text="x", tool_calls=(call,), usage=usage),)
    )

    await provider_contract(lambda: FunctionProvider(lambda _: TURN), REQUEST)
    await provider_contract(lambda: ScriptedProvider(script), REQUEST)


class Broken(FunctionProvider):
    """Breaks one promise, by name."""

    def __init__(self, promise: str) -> None:
        super().__init__(lambda _: TURN)
        self.promise = promise

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Usage | Completion, None]:
        async with aclosing(super().stream(request)) as stream:
            async for item in stream:
                match item, self.promise:
                    case Completion(), "two completions":
                        yield item
                        yield item
                    case Completion(), "usage":
                        yield replace(item, usage=Usage(input=1, cache_read=2))
                    case (
                        (Completion(), "no completion")
                        | (TextDelta(), "text")
                        | (ToolCallDelta(), "fragments")
                    ):
                        continue
                    case _:
                        yield item


@pytest.mark.parametrize(
    ("promise", "words"),
    [
        ("no completion", "a stream ends in one completion"),
        ("two completions", "nothing comes after the completion"),
        ("usage", "cached tokens are part of the input"),
        ("text", "text chunks make up the completion's text"),
        ("fragments", "fragments make up the completion's tool calls"),
    ],
)
async def test_a_broken_promise_is_named(promise: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        await provider_contract(lambda: Broken(promise), REQUEST)


async def test_no_request_leaves_this_machine() -> None:
    with forbid_requests():
        async with httpx2.AsyncClient() as client:
            with pytest.raises(RequestForbidden, match=r"example\.com"):
                await client.get("http://example.com")
        with httpx2.Client() as sync, pytest.raises(RequestForbidden):
            sync.get("http://example.com")


async def test_the_page_on_providers_shows_one_that_keeps_the_contract() -> None:
    page = Path(__file__).parents[2] / "docs" / "providers.md"
    code = page.read_text("utf-8").split("```python\n")[1].split("```")[0]
    namespace: dict[str, Any] = {"__name__": "echo"}

    exec(compile(code, str(page), "exec"), namespace)  # noqa: S102 - our own page

    assert len(code.splitlines()) <= 40
    asked = replace(REQUEST, system="say it again")
    await provider_contract(namespace["EchoProvider"], asked)
