"""What users need to test against the runtime, without a network or a key."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from functools import partial
from importlib import import_module
from random import Random
from types import ModuleType
from typing import TypeVar
from unittest.mock import patch

import anyio
import anyio.lowlevel
import httpx2
import trio  # noqa: TID251 - only trio's schedule can be seeded
from trio.testing import MockClock  # noqa: TID251 - time that costs none

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
from mma_runtime.llm.provider import Capabilities, ModelInfo, Provider
from mma_runtime.llm.usage import Usage

Said = str | AssistantTurn | Completion


class FunctionProvider:
    """A `Provider` whose answers come from a function of the request.

    *function* may be async and may raise one of our errors. A text or a turn that it
    returns counts as a whole answer of 10 tokens in and 5 tokens out. `requests` holds
    what was asked, in order.
    """

    def __init__(
        self,
        function: Callable[[ChatRequest], Said | Awaitable[Said]],
        *,
        name: str = "function",
    ) -> None:
        self.requests: list[ChatRequest] = []
        self._function = function
        self._name = name

    @property
    def name(self) -> str:
        """The name in `provider:model` addresses."""
        return self._name

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion, None]:
        """Yield what the function returns for *request*, part by part."""
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
        """List nothing: any model name is taken."""
        return ()

    def capabilities(self, model: str) -> Capabilities:  # noqa: ARG002 - Protocol
        """Say that anything may be sent."""
        return Capabilities()

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        """Return the model itself; it is never billed."""
        return self._name, model, False

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


class RequestForbidden(BaseException):
    """A test would have left this machine; see `forbid_requests`.

    Not an `Exception`: an SDK would make a lost connection of it, and be asked again.
    """


@contextmanager
def forbid_requests() -> Generator[None]:
    """Fail every HTTP request that would leave this machine, while it is entered.

    Covers what goes through httpx2, so every provider that comes with the runtime.

    Raises:
        RequestForbidden: In the test, where the request is made.
    """
    send, send_sync = (
        httpx2.AsyncHTTPTransport.handle_async_request,
        httpx2.HTTPTransport.handle_request,
    )

    async def checked(
        transport: httpx2.AsyncHTTPTransport, request: httpx2.Request
    ) -> httpx2.Response:
        _check_loopback(request.url.host)
        return await send(transport, request)

    def checked_sync(
        transport: httpx2.HTTPTransport, request: httpx2.Request
    ) -> httpx2.Response:
        _check_loopback(request.url.host)
        return send_sync(transport, request)

    with (
        patch.object(httpx2.AsyncHTTPTransport, "handle_async_request", checked),
        patch.object(httpx2.HTTPTransport, "handle_request", checked_sync),
    ):
        yield


async def provider_contract(make: Callable[[], Provider], request: ChatRequest) -> None:
    """Check that a provider keeps the promises of `Provider`; for your own tests.

    *make* returns a fresh provider, *request* is one that it can answer, again and
    again. Run it on asyncio and on trio.

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
    usage = completion.usage
    if usage is not None:
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


def _check_loopback(host: str) -> None:
    if host not in {"127.0.0.1", "::1", "localhost"}:
        raise RequestForbidden(f"a test asked for {host!r}; `forbid_requests` is on")


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


T = TypeVar("T")


def run_seeded(scenario: Callable[[Random], Awaitable[T]], seed: int) -> T:
    """Run *scenario* on trio with a virtual clock, in an order that *seed* decides.

    The same seed repeats the same run exactly; another one lets the tasks that are
    ready run in another order. Time stands still while any task can run, and jumps to
    the next deadline when none can. The scenario gets a source of random numbers that
    hangs on the seed as well. An error that leaves it carries a note with the seed.

    Raises:
        RuntimeError: this release of trio has no hook to seed its schedule.
    """
    clock = MockClock(autojump_threshold=0)
    with seeded_schedule(import_module("trio._core._run"), seed):
        try:
            return anyio.run(
                partial(_await, scenario, Random(seed)),  # noqa: S311 - repeatable
                backend="trio",
                backend_options={"clock": clock},
            )
        except BaseException as error:
            error.add_note(f"seed {seed}: `run_seeded(..., seed={seed})` repeats it")
            raise


async def _await(scenario: Callable[[Random], Awaitable[T]], random: Random) -> T:
    return await scenario(random)


@contextmanager
def seeded_schedule(module: ModuleType, seed: int) -> Generator[None]:
    """Make trio sort what is ready and shuffle it by *seed*.

    That is the hook that Hypothesis uses; *module* is the one that has it.
    """
    random = getattr(module, "_r", None)
    allowed = getattr(module, "_ALLOW_DETERMINISTIC_SCHEDULING", None)
    if not isinstance(random, Random) or not isinstance(allowed, bool):
        raise RuntimeError(  # noqa: TRY004 - not the caller's mistake
            f"trio {trio.__version__} has no hook to seed its schedule; use a release"
            " that mma-runtime is tested with, or mend mma_runtime/testing.py"
        )

    state = random.getstate()
    random.seed(seed)
    vars(module)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    try:
        yield
    finally:
        vars(module)["_ALLOW_DETERMINISTIC_SCHEDULING"] = allowed
        random.setstate(state)
