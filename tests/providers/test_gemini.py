"""Gemini's generateContent as it is sent and read."""

from dataclasses import replace
from typing import Any

import pytest

from mma_runtime.llm.chat import (
    AssistantTurn,
    Finish,
    ProviderState,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolTurn,
    user,
)
from mma_runtime.llm.usage import Usage
from mma_runtime.testing.wire.answers import Answer, Call
from mma_runtime.testing.wire.generate_content import event, models_reply
from mma_runtime.testing.wire.scripted import ScriptedServer
from mma_runtime.testing.wire.server import event_reply
from tests.providers.services import GEMINI, PNG, READ_FILE, collect, opened


async def body_of(wire: ScriptedServer, **changes: Any) -> dict[str, Any]:
    wire.say(Answer(text="ok"))
    async with opened(GEMINI, wire) as provider:
        await collect(provider, GEMINI.ask(**changes))
    body: dict[str, Any] = wire.requests[-1].body
    return body


async def test_a_round_goes_back_with_its_signature_and_only_real_ids(
    wire: ScriptedServer,
) -> None:
    calls = (Call(name="read_file", arguments={"path": "a"}), Call(name="f", id="own"))
    wire.say(Answer(text="I look.", calls=calls), Answer(text="ok"))
    first = GEMINI.ask(tools=(READ_FILE,), tool_choice=ToolChoice.REQUIRED)

    async with opened(GEMINI, wire) as provider:
        _, completion = await collect(provider, first)
        made, given = completion.turn.tool_calls
        results = (
            ToolResult(made.id, "read_file", (Text("x"), PNG)),
            ToolResult(given.id, "f", (Text("no"),), is_error=True),
        )
        turns = (*first.turns, completion.turn, ToolTurn(results))
        await collect(provider, replace(first, turns=turns))

    assert (made.id, given.id) == ("call_1_0", "own")
    body = wire.requests[1].body
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    (tool,) = body["tools"][0]["functionDeclarations"]
    assert tool["parametersJsonSchema"] == READ_FILE.parameters
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "I look."},
                {
                    "functionCall": {"name": "read_file", "args": {"path": "a"}},
                    "thoughtSignature": "c2lnbmVk",
                },
                {"functionCall": {"name": "f", "args": {}, "id": "own"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "name": "read_file",
                        "response": {"output": "x"},
                    }
                },
                {
                    "functionResponse": {
                        "name": "f",
                        "response": {"error": "no"},
                        "id": "own",
                    }
                },
                {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
            ],
        },
    ]


async def test_a_call_of_another_model_gets_the_signature_that_is_taken_for_none(
    wire: ScriptedServer,
) -> None:
    turn = AssistantTurn((ToolCall("c", "f", None, "{broken"), ToolCall("d", "g", {})))
    result = ToolTurn((ToolResult("c", "f", (Text("x"),)),))

    body = await body_of(wire, turns=(user("Hi"), turn, result))

    first, second = body["contents"][1]["parts"]
    assert first["functionCall"]["args"] == {"invalid_json": "{broken"}
    assert "thoughtSignature" in first
    assert "thoughtSignature" not in second


async def test_a_signature_of_a_text_goes_back_with_it(wire: ScriptedServer) -> None:
    parts = [{"text": "a"}, {"text": "b", "thoughtSignature": "s1"}, {"text": "c"}]
    candidate = {"content": {"parts": parts}, "finishReason": "STOP"}
    wire.say(event_reply([event({"candidates": [candidate]})]))

    async with opened(GEMINI, wire) as provider:
        _, completion = await collect(provider, GEMINI.ask())
    body = await body_of(wire, turns=(user("Hi"), completion.turn, user("Go on")))

    state = ProviderState("gemini", {"thoughtSignature": "s1"})
    assert completion.turn.parts == (Text("ab", state), Text("c"))
    assert body["contents"][1]["parts"] == [
        {"text": "ab", "thoughtSignature": "s1"},
        {"text": "c"},
    ]


@pytest.mark.parametrize(
    ("model", "changes", "settings"),
    [
        ("gemini-3.8-flash", {"temperature": 0.5}, {"temperature": 0.5}),
        ("gemini-3.8-flash", {"max_output_tokens": 9}, {"maxOutputTokens": 9}),
        (
            "gemini-3.8-flash",
            {"reasoning_effort": "low"},
            {"thinkingConfig": {"thinkingLevel": "low"}},
        ),
        (
            "gemini-2.5-flash",
            {"reasoning_effort": "none"},
            {"thinkingConfig": {"thinkingBudget": 0}},
        ),
        ("gemini-2.0-flash", {"reasoning_effort": "low"}, {}),
    ],
)
async def test_each_model_gets_what_it_takes(
    wire: ScriptedServer, model: str, changes: dict[str, Any], settings: dict[str, Any]
) -> None:
    body = await body_of(wire, model=model, **changes)

    assert body["generationConfig"] == settings
    assert wire.requests[0].path.endswith(f"/{model}:streamGenerateContent")
    assert wire.requests[0].query == "alt=sse"


async def test_thoughts_count_as_output(wire: ScriptedServer) -> None:
    wire.say(Answer(text="x", reasoning="hm", output_tokens=9, reasoning_tokens=4))

    async with opened(GEMINI, wire) as provider:
        _, completion = await collect(provider, GEMINI.ask())

    assert completion.usage == Usage(input=10, output=9, reasoning=4)


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("MAX_TOKENS", Finish.LENGTH),
        ("SAFETY", Finish.CONTENT_FILTER),
        ("RECITATION", Finish.CONTENT_FILTER),
        ("UNHEARD_OF", Finish.STOP),
    ],
)
async def test_each_finish_reason_has_its_meaning(
    wire: ScriptedServer, word: str, finish: Finish
) -> None:
    wire.say(Answer(finish=word))

    async with opened(GEMINI, wire) as provider:
        _, completion = await collect(provider, GEMINI.ask())

    assert (completion.finish, completion.raw_finish) == (finish, word)


async def test_models_are_listed(wire: ScriptedServer) -> None:
    model = {"name": "models/gemini-x", "inputTokenLimit": 100, "outputTokenLimit": 10}
    wire.say(models_reply([model]))

    async with opened(GEMINI, wire) as provider:
        (found,) = await provider.models()

    assert (found.id, found.context, found.max_output) == ("gemini-x", 100, 10)
