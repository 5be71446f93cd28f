"""What every provider promises, as a test that its author can run."""

from collections.abc import Callable
from contextlib import aclosing

import anyio
import anyio.lowlevel

from mma_runtime.llm.chat import (
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    TextDelta,
    ToolCallDelta,
)
from mma_runtime.llm.provider import Provider
from mma_runtime.llm.usage import Usage


async def provider_contract(make: Callable[[], Provider], request: ChatRequest) -> None:
    """Check that a provider keeps the promises of `Provider`; for your own tests.

    *make* returns a fresh provider, *request* is one that it can answer, again and
    again. Run it on asyncio and on trio. If cancelled, the provider is closed.

    Raises:
        AssertionError: A promise is broken; says which.
    """
    provider = make()
    try:
        chunks, completion = await _answered(provider, request)
        _check_chunks(chunks, completion)
        _check_completion(completion)
        await _check_early_leave(provider, request)
        await _check_cancellation(provider, request)
        again = (await _answered(provider, request))[1]
        _expect(again.finish == completion.finish, "calls do not disturb later ones")
        _check_words(provider, request.model)
        listed = await provider.models()
        ids = [model.id for model in listed]
        _expect(len(set(ids)) == len(ids), "models are listed once")
    finally:
        await provider.aclose()
        await provider.aclose()


async def _answered(
    provider: Provider, request: ChatRequest
) -> tuple[list[Chunk], Completion]:
    chunks: list[Chunk] = []
    completions: list[Completion] = []
    async with aclosing(provider.stream(request)) as stream:
        async for item in stream:
            _expect(not completions, "nothing comes after the completion")
            if isinstance(item, Completion):
                completions.append(item)
            elif isinstance(item, Usage):
                _check_usage(item)
            else:
                chunks.append(item)
    _expect(len(completions) == 1, "a stream ends in one completion")
    return chunks, completions[0]


def _check_chunks(chunks: list[Chunk], completion: Completion) -> None:
    text = "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta))
    _expect(text == completion.turn.text, "text chunks make up the completion's text")
    raw: dict[str, str] = {}
    for chunk in chunks:
        if isinstance(chunk, ToolCallDelta):
            raw[chunk.id] = raw.get(chunk.id, "") + chunk.fragment
    called = {call.id: call.raw for call in completion.turn.tool_calls}
    _expect(raw == called, "fragments make up the completion's tool calls")


def _check_completion(completion: Completion) -> None:
    calls = completion.turn.tool_calls
    ids = {call.id for call in calls}
    _expect(
        len(ids) == len(calls) and "" not in ids, "tool calls have ids of their own"
    )
    if completion.finish is Finish.TOOL_CALLS:
        _expect(bool(calls), "an answer that ends in tool calls holds some")
    if completion.usage is not None:
        _check_usage(completion.usage)


def _check_usage(usage: Usage) -> None:
    _expect(
        usage.cache_read + usage.cache_write <= usage.input,
        "cached tokens are part of the input",
    )
    _expect(usage.reasoning <= usage.output, "reasoning is part of the output")


async def _check_early_leave(provider: Provider, request: ChatRequest) -> None:
    async with aclosing(provider.stream(request)) as stream:
        async for _ in stream:
            break


async def _check_cancellation(provider: Provider, request: ChatRequest) -> None:
    with anyio.CancelScope() as scope:
        async with aclosing(provider.stream(request)) as stream:
            async for _ in stream:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    _expect(scope.cancelled_caught, "cancellation is never caught")


def _check_words(provider: Provider, model: str) -> None:
    _expect(bool(provider.name), "a provider has a name")
    _expect(len(provider.priced_as(model)) == 3, "a model is priced as some model")  # noqa: PLR2004 - its arity
    provider.capabilities(model)


def _expect(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(f"broken promise of Provider: {promise}")
