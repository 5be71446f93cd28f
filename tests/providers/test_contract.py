"""What all services promise alike, through the real SDKs over loopback."""

import json
import pickle
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mma_providers.sse import EventDecoder
from mma_providers.transport import Limits
from mma_providers.wire_json import is_list, is_object
from mma_runtime.errors import (
    ConnectionFailed,
    ProtocolViolated,
    ProviderError,
    ProviderTimedOut,
    RequestRejected,
)
from mma_runtime.llm.chat import (
    AssistantTurn,
    Chunk,
    Completion,
    Finish,
    ProviderState,
    Reasoning,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    ToolTurn,
    UserTurn,
    user,
)
from mma_runtime.llm.usage import Usage
from mma_runtime.testing import provider_contract
from mma_runtime.testing.wire.answers import Answer, Call
from mma_runtime.testing.wire.scripted import ScriptedServer, rendered
from mma_runtime.testing.wire.server import Cut, Recorded, Reply, Silence, Step
from tests.providers.services import (
    ANTHROPIC,
    GEMINI,
    KEY,
    PNG,
    PNG_BASE64,
    READ_FILE,
    SERVICES,
    Service,
    collect,
    opened,
)

TOOLS = Answer(
    text="I look.",
    calls=(
        Call(name="read_file", arguments={"path": "a"}, id="id_a"),
        Call(name="read_file", arguments={"path": "b"}, id="id_b"),
    ),
)
every_service = pytest.mark.parametrize(
    "service", SERVICES, ids=lambda service: service.name
)


def broken_off(
    request: Recorded,
    answer: Answer = Answer(text="partial text", pieces=4),  # noqa: B008 - frozen
    *,
    after: int,
    last: tuple[Step, ...] = (),
) -> Reply:
    """Return a stream of *answer* that ends after *after* events and does *last*."""
    whole = rendered(request, answer)
    return replace(whole, body=whole.body[:after] + last)


@every_service
async def test_the_contract_holds(wire: ScriptedServer, service: Service) -> None:
    def respond(request: Recorded) -> Answer | Reply:
        if request.method == "GET":
            return Reply(
                headers={"content-type": "application/json"},
                body=(b'{"data": [], "models": [], "has_more": false}',),
            )
        return replace(TOOLS, reasoning="hm", cached_tokens=4, reasoning_tokens=2)

    wire.say_always(respond)

    await provider_contract(lambda: service.open(wire), service.ask())


@every_service
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_text_comes_with_usage_and_finish(
    wire: ScriptedServer, service: Service, *, streamed: bool
) -> None:
    wire.say(Answer(text="Hello, world", input_tokens=20, cached_tokens=8))

    async with opened(service, wire) as provider:
        chunks, completion = await collect(provider, service.ask(streamed=streamed))

    texts = [chunk.text for chunk in chunks if isinstance(chunk, TextDelta)]
    assert texts == (["Hell", "o, w", "orld"] if streamed else ["Hello, world"])
    assert completion.turn == AssistantTurn((Text("Hello, world"),))
    assert completion.finish is Finish.STOP
    assert completion.usage == Usage(input=20, output=5, cache_read=8)
    assert completion.model == service.model
    assert completion.request_id == "req_wire"


@every_service
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_tool_round_goes_there_and_back(
    wire: ScriptedServer, service: Service, *, streamed: bool
) -> None:
    wire.say(TOOLS, Answer(text="done"))
    first = service.ask(tools=(READ_FILE,), streamed=streamed)

    async with opened(service, wire) as provider:
        _, completion = await collect(provider, first)
        calls = completion.turn.tool_calls
        results = tuple(
            ToolResult(call.id, call.name, (Text(f"content of {call.id}"),))
            for call in calls
        )
        turns = (*first.turns, completion.turn, ToolTurn(results))
        _, last = await collect(provider, replace(first, turns=turns))

    assert completion.finish is Finish.TOOL_CALLS
    assert [call.id for call in calls] == ["id_a", "id_b"]
    assert [call.arguments for call in calls] == [{"path": "a"}, {"path": "b"}]
    assert last.turn.text == "done"
    sent = str(wire.requests[1].body)
    assert sent.index("content of id_a") < sent.index("content of id_b")
    assert sent.count("id_a") >= 2


@every_service
async def test_headers_of_a_request_go_to_the_service(
    wire: ScriptedServer, service: Service
) -> None:
    wire.say(Answer(text="Hello"), Answer(text="Hello"))

    async with opened(service, wire) as provider:
        await collect(provider, service.ask(headers=(("traceparent", "00-1-2-01"),)))
        await collect(provider, service.ask())

    assert wire.requests[0].headers["traceparent"] == "00-1-2-01"
    assert "traceparent" not in wire.requests[1].headers


@every_service
async def test_an_image_is_sent(wire: ScriptedServer, service: Service) -> None:
    wire.say(Answer(text="a cat"))

    async with opened(service, wire) as provider:
        turn = UserTurn((Text("What is it?"), PNG))
        await collect(provider, service.ask(turns=(turn,)))

    sent = str(wire.requests[0].body)
    assert PNG_BASE64 in sent
    assert "image/png" in sent


@every_service
async def test_structured_output_is_asked_for(
    wire: ScriptedServer, service: Service
) -> None:
    wire.say(Answer(text='{"colour": "red"}'))
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}}

    async with opened(service, wire) as provider:
        _, completion = await collect(provider, service.ask(response_schema=schema))

    assert "colour" in str(wire.requests[0].body)
    assert completion.turn.text == '{"colour": "red"}'


@every_service
async def test_foreign_state_is_dropped_and_text_and_tools_stay(
    wire: ScriptedServer, service: Service
) -> None:
    wire.say(Answer(text="ok"))
    foreign = ProviderState("elsewhere", {"secret": "only elsewhere"})
    turns = (
        user("Go"),
        AssistantTurn(
            (
                Reasoning("hidden thought", foreign),
                Text("Visible.", foreign),
                ToolCall("a:1/2", "read_file", {"path": "x"}, "", foreign),
            )
        ),
        ToolTurn((ToolResult("a:1/2", "read_file", (Text("found"),)),)),
        user("Go on"),
    )

    async with opened(service, wire) as provider:
        await collect(provider, service.ask(turns=turns))

    sent = str(wire.requests[0].body)
    assert "Visible." in sent
    assert "read_file" in sent
    assert "found" in sent
    assert "only elsewhere" not in sent
    assert "hidden thought" not in sent


@every_service
async def test_leaving_early_closes_the_connection(
    wire: ScriptedServer, service: Service
) -> None:
    wire.say(lambda request: broken_off(request, after=4, last=(Silence(),)))

    async with (
        opened(service, wire) as provider,
        aclosing(provider.stream(service.ask())) as stream,
    ):
        async for _ in stream:
            break

    assert wire.wait_until_left()


@every_service
async def test_cancellation_passes_and_closes_the_connection(
    wire: ScriptedServer, service: Service
) -> None:
    wire.say(
        lambda request: broken_off(request, after=4, last=(Silence(),)),
        Answer(text="alive"),
    )

    async with opened(service, wire) as provider:
        with anyio.CancelScope() as scope:
            async with aclosing(provider.stream(service.ask())) as stream:
                async for _ in stream:
                    scope.cancel()
        _, completion = await collect(provider, service.ask())

    assert scope.cancelled_caught
    assert wire.wait_until_left()
    assert completion.turn.text == "alive"


@every_service
async def test_cancellation_before_the_first_byte_closes_the_connection(
    wire: ScriptedServer, service: Service
) -> None:
    wire.say(Reply(before=(Silence(),)))

    async with opened(service, wire) as provider:
        with anyio.move_on_after(0.05) as scope:
            await collect(provider, service.ask())

    assert scope.cancelled_caught
    assert not wire.requests or wire.wait_until_left()


@every_service
@pytest.mark.parametrize(
    ("limits", "after", "words"),
    [
        (Limits(first_byte=0.1), None, "first byte"),
        (Limits(first_byte=0.3), 0, "first byte"),
        (Limits(between_chunks=0.1), 4, "next part"),
        (Limits(call=0.3), 4, "whole call"),
    ],
)
async def test_silence_ends_in_a_timeout(
    wire: ScriptedServer,
    service: Service,
    limits: Limits,
    after: int | None,
    words: str,
) -> None:
    if after is None:
        wire.say(Reply(before=(Silence(),)))
    else:
        wire.say(lambda request: broken_off(request, after=after, last=(Silence(),)))

    async with opened(service, wire, limits=limits) as provider:
        with pytest.raises(ProviderTimedOut, match=words) as caught:
            await collect(provider, service.ask())

    assert caught.value.retryable
    assert caught.value.facts.in_stream is bool(after)
    assert not wire.requests or wire.wait_until_left()


@every_service
async def test_a_stream_that_just_ends_is_an_error(
    wire: ScriptedServer, service: Service
) -> None:
    wire.say(lambda request: broken_off(request, after=4))

    async with opened(service, wire) as provider:
        with pytest.raises(ProtocolViolated, match="without a") as caught:
            await collect(provider, service.ask())

    assert caught.value.facts.in_stream
    assert "partial text".startswith(caught.value.facts.partial_text)


@every_service
async def test_a_stream_cut_in_the_middle_keeps_what_had_come(
    wire: ScriptedServer, service: Service
) -> None:
    wire.say(lambda request: broken_off(request, after=6, last=(Cut(),)))

    async with opened(service, wire) as provider:
        with pytest.raises(ConnectionFailed) as caught:
            await collect(provider, service.ask())

    assert caught.value.facts.in_stream
    assert caught.value.facts.partial_text.startswith("par")
    assert isinstance(caught.value.__cause__, httpx2.RemoteProtocolError)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), ConnectionFailed)  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("service", "after", "told"),
    [
        (ANTHROPIC, 2, Usage(input=9_000, cache_read=4_000)),
        (GEMINI, 1, Usage(input=9_000, output=8, cache_read=4_000, reasoning=3)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_what_is_billed_is_told_before_a_stream_breaks(
    wire: ScriptedServer, service: Service, after: int, told: Usage
) -> None:
    answer = Answer(
        text="one two three",
        input_tokens=9_000,
        cached_tokens=4_000,
        output_tokens=8,
        reasoning_tokens=3,
    )
    wire.say(lambda request: broken_off(request, answer, after=after, last=(Cut(),)))

    heard: list[object] = []
    async with opened(service, wire) as provider:
        with pytest.raises(ProviderError):
            async with aclosing(provider.stream(service.ask())) as stream:
                async for item in stream:
                    heard.append(item)  # noqa: PERF401 - kept when the stream breaks

    assert [item for item in heard if isinstance(item, Usage)][-1:] == [told]


@every_service
@pytest.mark.parametrize(
    "reply",
    [
        Reply(headers={"content-type": "application/json"}, body=(b"{broken",)),
        Reply(headers={"content-type": "application/json"}, body=(b"[]",)),
        Reply(headers={"content-type": "application/json"}, body=(b"{}",)),
        Reply(headers={"content-type": "text/html"}, body=(b"<p>Hello</p>",)),
        Reply(body=(b"plain words",)),
        Reply(body=(b"\xff\xfe\n\n\n\n",)),
        Reply(),
    ],
)
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_good_status_with_garbage_is_an_error(
    wire: ScriptedServer, service: Service, reply: Reply, *, streamed: bool
) -> None:
    wire.say(reply)

    async with opened(service, wire) as provider:
        with pytest.raises(ProtocolViolated):
            await collect(provider, service.ask(streamed=streamed))


@every_service
@pytest.mark.parametrize(
    "data",
    [
        b"data: {broken\n\n",
        b"data: [1]\n\n",
        b'data: {"type": "content_block_delta", "index": 7, "delta": {}}\n\n',
        b'data: {"choices": [3], "candidates": [3], "type": "message_start"}\n\n',
        b'data: {"choices": [{"delta": {"content": 5}}], "candidates": 5}\n\n',
        b'data: {"candidates": [{"content": {"parts": [{"text": 5}]}}]}\n\n',
        b'data: {"type": "content_block_start", "index": 0, "content_block": 1}\n\n',
    ],
)
async def test_an_event_of_a_wrong_shape_is_an_error(
    wire: ScriptedServer, service: Service, data: bytes
) -> None:
    wire.say(Reply(headers={"content-type": "text/event-stream"}, body=(data,)))

    async with opened(service, wire) as provider:
        with pytest.raises(ProtocolViolated):
            await collect(provider, service.ask())


@every_service
async def test_nobody_listens(wire: ScriptedServer, service: Service) -> None:
    async with opened(service, wire, base_url="http://127.0.0.1:9") as provider:
        with pytest.raises(ConnectionFailed) as caught:
            await collect(provider, service.ask())

    assert caught.value.retryable


@every_service
async def test_one_connection_serves_call_after_call(
    wire: ScriptedServer, service: Service
) -> None:
    wire.say_always(Answer(text="ok"))

    async with opened(service, wire) as provider:
        for streamed in (True, False, True):
            await collect(provider, service.ask(streamed=streamed))

    assert wire.connections == 1


@every_service
async def test_a_closed_provider_refuses_calls(
    wire: ScriptedServer, service: Service
) -> None:
    provider = service.open(wire)
    await provider.aclose()
    await provider.aclose()

    with pytest.raises(RequestRejected, match="closed"):
        await collect(provider, service.ask())
    with pytest.raises(RequestRejected, match="closed"):
        await provider.models()


@every_service
async def test_a_client_that_is_given_is_used_and_left_open(
    wire: ScriptedServer, service: Service
) -> None:
    seen: list[httpx2.URL] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.url)
        return httpx2.Response(503, json={"error": {"message": "busy"}})

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
    async with opened(service, wire, http_client=client) as provider:
        with pytest.raises(ProviderError, match="busy"):
            await collect(provider, service.ask())

    assert len(seen) == 1
    assert not client.is_closed
    await client.aclose()


@every_service
async def test_the_key_shows_up_nowhere(wire: ScriptedServer, service: Service) -> None:
    wire.say(
        Reply(
            status=401,
            headers={"content-type": "application/json"},
            body=(b'{"error": {"message": "bad key %b"}}' % KEY.encode(),),
        )
    )

    async with opened(service, wire) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, service.ask())
        shown = repr(provider) + repr(vars(provider))

    assert "bad key **********" in str(caught.value)
    assert KEY not in str(caught.value) + repr(caught.value) + shown
    assert caught.value.__cause__ is None


@given(
    path=st.sampled_from(
        [
            "/v1/chat/completions",
            "/v1/messages",
            "/v1/responses",
            "/v1/models/m:streamGenerateContent",
        ]
    ),
    ending=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    places=st.lists(st.floats(0, 1), max_size=60),
)
@settings(max_examples=300, deadline=None)
def test_any_split_of_a_stream_gives_the_same_answer(
    path: str, ending: bytes, places: list[float]
) -> None:
    sent, expected = streams(path, ending)
    cuts = sorted(int(place * len(sent)) for place in places)
    edges = [0, *cuts, len(sent)]

    pieces = [sent[start:end] for start, end in pairwise(edges)]

    assert events_of(pieces) == expected


@cache
def streams(path: str, ending: bytes) -> tuple[bytes, list[bytes]]:
    """Return a stream with that line *ending*, and the events that are in it."""
    raw = b'{"model": "m", "stream": true, "stream_options": {}}'
    request = Recorded(method="POST", path=path, query="", headers={}, raw=raw)
    answer = replace(TOOLS, text="Grüße,\n\n世界 \r data: x", reasoning="hm…")
    body = rendered(request, answer).body
    whole = b"".join(step for step in body if isinstance(step, bytes))
    sent = whole.replace(b"\r\n", b"\n").replace(b"\n", ending)
    return sent, events_of([whole])


ODD: tuple[Any, ...] = (None, True, -3, 12.5, "12", [], [1], {}, {"a": 1})
"""What no server should put in the place of something else."""


def with_one_replaced(value: Any) -> Iterator[Any]:
    """Yield *value* as often as it has parts and `ODD` values, with one replaced."""
    yield from ODD
    if is_object(value):
        for name, part in value.items():
            yield from ({**value, name: odd} for odd in with_one_replaced(part))
    elif is_list(value):
        for place, item in enumerate(value):
            for odd in with_one_replaced(item):
                yield [*value[:place], odd, *value[place + 1 :]]


def odd_bodies(request: Recorded) -> Iterator[tuple[str, bytes]]:
    """Yield the kind and the body of every answer that is odd in one place."""
    answer = replace(TOOLS, reasoning="hm", cached_tokens=4, reasoning_tokens=2)
    reply = rendered(request, answer)
    whole = b"".join(step for step in reply.body if isinstance(step, bytes))
    kind = reply.headers["content-type"]
    if "event-stream" not in kind:
        for odd in with_one_replaced(json.loads(whole)):
            yield kind, json.dumps(odd).encode()
        return

    sent = events_of([whole])
    for place, event in enumerate(sent):
        if event.startswith(b"{"):
            for odd in with_one_replaced(json.loads(event)):
                changed = [*sent[:place], json.dumps(odd).encode(), *sent[place + 1 :]]
                yield kind, b"".join(b"data: %b\n\n" % one for one in changed)


@every_service
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_value_of_another_type_anywhere_is_read_or_is_an_error_of_ours(
    wire: ScriptedServer, service: Service, *, streamed: bool
) -> None:
    asked: list[Recorded] = []
    answers: list[tuple[str, bytes]] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        path, headers = request.url.path, dict(request.headers)
        raw = request.content
        asked.append(
            Recorded(method="POST", path=path, query="", headers=headers, raw=raw)
        )
        kind, body = answers[-1] if answers else ("application/json", b"{}")
        return httpx2.Response(200, headers={"content-type": kind}, content=body)

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
    async with client, opened(service, wire, http_client=client) as provider:
        request = service.ask(tools=(READ_FILE,), streamed=streamed)
        with pytest.raises(ProtocolViolated):
            await collect(provider, request)
        for answer in odd_bodies(asked[0]):
            answers.append(answer)
            try:
                chunks, completion = await collect(provider, request)
            except ProviderError:
                continue

            assert_neutral(chunks, completion)


def assert_neutral(chunks: list[Chunk], completion: Completion) -> None:
    """Check that what was read has the types that it promises."""
    calls = completion.turn.tool_calls
    words: list[object] = [
        completion.model,
        completion.raw_finish,
        completion.turn.text,
    ]
    words += [word for call in calls for word in (call.id, call.name, call.raw)]
    for chunk in chunks:
        if isinstance(chunk, ToolCallDelta):
            words += [chunk.id, chunk.name, chunk.fragment]
            assert type(chunk.index) is int
        else:
            words.append(chunk.text)
    assert [word for word in words if not isinstance(word, str)] == []
    assert all(
        isinstance(call.arguments, dict) or call.arguments is None for call in calls
    )


def events_of(pieces: list[bytes]) -> list[bytes]:
    decoder = EventDecoder()
    found = [event for piece in pieces for event in decoder.feed(piece)]
    return found + decoder.end()
