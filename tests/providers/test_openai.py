"""The OpenAI client's own format: Chat Completions as it is sent and read."""

import pytest

from mma_runtime.errors import ConfigurationError, RequestRejected
from mma_runtime.llm.chat import (
    AssistantTurn,
    Finish,
    Reasoning,
    Text,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
    ToolTurn,
    UserTurn,
)
from mma_runtime.llm.usage import Usage
from mma_runtime.testing.wire.answers import Answer, Call
from mma_runtime.testing.wire.chat_completions import event, models_reply
from mma_runtime.testing.wire.scripted import ScriptedServer
from mma_runtime.testing.wire.server import event_reply
from tests.providers.services import KEY, OPENAI, PNG, READ_FILE, collect, opened


async def test_the_request_says_what_was_asked_and_no_more(
    wire: ScriptedServer,
) -> None:
    wire.say(Answer(text="ok"))

    async with opened(OPENAI, wire) as provider:
        await collect(
            provider,
            OPENAI.ask(
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

    async with opened(OPENAI, wire) as provider:
        chunks, completion = await collect(provider, OPENAI.ask(tools=(READ_FILE,)))

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

    async with opened(OPENAI, wire) as provider:
        await collect(provider, OPENAI.ask(system="", turns=turns))

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

    async with opened(OPENAI, wire) as provider:
        _, completion = await collect(
            provider,
            OPENAI.ask(
                model="o3-mini",
                temperature=0,
                max_output_tokens=9,
                reasoning_effort="low",
            ),
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
    async with opened(OPENAI, wire) as provider:
        with pytest.raises(RequestRejected, match="takes no images"):
            await collect(
                provider, OPENAI.ask(model="o3-mini", turns=(UserTurn((PNG,)),))
            )

    assert wire.requests == []


async def test_structured_output_is_asked_for_by_schema(wire: ScriptedServer) -> None:
    wire.say(Answer(text='{"ok": true}'))
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}

    async with opened(OPENAI, wire) as provider:
        await collect(provider, OPENAI.ask(response_schema=schema))

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

    async with opened(OPENAI, wire) as provider:
        _, completion = await collect(provider, OPENAI.ask())

    assert completion.finish is Finish.CONTENT_FILTER
    assert completion.turn.text == "I will not."
    assert completion.usage is None


async def test_models_are_listed_with_what_is_known(wire: ScriptedServer) -> None:
    wire.say(models_reply(["gpt-4o", "gpt-9"], {"gpt-9": "2030-01-31"}))

    async with opened(OPENAI, wire) as provider:
        known, unknown = await provider.models()

    assert (known.id, known.context) == ("gpt-4o", 128_000)
    assert str(known.shutdown) == "2027-01-14"
    assert (unknown.id, str(unknown.shutdown)) == ("gpt-9", "2030-01-31")


async def test_another_server_gets_what_its_profile_says(wire: ScriptedServer) -> None:
    wire.say(Answer(text="ok"))
    profile = {"stream_usage": False, "json_schema": False}

    async with opened(OPENAI, wire, name="local", profile=profile) as provider:
        await collect(provider, OPENAI.ask(max_output_tokens=9, temperature=0))

    body = wire.requests[0].body
    assert body["max_tokens"] == 9
    assert body["temperature"] == 0
    assert "stream_options" not in body
    assert provider.priced_as("x") == ("local", "x", True)


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        ({"output_limits": "max_tokens"}, "did you mean 'output_limit'"),
        ({"images": "no"}, "the switch 'images' of a profile is a bool"),
    ],
)
def test_a_bad_profile_says_what_is_wrong(
    wire: ScriptedServer, profile: dict[str, object], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        OPENAI.open(wire, profile=profile)


async def test_a_model_that_wants_responses_gets_them(wire: ScriptedServer) -> None:
    wire.say(Answer(text="ok"))

    async with opened(OPENAI, wire) as provider:
        _, completion = await collect(provider, OPENAI.ask(model="gpt-5-pro"))

    assert wire.requests[0].path == "/v1/responses"
    assert completion.turn.text == "ok"
