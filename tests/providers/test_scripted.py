"""The scripted provider: which reply is found, and what is said when there is none."""

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from mma_providers.script import Reply, Script, ScriptedCall, ScriptedUsage
from mma_providers.script_file import load_script
from mma_providers.scripted import ScriptedProvider
from mma_runtime.errors import ScenarioInvalid, ScriptUnmatched
from mma_runtime.events import Origin
from mma_runtime.llm.chat import (
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    ToolTurn,
    user,
)
from mma_runtime.llm.usage import Usage


def ask(
    tier: str = "worker", turn: int = 1, text: str = "Go", **origin: Any
) -> ChatRequest:
    return ChatRequest(
        model=tier,
        system="",
        turns=(user(text),),
        origin=Origin(tier=tier, **origin),
        turn=turn,
    )


def provider(*replies: Reply, **stands_in_for: str) -> ScriptedProvider:
    return ScriptedProvider(Script(stands_in_for=stands_in_for, replies=replies))


async def said(
    scripted: ScriptedProvider, request: ChatRequest
) -> tuple[list[Chunk], Completion]:
    chunks: list[Chunk] = []
    async with aclosing(scripted.stream(request)) as stream:
        async for item in stream:
            if isinstance(item, Completion):
                return chunks, item
            chunks.append(item)
    raise AssertionError("the stream ended without a completion")


async def text(scripted: ScriptedProvider, request: ChatRequest) -> str:
    return (await said(scripted, request))[1].turn.text


async def test_the_entry_with_the_most_matchers_wins_then_the_first() -> None:
    scripted = provider(
        Reply(tier="worker", text="any"),
        Reply(tier="worker", turn=2, text="second turn"),
        Reply(tier="worker", ticket="slug", text="ticket"),
        Reply(tier="worker", ticket="slug", attempt=2, text="second attempt"),
        Reply(tier="worker", ticket="slug", attempt=2, text="never"),
        Reply(tier="worker", ticket="slug", contains="FAILED", turn=3, text="failed"),
        Reply(tier="qa", text="hint"),
    )

    assert await text(scripted, ask()) == "any"
    assert await text(scripted, ask(turn=2)) == "second turn"
    assert await text(scripted, ask(ticket="slug")) == "ticket"
    assert await text(scripted, ask(ticket="slug", turn=2)) == "second turn"
    assert await text(scripted, ask(ticket="slug", attempt=2)) == "second attempt"
    assert await text(scripted, ask(ticket="slug", turn=3)) == "ticket"
    found = await text(scripted, ask(ticket="slug", turn=3, text="1 FAILED"))
    assert found == "failed"
    assert await text(scripted, ask("qa")) == "hint"


async def test_task_and_track_are_matched() -> None:
    scripted = provider(
        Reply(tier="tech_lead", task="plan", text="plan"),
        Reply(tier="tech_lead", task="review", track="b", text="review of b"),
    )

    assert await text(scripted, ask("tech_lead", task="plan", track="b")) == "plan"
    found = await text(scripted, ask("tech_lead", task="review", track="b"))
    assert found == "review of b"


async def test_the_same_request_gets_the_same_reply_again() -> None:
    scripted = provider(Reply(tier="worker", text="any"))

    assert [await text(scripted, ask()) for _ in range(3)] == ["any"] * 3


async def test_contains_looks_at_tool_results_too() -> None:
    scripted = provider(Reply(tier="worker", contains="2 passed", text="done"))
    result = ToolResult("c", "run_command", (Text("== 2 passed =="),))
    request = ChatRequest(
        model="w", system="", turns=(ToolTurn((result,)),), origin=Origin(tier="worker")
    )

    assert await text(scripted, request) == "done"


async def test_tool_calls_have_ids_that_no_other_turn_has() -> None:
    call = ScriptedCall(name="read_file", arguments={"path": "a"})
    broken = ScriptedCall(name="read_file", raw="{")
    scripted = provider(Reply(tier="worker", text="I read.", tool_calls=(call, broken)))

    chunks, completion = await said(scripted, ask(turn=4))

    raw = '{"path": "a"}'
    assert completion.finish is Finish.TOOL_CALLS
    assert completion.turn.tool_calls == (
        ToolCall("call_4_0", "read_file", {"path": "a"}, raw),
        ToolCall("call_4_1", "read_file", None, "{"),
    )
    assert chunks == [
        TextDelta("I read."),
        ToolCallDelta(0, "call_4_0", "read_file", raw),
        ToolCallDelta(1, "call_4_1", "read_file", "{"),
    ]


async def test_usage_is_the_scripts_or_a_quarter_of_the_characters() -> None:
    scripted = provider(
        Reply(tier="qa", usage=ScriptedUsage(input=1200, output=80)),
        Reply(tier="worker", text="x" * 400),
    )

    _, given = await said(scripted, ask("qa"))
    _, estimated = await said(scripted, ask(text="y" * 40))

    assert given.usage == Usage(input=1200, output=80)
    assert estimated.usage == Usage(input=10, output=100)


async def test_a_delay_is_slept() -> None:
    scripted = provider(Reply(tier="worker", delay=0.001, text="late"))

    assert await text(scripted, ask()) == "late"


def test_a_tier_is_priced_as_what_it_stands_in_for_and_never_billed() -> None:
    scripted = provider(worker="openai:gpt-4o-mini")

    assert scripted.priced_as("worker") == ("openai", "gpt-4o-mini", False)
    assert scripted.priced_as("qa") == ("scripted", "qa", False)


async def test_no_match_shows_what_was_asked_and_the_nearest_entries() -> None:
    scripted = provider(
        Reply(tier="qa", text="hint"), Reply(tier="worker", ticket="slug", turn=1)
    )

    with pytest.raises(ScriptUnmatched) as caught:
        await said(scripted, ask(ticket="slug", turn=7, text="Z" * 500))

    message = str(caught.value)
    assert (
        "tier 'worker', task '', track '', ticket 'slug', attempt 1, turn 7" in message
    )
    assert "Z" * 200 + "…" in message
    assert "Z" * 201 not in message
    assert "nearest entries: tier 'worker', ticket 'slug', turn 1; tier 'qa'" in message


async def test_an_empty_script_says_so() -> None:
    with pytest.raises(ScriptUnmatched, match="the script is empty"):
        await said(provider(), ask())


def test_a_script_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        """
stands_in_for: {worker: openai:gpt-4o-mini}
replies:
  - {tier: worker, ticket: slug, tool_calls: [{name: f, arguments: {a: 1}}]}
"""
    )

    script = load_script(file)

    assert script.stands_in_for == {"worker": "openai:gpt-4o-mini"}
    assert script.replies[0].tool_calls[0].arguments == {"a": 1}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ["s.yaml: the file is empty"]),
        ("- 1", ["s.yaml:1:1: should be a table of keys, not a list"]),
        ("replies: [", ["s.yaml:1:11: "]),
        ("replies: !!python/name:os.system []", ["s.yaml:1:10: "]),
        ("replies: []\nreplies: []", ["s.yaml:2:1: replies: is given twice"]),
        (
            "replies:\n  - tier: worker\n    turns: 1\n  - text: x\n",
            [
                "s.yaml:3:12: replies[0].turns: unknown key; did you mean `turn`?",
                "s.yaml:4:5: replies[1].tier: is missing",
            ],
        ),
        (
            "replies:\n  - {tier: w, tool_calls: [{name: f, raw: '', arguments: {}}]}",
            ["replies[0].tool_calls[0]: give `arguments` or `raw`, not both"],
        ),
    ],
)
def test_a_bad_script_file_names_every_place(
    tmp_path: Path, content: str, expected: list[str]
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(content)

    with pytest.raises(ScenarioInvalid) as caught:
        load_script(file)

    assert [part for part in expected if part not in str(caught.value)] == []


def test_a_script_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    with pytest.raises(ScenarioInvalid, match="No such file"):
        load_script(file)

    file.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ScenarioInvalid, match="not UTF-8"):
        load_script(file)
