"""Anthropic's Messages as it is sent and read."""

from dataclasses import replace
from typing import Any

import pytest

from mma_runtime.llm.chat import (
    AssistantTurn,
    Finish,
    ProviderState,
    Reasoning,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolTurn,
    UserTurn,
    user,
)
from mma_runtime.testing.wire.answers import Answer, Call
from mma_runtime.testing.wire.messages import event, models_reply
from mma_runtime.testing.wire.scripted import ScriptedServer
from mma_runtime.testing.wire.server import event_reply
from tests.providers.services import ANTHROPIC, PNG, READ_FILE, collect, opened

CACHE = {"type": "ephemeral"}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"}


async def body_of(wire: ScriptedServer, **changes: Any) -> dict[str, Any]:
    wire.say(Answer(text="ok"))
    async with opened(ANTHROPIC, wire) as provider:
        await collect(provider, ANTHROPIC.ask(**changes))
    body: dict[str, Any] = wire.requests[-1].body
    return body


async def test_a_round_goes_back_with_signed_thoughts_and_four_breakpoints(
    wire: ScriptedServer,
) -> None:
    call = Call(name="read_file", arguments={"path": "a"})
    wire.say(Answer(reasoning="hm", text="I look.", calls=(call,)), Answer(text="ok"))
    first = ANTHROPIC.ask(tools=(READ_FILE,))

    async with opened(ANTHROPIC, wire) as provider:
        _, completion = await collect(provider, first)
        result = ToolResult("toolu_wire_0", "read_file", (Text("no"),), is_error=True)
        turns = (*first.turns, completion.turn, ToolTurn((result,)), user("Go on"))
        await collect(provider, replace(first, turns=turns))

    assert completion.turn.parts[0] == Reasoning(
        "hm", ProviderState("anthropic", THINKING)
    )
    body = wire.requests[1].body
    assert body["tools"] == [
        {
            "name": "read_file",
            "description": "Read a file.",
            "input_schema": READ_FILE.parameters,
            "cache_control": CACHE,
        }
    ]
    assert body["system"] == [
        {"type": "text", "text": "Be brief.", "cache_control": CACHE}
    ]
    assert body["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hi", "cache_control": CACHE}],
        },
        {
            "role": "assistant",
            "content": [
                THINKING,
                {"type": "text", "text": "I look."},
                {
                    "type": "tool_use",
                    "id": "toolu_wire_0",
                    "name": "read_file",
                    "input": {"path": "a"},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_wire_0",
                    "content": [{"type": "text", "text": "no"}],
                    "is_error": True,
                },
                {"type": "text", "text": "Go on", "cache_control": CACHE},
            ],
        },
    ]


async def test_a_single_question_pays_for_no_cache(wire: ScriptedServer) -> None:
    assert "cache_control" not in str(await body_of(wire))


async def test_redacted_thoughts_are_replayed_too(wire: ScriptedServer) -> None:
    block = {"type": "redacted_thinking", "data": "c2VhbGVk"}
    turn = AssistantTurn((Reasoning("", ProviderState("anthropic", block)), Text("a")))

    body = await body_of(wire, turns=(user("Hi"), turn, user("Go on")))

    assert body["messages"][1]["content"][0] == block


async def test_what_other_providers_made_is_put_into_shape(
    wire: ScriptedServer,
) -> None:
    turn = AssistantTurn((Text("  "), ToolCall("call:1", "f", None, "{broken")))
    result = ToolResult("call:1", "f", (PNG, Text("")))

    body = await body_of(wire, turns=(user("Hi"), turn, ToolTurn((result,))))

    assistant, results = body["messages"][1:]
    assert assistant["content"] == [
        {
            "type": "tool_use",
            "id": "call_1",
            "name": "f",
            "input": {"invalid_json": "{broken"},
        }
    ]
    assert results["content"][0]["tool_use_id"] == "call_1"
    assert results["content"][0]["content"][0]["source"]["media_type"] == "image/png"


MODELS: list[tuple[str, dict[str, Any], dict[str, Any], set[str]]] = [
    ("claude-sonnet-5", {"temperature": 0.0}, {}, {"temperature", "thinking"}),
    ("claude-haiku-4-5", {"temperature": 0.0}, {"temperature": 0.0}, {"thinking"}),
    (
        "claude-haiku-4-5",
        {"temperature": 0.0, "reasoning_effort": "low"},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        {"temperature"},
    ),
    (
        "claude-haiku-4-5",
        {"max_output_tokens": 500, "reasoning_effort": "low"},
        {"max_tokens": 500},
        {"thinking"},
    ),
    (
        "claude-opus-5",
        {"reasoning_effort": "high"},
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        set(),
    ),
    (
        "claude-sonnet-5",
        {"tools": (READ_FILE,), "tool_choice": ToolChoice.REQUIRED},
        {"tool_choice": {"type": "any"}},
        set(),
    ),
    (
        "claude-fable-5-2",
        {"tools": (READ_FILE,), "tool_choice": ToolChoice.REQUIRED},
        {},
        {"tool_choice"},
    ),
    (
        "claude-sonnet-5",
        {"tools": (READ_FILE,), "tool_choice": ToolChoice.NONE},
        {"tool_choice": {"type": "none"}},
        set(),
    ),
]


@pytest.mark.parametrize(("model", "changes", "present", "absent"), MODELS)
async def test_each_model_gets_what_it_takes(
    wire: ScriptedServer,
    model: str,
    changes: dict[str, Any],
    present: dict[str, Any],
    absent: set[str],
) -> None:
    body = await body_of(wire, model=model, **changes)

    assert {name: body[name] for name in present} == present
    assert not absent & set(body)


async def test_an_older_model_gives_structured_output_by_a_tool(
    wire: ScriptedServer,
) -> None:
    wire.say(Answer(calls=(Call(name="give_answer", arguments={"ok": True}),)))
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}

    async with opened(ANTHROPIC, wire) as provider:
        asked = ANTHROPIC.ask(model="claude-3-5-haiku-latest", response_schema=schema)
        _, completion = await collect(provider, asked)

    body = wire.requests[0].body
    assert body["tool_choice"] == {"type": "tool", "name": "give_answer"}
    assert completion.turn.text == '{"ok": true}'
    assert completion.turn.tool_calls == ()
    assert completion.finish is Finish.STOP


async def test_a_newer_model_gives_structured_output_natively(
    wire: ScriptedServer,
) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}

    body = await body_of(wire, response_schema=schema)

    assert body["output_config"]["format"]["schema"]["additionalProperties"] is False
    assert "tools" not in body


async def test_usage_adds_the_three_counts_up(wire: ScriptedServer) -> None:
    usage = {
        "input_tokens": 5,
        "cache_read_input_tokens": 7,
        "cache_creation_input_tokens": 11,
        "cache_creation": {"ephemeral_1h_input_tokens": 3},
        "output_tokens": 1,
    }
    wire.say(
        event_reply(
            [
                event({"type": "message_start", "message": {"usage": usage}}),
                event(
                    {
                        "type": "message_delta",
                        "delta": {"stop_reason": "end_turn"},
                        "usage": {"output_tokens": 9, "input_tokens": None},
                    }
                ),
                event({"type": "message_stop"}),
            ]
        )
    )

    async with opened(ANTHROPIC, wire) as provider:
        _, completion = await collect(provider, ANTHROPIC.ask())

    counted = completion.usage
    assert counted is not None
    assert (counted.input, counted.output) == (23, 9)
    assert (counted.cache_read, counted.cache_write) == (7, 11)
    assert counted.cache_write_1h == 3


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("max_tokens", Finish.LENGTH),
        ("refusal", Finish.CONTENT_FILTER),
        ("pause_turn", Finish.STOP),
        ("stop_sequence", Finish.STOP),
        ("unheard_of", Finish.STOP),
    ],
)
async def test_each_stop_reason_has_its_meaning(
    wire: ScriptedServer, word: str, finish: Finish
) -> None:
    wire.say(Answer(text="x", finish=word))

    async with opened(ANTHROPIC, wire) as provider:
        _, completion = await collect(provider, ANTHROPIC.ask())

    assert (completion.finish, completion.raw_finish) == (finish, word)


async def test_a_call_with_broken_json_is_kept_as_it_came(wire: ScriptedServer) -> None:
    wire.say(Answer(calls=(Call(name="f", raw='{"a": '), Call(name="g"))))

    async with opened(ANTHROPIC, wire) as provider:
        _, completion = await collect(provider, ANTHROPIC.ask())

    broken, empty = completion.turn.tool_calls
    assert (broken.arguments, broken.raw) == (None, '{"a": ')
    assert empty.arguments == {}


async def test_models_are_listed_with_their_end(wire: ScriptedServer) -> None:
    wire.say(
        models_reply(
            [
                {
                    "id": "claude-old",
                    "max_input_tokens": 1000,
                    "max_tokens": 100,
                    "retires_at": "2027-02-03T00:00:00Z",
                },
                {"id": "claude-sonnet-4-5"},
            ]
        )
    )

    async with opened(ANTHROPIC, wire) as provider:
        old, known = await provider.models()

    assert (old.context, old.max_output, str(old.shutdown)) == (1000, 100, "2027-02-03")
    assert (known.context, str(known.shutdown)) == (200_000, "2026-11-30")


async def test_turns_without_content_are_left_out(wire: ScriptedServer) -> None:
    turns = (UserTurn((Text("a"),)), AssistantTurn(()), UserTurn((Text("b"),)))

    body = await body_of(wire, turns=turns)

    assert [message["role"] for message in body["messages"]] == ["user"]
