"""How many tokens a request is likely to be."""

from dataclasses import replace

from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Counted,
    Image,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    ToolTurn,
    UserTurn,
    user,
)
from mma_runtime.llm.tokens import (
    TOKENS_PER_IMAGE,
    InputBound,
    estimate_request,
    estimate_tokens,
)


def test_four_characters_are_a_token_and_a_rest_counts_as_one() -> None:
    assert [estimate_tokens("x" * n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_what_is_not_ascii_counts_as_a_token_a_character() -> None:
    assert [estimate_tokens(text) for text in ("汉字", "汉字abcd", "zurück", "é")] == [
        2,
        3,
        3,
        1,
    ]


def test_every_part_of_a_request_counts() -> None:
    call = ToolCall("1", "read", {"path": "a"}, '{"path": "a"}')
    request = ChatRequest(
        model="m",
        system="s" * 40,
        turns=(
            user("u" * 40),
            AssistantTurn((Text("a" * 40), call)),
            ToolTurn((ToolResult("1", "read", (Text("r" * 40),)),)),
        ),
    )

    assert estimate_request(request) == 4 * 10 + estimate_tokens(call.raw)


def test_an_image_counts_for_more_than_its_caption() -> None:
    image = Image("image/png", b"\x89PNG")
    request = ChatRequest(
        model="m", system="", turns=(UserTurn((Text("abcd"), image)),)
    )

    assert estimate_request(request) == 1 + TOKENS_PER_IMAGE


def test_the_definitions_of_tools_count() -> None:
    tool = ToolSpec(name="read", description="Reads.", parameters={"type": "object"})
    bare = ChatRequest(model="m", system="", turns=())
    armed = ChatRequest(model="m", system="", turns=(), tools=(tool,))

    assert estimate_request(bare) == 0
    assert estimate_request(armed) > 5


def test_a_count_holds_for_the_tools_that_it_was_taken_with_and_for_none() -> None:
    one = ToolSpec(name="read", description="Reads.", parameters={})
    other = ToolSpec(name="write", description="w" * 900, parameters={})
    counted = Counted("m", 1, 100, (one,))
    turns = (user("u" * 2_000), user("go on"))

    bounds = [
        InputBound().of(
            ChatRequest(
                model=model, system="", turns=turns, tools=tools, counted=counted
            )
        )
        for model, tools in (
            ("m", (one,)),
            ("m", (replace(one),)),
            ("m", ()),
            ("m", (other,)),
            ("m", (one, other)),
            ("n", (one,)),
        )
    ]

    assert [bound < 200 for bound in bounds] == [True, True, True, False, False, False]
