"""How results are shortened for a concluding turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mma_runtime.llm.chat import Image, Text, ToolResult, ToolTurn
from mma_runtime.llm.tokens import bound_turn
from mma_runtime.rounds.shortening import shortened


def results(*texts: str) -> ToolTurn:
    return ToolTurn(
        tuple(
            ToolResult(f"c{place}", "read", (Text(text),), is_error=place == 1)
            for place, text in enumerate(texts)
        )
    )


def texts(turn: ToolTurn) -> list[str]:
    return [
        part.text
        for result in turn.results
        for part in result.content
        if isinstance(part, Text)
    ]


def test_what_has_room_stays_as_it_is() -> None:
    turn = results("a" * 100, "b")

    assert shortened(turn, 1_000) is turn


def test_the_long_results_are_cut_and_the_short_ones_stay() -> None:
    turn = results("a" * 5_000, "it failed", "c" * 900)

    cut = shortened(turn, 2_000)

    first, second, third = texts(cut)
    assert (second, third) == ("it failed", "c" * 900)
    assert first.startswith("a" * 300)
    assert first.endswith("a" * 300)
    assert [result.is_error for result in cut.results] == [False, True, False]
    assert [result.call_id for result in cut.results] == ["c0", "c1", "c2"]


def test_images_are_left_out_where_there_is_no_room() -> None:
    image = Image("image/png", b"x")
    turn = ToolTurn((ToolResult("c", "look", (Text("seen"), image)),))

    assert texts(shortened(turn, 1_000)) == ["seen\n[an image]"]


@pytest.mark.parametrize("room", [-5_000, 0])
def test_where_there_is_no_room_at_all_the_note_stays(room: int) -> None:
    (text,) = texts(shortened(results("a" * 500), room))

    assert text.strip() == ("[… 500 characters are left out: no budget to read them …]")


@given(st.lists(st.text(max_size=600), min_size=1, max_size=8), st.integers(0, 3_000))
def test_what_is_shortened_has_at_most_the_room(said: list[str], room: int) -> None:
    turn = results(*said)
    least = bound_turn(results(*[""] * len(said))) + 100 * len(said)

    assert bound_turn(shortened(turn, least + room)) <= least + room
