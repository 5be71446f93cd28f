from dataclasses import replace

import pytest

from mma_runtime.events import Origin
from mma_runtime.journal.digests import RequestDigests
from mma_runtime.journal.scrub import NO_SECRETS, Scrubber
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    ToolTurn,
    Turn,
    user,
)

SPEC = ToolSpec(name="look", description="Look.", parameters={"type": "object"})
TURNS: tuple[Turn, ...] = (
    user("Schöne Grüße"),
    AssistantTurn((ToolCall("call-1", "look", {"text": "größer"}, '{"text": "…"}'),)),
    ToolTurn((ToolResult("call-1", "look", (Text("nichts"),)),)),
    user("again"),
)


def _request(*turns: Turn) -> ChatRequest:
    return ChatRequest(
        model="m",
        system="be brief",
        turns=turns,
        tools=(SPEC,),
        origin=Origin(tier="worker", ticket="t1"),
    )


def _digest(request: ChatRequest) -> str:
    return RequestDigests(NO_SECRETS).digest(request)[0]


def test_only_what_is_new_of_a_conversation_is_encoded() -> None:
    digests = RequestDigests(NO_SECRETS)
    _, first = digests.digest(_request(*TURNS[:1]))
    _, then = digests.digest(_request(*TURNS))
    _, again = digests.digest(_request(*TURNS))

    assert [len(first), len(then), len(again)] == [1, 3, 0]


def test_a_conversation_that_grew_has_the_digest_of_one_that_came_at_once() -> None:
    digests = RequestDigests(NO_SECRETS)
    for end in range(1, len(TURNS) + 1):
        digest, _ = digests.digest(_request(*TURNS[:end]))
        assert digest == _digest(_request(*TURNS[:end]))


@pytest.mark.parametrize(
    "turns",
    [
        TURNS[:2],
        (TURNS[0], *TURNS[2:]),
        (user("another"), *TURNS[1:]),
        (*TURNS[:3], user("another")),
        (),
    ],
)
def test_a_conversation_that_was_cut_or_changed_is_digested_as_it_is(
    turns: tuple[Turn, ...],
) -> None:
    digests = RequestDigests(NO_SECRETS)
    whole, _ = digests.digest(_request(*TURNS))

    changed, _ = digests.digest(_request(*turns))

    assert changed == _digest(_request(*turns)) != whole


def test_other_tools_or_another_system_prompt_are_another_request() -> None:
    request = _request(*TURNS)
    digests = RequestDigests(NO_SECRETS)
    digests.digest(request)

    found = {
        digests.digest(request)[0],
        digests.digest(replace(request, tools=()))[0],
        _digest(replace(request, system="be long")),
        _digest(replace(request, response_schema={"type": "object"})),
    }

    assert len(found) == 4


def test_what_is_to_come_is_encoded_once_and_without_secrets() -> None:
    digests = RequestDigests(Scrubber([("A_KEY", "größer")]))
    content = digests.encoded(TURNS[1])

    _, fresh = digests.digest(_request(*TURNS[:2]))

    assert fresh[1] is content
    assert b"[secret A_KEY" in content.text


@pytest.mark.parametrize(
    ("turns", "recorded"),
    [
        (TURNS, "e8d171e4caaef04bf4ce34d64c0beae5"),
        ((), "9c7c2818ad1a935556760030300c9488"),
    ],
)
def test_a_digest_of_the_second_format_still_tells_its_request(
    turns: tuple[Turn, ...], recorded: str
) -> None:
    digests = RequestDigests(NO_SECRETS)
    request, other = _request(*turns), _request(*turns, user("more"))

    assert digests.is_same(recorded, digests.digest(request)[0], request)
    assert not digests.is_same(recorded, digests.digest(other)[0], other)
