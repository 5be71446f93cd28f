"""The tool loop and its bound, with a model that is a function."""

from collections.abc import Callable, Sequence

import pytest

from mma_runtime.costs import CostAggregator, Ledger
from mma_runtime.costs.budget import Budget, Budgets
from mma_runtime.costs.reservations import Amount, Level
from mma_runtime.errors import (
    AnswerUnusable,
    ConfigurationError,
    ContentFiltered,
    ToolFailed,
)
from mma_runtime.events import Event, Origin, RoundStarted
from mma_runtime.kernel import ActorSystem
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Completion,
    Finish,
    Text,
    ToolCall,
    ToolTurn,
    UserTurn,
    user,
)
from mma_runtime.llm.tokens import InputBound
from mma_runtime.llm.usage import Usage
from mma_runtime.model import Model
from mma_runtime.model.route import Route
from mma_runtime.rounds import (
    CONCLUDE,
    EMPTY_REPLY,
    Aside,
    Bounded,
    Concluded,
    Stuck,
    default_max_rounds,
    run_rounds,
)
from mma_runtime.rounds.conversation import Conversation
from mma_runtime.testing import FunctionProvider
from mma_runtime.tools import Tool, Toolbox, tool
from mma_runtime.tools.toolbox import RoundResults

WORKER = Origin(run="r", tier="worker", ticket="t", task="ticket")


@tool(read_only=True)
async def double(number: int) -> str:
    """Double a number."""
    return str(2 * number)


@tool
async def fail() -> str:
    """Fail always."""
    raise ToolFailed("it is broken")


def call(name: str = "double", raw: str = '{"number": 4}', id_: str = "c1") -> ToolCall:
    arguments = {"number": 4} if raw == '{"number": 4}' else None
    return ToolCall(id_, name, arguments if raw != "{}" else {}, raw)


def says(*parts: Text | ToolCall) -> AssistantTurn:
    return AssistantTurn(parts)


class Loop:
    """One loop with a model whose replies are given."""

    def __init__(self, replies: Sequence[AssistantTurn | Completion | str]) -> None:
        self.replies = list(replies)
        self.provider = FunctionProvider(self._reply)
        self.conversation = Conversation(system="be brief", turns=[user("go")])
        self.events: list[Event] = []
        self.ledger = Ledger()

    def _reply(self, _request: ChatRequest) -> AssistantTurn | Completion | str:
        return self.replies.pop(0)

    async def run(
        self, *tools: Tool, max_rounds: int = 10, **options: Callable[..., object]
    ) -> Concluded | Bounded | Stuck:
        emit = self.events.append
        async with ActorSystem() as system:
            costs = await system.spawn("costs", CostAggregator, self.ledger, emit)
            route = Route(self.provider, "m", costs=costs, emit=emit, rates=None)
            return await run_rounds(
                Model(route),
                Toolbox(tools or (double, fail)),
                self.conversation,
                origin=WORKER,
                emit=emit,
                max_rounds=max_rounds,
                **options,  # type: ignore[arg-type]
            )


async def test_an_answer_without_tools_ends_the_loop() -> None:
    loop = Loop(["hello"])

    assert await loop.run() == Concluded(answer="hello", rounds=1)
    assert [e.round for e in loop.events if isinstance(e, RoundStarted)] == [1]


async def test_results_go_back_in_the_order_of_the_calls() -> None:
    calls = says(call(id_="a"), call("fail", "{}", "b"), call(id_="c"))
    loop = Loop([calls, "done"])

    assert await loop.run() == Concluded(answer="done", rounds=2)

    request = loop.provider.requests[1]
    assert request.turns[1] == calls
    results = request.turns[2]
    assert isinstance(results, ToolTurn)
    assert [(r.call_id, r.is_error) for r in results.results] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]
    assert results.results[0].content == (Text("8"),)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (call(raw='{"number": '), "JSON"),
        (call("doubel"), "`double`"),
        (call("fail", "{}"), "broken"),
    ],
    ids=["broken JSON", "unknown tool", "failing tool"],
)
async def test_a_bad_call_is_an_error_result_and_the_loop_goes_on(
    bad: ToolCall, word: str
) -> None:
    loop = Loop([says(bad), "sorry"])

    assert await loop.run() == Concluded(answer="sorry", rounds=2)

    turn = loop.provider.requests[1].turns[2]
    assert isinstance(turn, ToolTurn)
    (result,) = turn.results
    assert result.is_error
    assert word in str(result.content)


async def test_in_the_last_round_the_model_is_told_to_conclude_without_tools() -> None:
    loop = Loop([says(call()), says(call()), "that is all"])

    assert await loop.run(max_rounds=3) == Concluded(answer="that is all", rounds=3)

    offered = [bool(request.tools) for request in loop.provider.requests]
    assert offered == [True, True, False]
    assert loop.provider.requests[2].turns[-1] == user(CONCLUDE)
    assert user(CONCLUDE) not in loop.provider.requests[1].turns


async def test_who_asks_for_a_tool_in_the_last_round_is_bounded_not_answered() -> None:
    loop = Loop([says(call()), says(Text("half"), call())])

    ended = await loop.run(max_rounds=2)

    assert isinstance(ended, Bounded)
    assert (ended.partial, ended.rounds) == ("half", 2)
    assert "'double'" in ended.reason


async def test_a_bounded_conversation_can_be_gone_on_with() -> None:
    loop = Loop([says(call()), says(call()), "finished"])
    await loop.run(max_rounds=2)
    loop.conversation.turns.append(user("go on"))

    assert await loop.run() == Concluded(answer="finished", rounds=1)

    request = loop.provider.requests[-1]
    open_calls = [
        turn
        for turn, after in zip(request.turns, request.turns[1:], strict=False)
        if isinstance(turn, AssistantTurn)
        and turn.tool_calls
        and not isinstance(after, ToolTurn)
    ]
    assert open_calls == []
    assert request.turn == 3


async def test_work_that_goes_on_after_a_conclusion_is_bounded_with_its_tools() -> None:
    def counted(request: ChatRequest) -> Completion:
        turn = says(call()) if len(loop.provider.requests) == 1 else says(Text("done"))
        usage = Usage(input=5_000 if request.tools else 100, output=5)
        return Completion(turn=turn, finish=Finish.STOP, usage=usage, model="m")

    loop = Loop([])
    loop.provider = FunctionProvider(counted)
    await loop.run(max_rounds=2)
    loop.conversation.turns.append(user("mend it"))

    await loop.run(max_rounds=2)

    *_, concluding, reworking = loop.provider.requests
    assert (concluding.tools, len(reworking.tools)) == ((), 2)
    assert InputBound().of(concluding) > 5_000
    assert InputBound().of(reworking) > 5_000


async def test_an_answer_that_was_cut_off_is_bounded() -> None:
    cut = Completion(
        turn=says(Text("once upon")),
        finish=Finish.LENGTH,
        usage=Usage(input=1, output=1),
        model="m",
    )

    ended = await Loop([cut]).run()

    assert isinstance(ended, Bounded)
    assert ended.partial == "once upon"
    assert "output limit" in ended.reason


async def test_an_empty_reply_is_asked_for_again_once() -> None:
    loop = Loop(["", "here"])

    assert await loop.run() == Concluded(answer="here", rounds=2)
    assert loop.provider.requests[1].turns[-1] == user(EMPTY_REPLY)


async def test_two_empty_replies_are_no_answer() -> None:
    with pytest.raises(AnswerUnusable, match="empty reply"):
        await Loop(["", "  "]).run()


async def test_a_filtered_answer_is_an_error_with_the_providers_word() -> None:
    filtered = Completion(
        turn=says(),
        finish=Finish.CONTENT_FILTER,
        usage=None,
        model="m",
        raw_finish="safety",
    )

    with pytest.raises(ContentFiltered, match="safety"):
        await Loop([filtered]).run()


async def test_what_comes_after_a_round_is_said_before_the_next_call() -> None:
    seen: list[RoundResults] = []

    async def hint(calls: Sequence[ToolCall], results: RoundResults) -> Aside:
        assert [one.id for one in calls] == [one.call_id for one in results.results]
        seen.append(results)
        return Aside(text="a hint")

    loop = Loop([says(call()), "done"])
    await loop.run(after_round=hint)

    assert len(seen) == 1
    last = loop.provider.requests[1].turns[-1]
    assert last == UserTurn((Text("a hint"),))


@pytest.mark.parametrize("letter", ["x", "字"])
async def test_what_tools_said_last_is_shortened_to_what_is_kept_for_a_conclusion(
    letter: str,
) -> None:
    @tool(read_only=True)
    async def read() -> str:
        """Read a lot, while others use up the budget."""
        run = loop.ledger.tree.run
        loop.ledger.tree.spend(Origin(), Amount(tokens=60_000 - sum(taken(run))))
        return letter * 8_000

    def taken(run: Level) -> tuple[int, int]:
        return run.spent.tokens, run.held.tokens

    loop = Loop(
        [says(call("read", "{}", "c1"), call("read", "{}", "c2")), "half of it"]
    )
    loop.ledger = Ledger(Budgets(run=Budget(tokens=60_000)))

    ended = await loop.run(read)

    assert isinstance(ended, Bounded)
    assert (ended.partial, ended.rounds) == ("half of it", 2)
    assert ended.exhausted is not None
    *_, results, _ = loop.provider.requests[-1].turns
    assert isinstance(results, ToolTurn)
    for result in results.results:
        (text,) = result.content
        assert isinstance(text, Text)
        assert "characters are left out: no budget to read them" in text.text
        assert text.text.startswith(letter * 100)
        assert text.text.endswith(letter * 100)


async def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        await Loop(["x"]).run(max_rounds=0)


def test_the_environment_sets_the_bound() -> None:
    assert default_max_rounds({}) == 10
    assert default_max_rounds({"MAX_TOOL_ROUNDS": "3"}) == 3


@pytest.mark.parametrize("text", ["0", "-1", "ten", "1.5"])
def test_a_bound_in_the_environment_that_is_no_number_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="MAX_TOOL_ROUNDS"):
        default_max_rounds({"MAX_TOOL_ROUNDS": text})
