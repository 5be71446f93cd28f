"""How a history is kept within its budget."""

import pytest

from mma_runtime.llm.chat import (
    AssistantTurn,
    Image,
    Text,
    ToolCall,
    ToolResult,
    ToolTurn,
    Turn,
    UserTurn,
    user,
)
from mma_runtime.rounds.conversation import Conversation, Cut


def round_(name: str, tokens: int = 100) -> tuple[Turn, Turn]:
    call = ToolCall(name, "read", {}, "{}")
    result = ToolResult(name, "read", (Text("x" * 4 * tokens),))
    return AssistantTurn((call,)), ToolTurn((result,))


def with_rounds(*names: str) -> Conversation:
    conversation = Conversation(system="s", turns=[user("the task")])
    for name in names:
        conversation.turns += round_(name)

    return conversation


def calls(conversation: Conversation) -> list[str]:
    return [
        call.id
        for turn in conversation.turns
        if isinstance(turn, AssistantTurn)
        for call in turn.tool_calls
    ]


def results(conversation: Conversation) -> list[str]:
    return [
        result.call_id
        for turn in conversation.turns
        if isinstance(turn, ToolTurn)
        for result in turn.results
    ]


def said(conversation: Conversation) -> list[str]:
    return [
        part.text
        for turn in conversation.turns
        if isinstance(turn, UserTurn)
        for part in turn.parts
        if isinstance(part, Text)
    ]


def test_a_history_within_its_budget_stays_as_it_is() -> None:
    conversation = with_rounds("a", "b")
    before = list(conversation.turns)

    assert conversation.fit(1_000) is None
    assert conversation.turns == before


def test_the_oldest_rounds_go_first_and_whole() -> None:
    conversation = with_rounds("a", "b", "c", "d", "e")

    cut = conversation.fit(400)

    assert cut is not None
    assert cut.turns == 6
    assert calls(conversation) == results(conversation) == ["d", "e"]
    assert said(conversation)[0] == "the task"
    assert "6 oldest turns" in said(conversation)[1]


def test_it_gains_room_so_that_it_is_not_cut_in_every_round() -> None:
    conversation = with_rounds(*"abcdefgh")
    assert conversation.fit(800) is not None

    conversation.turns += round_("i")

    assert conversation.fit(800) is None


def test_what_was_left_out_before_is_counted_by_one_note() -> None:
    conversation = with_rounds(*"abcd")
    conversation.fit(300)
    for name in "efgh":
        conversation.turns += round_(name)

    conversation.fit(300)

    notes = [text for text in said(conversation) if "left out" in text]
    assert len(notes) == 1
    assert f"{16 - 2 * len(calls(conversation))} oldest turns" in notes[0]
    assert calls(conversation) == results(conversation)


def test_the_last_round_stays_however_long_it_is() -> None:
    conversation = with_rounds("a", "b")

    assert conversation.fit(1) == Cut(2, 102)
    assert calls(conversation) == ["b"]
    assert conversation.fit(1) is None


def test_hints_go_with_the_round_that_they_belong_to() -> None:
    conversation = with_rounds("a")
    conversation.say("a hint")
    conversation.turns += round_("b")

    conversation.fit(150)

    assert "a hint" not in said(conversation)
    assert calls(conversation) == ["b"]


def test_a_refresh_lasts_until_the_next_one() -> None:
    conversation = with_rounds("a")
    conversation.refresh("first")
    conversation.turns += round_("b")
    assert "first" in said(conversation)

    conversation.refresh("second")
    assert said(conversation) == ["the task", "second"]

    conversation.refresh("")
    assert said(conversation) == ["the task"]


def test_equal_words_of_others_are_not_taken_for_a_refresh() -> None:
    conversation = with_rounds("a")
    conversation.say("same")
    conversation.refresh("same")

    conversation.refresh("")

    assert said(conversation) == ["the task", "same"]
    assert conversation.fit(10_000) is None


def test_a_refresh_may_be_cut_with_its_round() -> None:
    conversation = with_rounds("a")
    conversation.refresh("diff")
    conversation.turns += round_("b")

    conversation.fit(150)
    conversation.refresh("new")

    assert [text for text in said(conversation) if "[" not in text] == [
        "the task",
        "new",
    ]


@pytest.mark.parametrize("budget", [500, 1_500])
def test_images_count(budget: int) -> None:
    conversation = with_rounds("a", "b")
    conversation.say("look", [Image("image/png", b"")])
    conversation.turns += round_("c")

    assert (conversation.fit(budget) is None) == (budget > 1_400)
