"""The OpenAI client against a loopback server, through the real SDK."""

import json
import pickle
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from mma_providers.openai import OpenAIProvider
from mma_providers.transport import Limits
from mma_runtime.errors import (
    AuthenticationFailed,
    BalanceExhausted,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    ModelNotFound,
    PermissionRefused,
    ProtocolViolated,
    ProviderError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Image,
    Reasoning,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
    ToolSpec,
    ToolTurn,
    UserTurn,
    user,
)
from mma_runtime.llm.usage import Usage
from tests.wire.answers import Answer, Call
from tests.wire.chat_completions import error_reply, event, events, models_reply
from tests.wire.scripted import ScriptedServer
from tests.wire.server import (
    Cut,
    Recorded,
    Reply,
    Silence,
    Step,
    event_reply,
    json_reply,
)

KEY = "sk-test-0123456789"
PNG = Image("image/png", b"\x89PNG")
READ_FILE = ToolSpec(
    name="read_file",
    description="Read a file.",
    parameters={
        "type": "object",
        "properties": {"path": {"type": "string"}},
        "required": ["path"],
        "additionalProperties": False,
    },
)


def ask(model: str = "gpt-4o-mini", **changes: Any) -> ChatRequest:
    asked = ChatRequest(model=model, system="Be brief.", turns=(user("Hi"),))
    return replace(asked, **changes)


@asynccontextmanager
async def opened(
    wire: ScriptedServer, **options: Any
) -> AsyncGenerator[OpenAIProvider]:
    settings: dict[str, Any] = {"api_key": KEY, "base_url": wire.openai_url}
    provider = OpenAIProvider(**(settings | options))
    try:
        yield provider
    finally:
        await provider.aclose()


async def collect(
    provider: OpenAIProvider, request: ChatRequest
) -> tuple[list[Chunk], Completion]:
    chunks: list[Chunk] = []
    async with aclosing(provider.stream(request)) as stream:
        async for item in stream:
            if isinstance(item, Completion):
                return chunks, item
            chunks.append(item)
    raise AssertionError("the stream ended without a completion")


async def failure(wire: ScriptedServer, reply: Reply, **options: Any) -> ProviderError:
    wire.say(reply)
    async with opened(wire, **options) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, ask())
    return caught.value


def chat_request() -> Recorded:
    wanted = {"model": "gpt-4o-mini", "stream_options": {"include_usage": True}}
    raw = json.dumps(wanted).encode()
    return Recorded(method="POST", path="", query="", headers={}, raw=raw)


async def test_text_streams_and_ends_in_one_completion(wire: ScriptedServer) -> None:
    wire.say(Answer(text="Hello, world", input_tokens=20, cached_tokens=8))

    async with opened(wire) as provider:
        chunks, completion = await collect(provider, ask())

    assert chunks == [TextDelta("Hell"), TextDelta("o, w"), TextDelta("orld")]
    assert completion == Completion(
        turn=AssistantTurn((Text("Hello, world"),)),
        finish=Finish.STOP,
        usage=Usage(input=20, output=5, cache_read=8),
        model="gpt-4o-mini",
        raw_finish="stop",
        request_id="req_wire",
    )


async def test_the_request_says_what_was_asked_and_no_more(
    wire: ScriptedServer,
) -> None:
    wire.say(Answer(text="ok"))

    async with opened(wire) as provider:
        await collect(
            provider,
            ask(
                tools=(READ_FILE,),
                tool_choice=ToolChoice.REQUIRED,
                temperature=0.5,
                max_output_tokens=100,
            ),
        )

    (request,) = wire.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 100,
        "temperature": 0.5,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "read_file",
                    "description": "Read a file.",
                    "parameters": READ_FILE.parameters,
                    "strict": True,
                },
            }
        ],
        "tool_choice": "required",
    }


async def test_parallel_tool_calls_come_whole_and_in_order(
    wire: ScriptedServer,
) -> None:
    wire.say(
        Answer(
            calls=(
                Call(name="read_file", arguments={"path": "a.py"}),
                Call(name="read_file", raw='{"path": '),
            )
        )
    )

    async with opened(wire) as provider:
        chunks, completion = await collect(provider, ask(tools=(READ_FILE,)))

    assert completion.finish is Finish.TOOL_CALLS
    assert completion.turn.tool_calls == (
        ToolCall("call_wire_0", "read_file", {"path": "a.py"}, '{"path": "a.py"}'),
        ToolCall("call_wire_1", "read_file", None, '{"path": '),
    )
    fragments = [c.fragment for c in chunks if isinstance(c, ToolCallDelta)]
    assert "".join(fragments) == '{"path": "a.py"}{"path": '


async def test_history_goes_back_as_chat_messages(wire: ScriptedServer) -> None:
    wire.say(Answer(text="ok"))
    call = ToolCall("c1", "read_file", {"path": "a"}, '{"path": "a"}')
    broken = ToolCall("c2", "read_file", None, "{")
    turns = (
        UserTurn((Text("Look"), PNG)),
        AssistantTurn((Reasoning("hm"), Text("I read."), call, broken)),
        ToolTurn(
            (
                ToolResult("c1", "read_file", (PNG,)),
                ToolResult("c2", "read_file", (Text("no JSON"),), is_error=True),
            )
        ),
    )

    async with opened(wire) as provider:
        await collect(provider, ask(system="", turns=turns))

    url = "data:image/png;base64,iVBORw=="
    image = {"type": "image_url", "image_url": {"url": url}}
    assert wire.requests[0].body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Look"}, image]},
        {
            "role": "assistant",
            "content": "I read.",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "read_file", "arguments": '{"path": "a"}'},
                },
                {
                    "id": "c2",
                    "type": "function",
                    "function": {
                        "name": "read_file",
                        "arguments": '{"invalid_json": "{"}',
                    },
                },
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "The image follows."},
        {"role": "tool", "tool_call_id": "c2", "content": "Error: no JSON"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "The result of read_file (c1):"},
                image,
            ],
        },
    ]


async def test_a_reasoning_model_gets_only_what_it_takes(wire: ScriptedServer) -> None:
    wire.say(Answer(text="ok", reasoning_tokens=3))

    async with opened(wire) as provider:
        _, completion = await collect(
            provider,
            ask("o3-mini", temperature=0, max_output_tokens=9, reasoning_effort="low"),
        )

    body = wire.requests[0].body
    assert body["messages"][0]["role"] == "developer"
    assert "temperature" not in body
    assert body["max_completion_tokens"] == 9
    assert body["reasoning_effort"] == "low"
    assert completion.usage == Usage(input=10, output=5, reasoning=3)


async def test_an_image_for_a_text_model_is_refused_before_the_call(
    wire: ScriptedServer,
) -> None:
    async with opened(wire) as provider:
        with pytest.raises(RequestRejected, match="takes no images"):
            await collect(provider, ask("o3-mini", turns=(UserTurn((PNG,)),)))

    assert wire.requests == []


async def test_structured_output_is_asked_for_by_schema(wire: ScriptedServer) -> None:
    wire.say(Answer(text='{"ok": true}'))
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}

    async with opened(wire) as provider:
        await collect(provider, ask(response_schema=schema))

    assert wire.requests[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": False},
    }


async def test_a_refusal_ends_as_content_filter_with_its_text(
    wire: ScriptedServer,
) -> None:
    frame = {"model": "gpt-4o-mini"}
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"refusal": "I will not."}, None),
        ({}, "stop"),
    ]
    wire.say(
        event_reply(
            event({**frame, "choices": [{"delta": delta, "finish_reason": finish}]})
            for delta, finish in deltas
        )
    )

    async with opened(wire) as provider:
        _, completion = await collect(provider, ask())

    assert completion.finish is Finish.CONTENT_FILTER
    assert completion.turn.text == "I will not."
    assert completion.usage is None


@pytest.mark.parametrize("size", [1, 2, 7, 64])
async def test_any_split_of_the_bytes_gives_the_same_answer(
    wire: ScriptedServer, size: int
) -> None:
    answer = Answer(text="Grüße, 世界", calls=(Call(name="read_file"),))
    wire.say(event_reply([b"".join(events(chat_request(), answer))]).split(size))

    async with opened(wire) as provider:
        _, completion = await collect(provider, ask())

    assert completion.turn.text == "Grüße, 世界"
    assert completion.turn.tool_calls[0].arguments == {}


@pytest.mark.parametrize(
    ("reply", "expected", "retryable"),
    [
        (error_reply(400), RequestRejected, False),
        (error_reply(400, code="unsupported_parameter"), RequestRejected, False),
        (error_reply(400, code="context_length_exceeded"), ContextTooLong, False),
        (
            error_reply(400, message="maximum context length is 4096 tokens"),
            ContextTooLong,
            False,
        ),
        (error_reply(400, code="content_filter"), ContentFiltered, False),
        (error_reply(401, code="invalid_api_key"), AuthenticationFailed, False),
        (error_reply(402), BalanceExhausted, False),
        (error_reply(403), PermissionRefused, False),
        (error_reply(404, code="model_not_found"), ModelNotFound, False),
        (error_reply(408), ProviderTimedOut, True),
        (error_reply(409), ProviderFailed, True),
        (error_reply(422), RequestRejected, False),
        (error_reply(429, code="rate_limit_exceeded"), RateLimited, True),
        (error_reply(429, code="insufficient_quota"), QuotaExhausted, False),
        (error_reply(429, kind="insufficient_quota"), QuotaExhausted, False),
        (error_reply(429, code="billing_hard_limit_reached"), BalanceExhausted, False),
        (error_reply(429, code="org_spend_limit_exceeded"), BalanceExhausted, False),
        (error_reply(500), ProviderFailed, True),
        (error_reply(503), ProviderOverloaded, True),
        (error_reply(529), ProviderOverloaded, True),
        (Reply(status=502, body=(b"<html>bad</html>",)), ProviderFailed, True),
        (Reply(before=(Cut(),)), ConnectionFailed, True),
        (json_reply({}), ProtocolViolated, True),
        (
            json_reply({"error": {"message": "x", "code": "invalid_api_key"}}),
            AuthenticationFailed,
            False,
        ),
        (
            Reply(headers={"content-type": "application/json"}, body=(b"{oops",)),
            ProtocolViolated,
            True,
        ),
        (
            Reply(headers={"content-type": "text/html"}, body=(b"<p>hello",)),
            ProtocolViolated,
            True,
        ),
        (Reply(body=(b"plain words",)), ProtocolViolated, True),
        (Reply(), ProtocolViolated, True),
        (event_reply([b"data: {broken\n\n"]), ProtocolViolated, True),
        (event_reply([event([1])]), ProtocolViolated, True),
        (event_reply([event({"choices": [3]})]), ProtocolViolated, True),
        (
            event_reply([event({"choices": []}), b"data: [DONE]\n\n"]),
            ProtocolViolated,
            True,
        ),
    ],
)
async def test_each_error_has_its_meaning(
    wire: ScriptedServer, reply: Reply, expected: type[ProviderError], retryable: bool
) -> None:
    error = await failure(wire, reply)

    assert type(error) is expected
    assert error.retryable is retryable
    assert error.facts.provider == "openai"
    assert error.facts.model == "gpt-4o-mini"
    assert type(pickle.loads(pickle.dumps(error))) is expected  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([event({"error": {"message": "m", "code": "server_error"}})], ProviderFailed),
        ([event({"error": {"message": "m", "type": "overloaded"}})], ProviderFailed),
        ([event({"error": {"message": "m", "code": 429}})], RateLimited),
        ([event({"error": "overloaded, come back"})], ProviderOverloaded),
        ([Cut()], ConnectionFailed),
        ([], ProtocolViolated),
        ([b"data: [DONE]\n\n"], ProtocolViolated),
        ([b'data: {"choices": [{"del'], ProtocolViolated),
    ],
)
async def test_an_error_inside_a_stream_keeps_what_had_come(
    wire: ScriptedServer, last: list[Step], expected: type[ProviderError]
) -> None:
    begun = events(chat_request(), Answer(text="partial"))[:4]

    error = await failure(wire, event_reply([*begun, *last]))

    assert type(error) is expected
    assert error.facts.in_stream
    assert error.facts.partial_text == "partial"


async def test_the_server_says_how_long_to_wait(wire: ScriptedServer) -> None:
    headers = {"retry-after": "7"}
    error = await failure(wire, error_reply(429, headers=headers))

    assert error.facts.retry_after == 7.0
    assert error.facts.status == 429
    assert error.facts.request_id == "req_wire"


async def test_nothing_is_sent_twice(wire: ScriptedServer) -> None:
    await failure(wire, error_reply(500))

    assert len(wire.requests) == 1


async def test_a_slow_first_byte_is_a_timeout(wire: ScriptedServer) -> None:
    error = await failure(
        wire, Reply(before=(Silence(),)), limits=Limits(first_byte=0.05)
    )

    assert isinstance(error, ProviderTimedOut)
    assert "first byte" in str(error)
    assert not error.facts.in_stream


async def test_silence_between_chunks_is_a_timeout(wire: ScriptedServer) -> None:
    begun = events(chat_request(), Answer(text="partial"))[:4]
    error = await failure(
        wire,
        event_reply([*begun, Silence()]),
        limits=Limits(between_chunks=0.05),
    )

    assert isinstance(error, ProviderTimedOut)
    assert error.facts.partial_text == "partial"


async def test_the_whole_call_has_a_limit(wire: ScriptedServer) -> None:
    error = await failure(
        wire, event_reply([b": ping\n\n", Silence()]), limits=Limits(call=0.05)
    )

    assert isinstance(error, ProviderTimedOut)
    assert "whole call" in str(error)


async def test_nobody_listens(wire: ScriptedServer) -> None:
    async with opened(wire, base_url="http://127.0.0.1:9/v1") as provider:
        with pytest.raises(ConnectionFailed):
            await collect(provider, ask())


async def test_leaving_early_closes_the_connection(wire: ScriptedServer) -> None:
    begun = events(chat_request(), Answer(text="partial"))[:4]
    wire.say(event_reply([*begun, Silence()]))

    async with (
        opened(wire) as provider,
        aclosing(provider.stream(ask())) as stream,
    ):
        async for _ in stream:
            break

    assert wire.wait_until_left()


async def test_cancellation_passes_and_closes_the_connection(
    wire: ScriptedServer,
) -> None:
    begun = events(chat_request(), Answer(text="partial"))[:4]
    wire.say(event_reply([*begun, Silence()]))

    async with opened(wire) as provider:
        with anyio.CancelScope() as scope:
            async with aclosing(provider.stream(ask())) as stream:
                async for _ in stream:
                    scope.cancel()

    assert scope.cancelled_caught
    assert wire.wait_until_left()


async def test_one_connection_serves_call_after_call(wire: ScriptedServer) -> None:
    wire.say_always(Answer(text="ok"))

    async with opened(wire) as provider:
        for _ in range(3):
            await collect(provider, ask())

    assert wire.connections == 1


async def test_a_closed_provider_refuses_calls(wire: ScriptedServer) -> None:
    provider = OpenAIProvider(api_key=KEY, base_url=wire.openai_url)
    await provider.aclose()
    await provider.aclose()

    with pytest.raises(RequestRejected, match="closed"):
        await collect(provider, ask())


async def test_the_key_shows_up_nowhere(wire: ScriptedServer) -> None:
    error = await failure(wire, error_reply(401, message=f"bad key {KEY}"))
    provider = OpenAIProvider(api_key=KEY)

    assert KEY not in str(error)
    assert error.__cause__ is None
    assert KEY not in repr(provider)
    assert KEY not in repr(vars(provider))


async def test_models_are_listed_with_what_is_known(wire: ScriptedServer) -> None:
    wire.say(models_reply(["gpt-4o", "gpt-9"], {"gpt-9": "2030-01-31"}))

    async with opened(wire) as provider:
        known, unknown = await provider.models()

    assert (known.id, known.context) == ("gpt-4o", 128_000)
    assert str(known.shutdown) == "2027-01-14"
    assert (unknown.id, str(unknown.shutdown)) == ("gpt-9", "2030-01-31")
