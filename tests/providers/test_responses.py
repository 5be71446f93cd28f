"""OpenAI's Responses as it is sent and read."""

from dataclasses import replace
from typing import Any

import pytest

from mma_runtime.errors import ProtocolViolated, RateLimited
from mma_runtime.llm.chat import (
    Finish,
    ProviderState,
    Reasoning,
    ReasoningDelta,
    Text,
    ToolResult,
    ToolTurn,
    UserTurn,
)
from mma_runtime.testing.wire.answers import Answer, Call
from mma_runtime.testing.wire.responses import event
from mma_runtime.testing.wire.scripted import ScriptedServer
from mma_runtime.testing.wire.server import event_reply
from tests.providers.services import PNG, READ_FILE, RESPONSES, collect, opened

REASONING = {
    "type": "reasoning",
    "id": "rs_wire",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "c2VhbGVk",
}


async def test_thoughts_and_calls_go_back_in_order(wire: ScriptedServer) -> None:
    call = Call(name="read_file", arguments={"path": "a"})
    wire.say(Answer(reasoning="hm", calls=(call,)), Answer(text="done"))
    first = RESPONSES.ask(tools=(READ_FILE,), reasoning_effort="low")

    async with opened(RESPONSES, wire) as provider:
        chunks, completion = await collect(provider, first)
        result = ToolResult("call_wire_0", "read_file", (Text("x"), PNG), is_error=True)
        turns = (*first.turns, completion.turn, ToolTurn((result,)))
        await collect(provider, replace(first, turns=turns))

    state = ProviderState("openai-responses", REASONING)
    assert completion.turn.parts[0] == Reasoning("hm", state)
    assert ReasoningDelta("hm") in chunks
    body = wire.requests[1].body
    assert body["store"] is False
    assert body["instructions"] == "Be brief."
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["reasoning"] == {"effort": "low"}
    assert body["tools"][0]["strict"] is True
    assert body["input"][1:] == [
        REASONING,
        {
            "type": "function_call",
            "call_id": "call_wire_0",
            "name": "read_file",
            "arguments": '{"path": "a"}',
        },
        {
            "type": "function_call_output",
            "call_id": "call_wire_0",
            "output": [
                {"type": "input_text", "text": "Error:"},
                {"type": "input_text", "text": "x"},
                {
                    "type": "input_image",
                    "image_url": "data:image/png;base64,iVBORw==",
                },
            ],
        },
    ]


async def test_a_model_that_does_not_reason_gets_no_reasoning_settings(
    wire: ScriptedServer,
) -> None:
    wire.say(Answer(text="ok"))

    async with opened(RESPONSES, wire) as provider:
        asked = RESPONSES.ask(
            model="gpt-4o",
            temperature=0.5,
            max_output_tokens=99,
            reasoning_effort="low",
            turns=(UserTurn((Text("Look"), PNG)),),
        )
        await collect(provider, asked)

    body = wire.requests[0].body
    assert body["temperature"] == 0.5
    assert body["max_output_tokens"] == 99
    assert not {"include", "reasoning", "tools"} & set(body)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("max_output_tokens", Finish.LENGTH),
        ("content_filter", Finish.CONTENT_FILTER),
        ("max_prompt_tokens", Finish.LENGTH),
    ],
)
async def test_an_incomplete_response_says_why(
    wire: ScriptedServer, reason: str, finish: Finish
) -> None:
    wire.say(Answer(text="half", finish=reason))

    async with opened(RESPONSES, wire) as provider:
        _, completion = await collect(provider, RESPONSES.ask())

    assert (completion.finish, completion.raw_finish) == (finish, reason)
    assert completion.turn.text == "half"


async def test_a_refusal_ends_as_content_filter_with_its_text(
    wire: ScriptedServer,
) -> None:
    content = [{"type": "refusal", "refusal": "No."}]
    item = {"type": "message", "role": "assistant", "content": content}
    final = {"status": "completed", "output": [item]}
    wire.say(
        event_reply(
            [
                event({"type": "response.refusal.delta", "delta": "No."}),
                event({"type": "response.completed", "response": final}),
            ]
        )
    )

    async with opened(RESPONSES, wire) as provider:
        _, completion = await collect(provider, RESPONSES.ask())

    assert completion.finish is Finish.CONTENT_FILTER
    assert completion.turn.text == "No."
    assert completion.usage is None


async def test_a_failed_response_is_an_error(wire: ScriptedServer) -> None:
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    final: dict[str, Any] = {"status": "failed", "error": error, "output": []}
    wire.say(event_reply([event({"type": "response.failed", "response": final})]))

    async with opened(RESPONSES, wire) as provider:
        with pytest.raises(RateLimited, match="slow down"):
            await collect(provider, RESPONSES.ask())


async def test_a_response_that_is_not_over_is_an_error(wire: ScriptedServer) -> None:
    final: dict[str, Any] = {"status": "in_progress", "output": []}
    wire.say(event_reply([event({"type": "response.completed", "response": final})]))

    async with opened(RESPONSES, wire) as provider:
        with pytest.raises(ProtocolViolated, match="in_progress"):
            await collect(provider, RESPONSES.ask())
