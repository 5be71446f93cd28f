import json
from math import inf, isnan, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import (
    booleans,
    dictionaries,
    floats,
    integers,
    lists,
    none,
    recursive,
    text,
)

from mma_runtime.journal.codec import decode, encode
from mma_runtime.llm.chat import (
    AssistantTurn,
    Image,
    ProviderState,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    ToolTurn,
    Turn,
    user,
)

JSON = recursive(
    none() | booleans() | integers() | floats(allow_nan=False) | text(),
    lambda inner: lists(inner, max_size=3) | dictionaries(text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "turn",
    [
        user("größer 中 \udcff \x7f"),
        AssistantTurn(
            (
                Reasoning("hm", ProviderState("p", {"signature": b"\0\xff"})),
                Text("said"),
                ToolCall("c", "look", None, "{broken"),
                ToolCall("c", "look", {"tuple": ["map", {"bytes": 1}]}, "…"),
            )
        ),
        ToolTurn((ToolResult("c", "look", (Image("image/png", b"\x89"),), True),)),
    ],
)
def test_a_turn_comes_back_equal(turn: Turn) -> None:
    assert decode(encode(turn)) == turn


@given(dictionaries(text(), JSON, max_size=4))
def test_any_arguments_come_back_equal(arguments: dict[str, Any]) -> None:
    turn = AssistantTurn((ToolCall("c", "look", arguments),))

    assert decode(encode(turn)) == turn


def test_numbers_that_json_has_not_come_back_and_are_written_as_json() -> None:
    values = [inf, -inf, 10**40, 1e-320]
    content = encode([*values, nan])

    json.loads(content, parse_constant=pytest.fail)
    *back, last = decode(content)
    assert back == values
    assert isnan(last)


def test_what_is_no_turn_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold a object"):
        encode([object()])
    with pytest.raises(ValueError, match="Expecting value"):
        decode(b"no turn")
