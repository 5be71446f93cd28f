from collections.abc import Sequence

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from mma_runtime.errors import ToolFailed
from mma_runtime.events import (
    NOWHERE,
    ApprovalAsked,
    ApprovalGiven,
    Event,
    ToolCallStarted,
)
from mma_runtime.llm.chat import Text, ToolCall
from mma_runtime.tools import (
    ASK_ALWAYS,
    Approval,
    Consents,
    Gate,
    Policy,
    Toolbox,
    tool,
)
from mma_runtime.tools.approval import Approver


class Desk:
    """Somebody who is asked, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[ToolCall] = []
        self.withdrawn: list[str] = []
        self._answers: dict[str, Approval] = {}
        self._changed = anyio.Event()

    async def approve(self, call: ToolCall) -> Approval:
        self.asked.append(call)
        try:
            while call.id not in self._answers:
                await self._changed.wait()
        except anyio.get_cancelled_exc_class():
            self.withdrawn.append(call.id)
            raise

        return self._answers[call.id]

    def answer(self, **answers: Approval) -> None:
        self._answers |= answers
        self._changed.set()
        self._changed = anyio.Event()


class Bench:
    def __init__(self) -> None:
        self.done: list[str] = []

    @tool
    def change(self, what: str) -> str:
        """Change something."""
        self.done.append(what)
        return f"changed {what}"

    @tool(read_only=True)
    async def look(self, what: str) -> str:
        """Look at something."""
        await checkpoint()
        self.done.append(what)
        return f"saw {what}"

    def box(self, gate: Gate) -> Toolbox:
        return Toolbox([self.change, self.look], gate=gate)


def call(id: str, name: str = "change", **arguments: object) -> ToolCall:  # noqa: A002
    return ToolCall(id=id, name=name, arguments=arguments or {"what": id})


async def run(
    box: Toolbox, calls: Sequence[ToolCall], events: list[Event] | None = None
) -> list[tuple[str, bool]]:
    heard: list[Event] = [] if events is None else events
    done = await box.run(calls, origin=NOWHERE, emit=heard.append)
    return [
        (
            "\n".join(part.text for part in each.content if isinstance(part, Text)),
            each.is_error,
        )
        for each in done.results
    ]


def always(answer: Approval) -> Approver:
    async def approve(call: ToolCall) -> Approval:
        return answer

    return approve


async def test_an_approved_call_runs() -> None:
    gate = Gate(approve=always(Approval.approve()))

    assert await run(Bench().box(gate), [call("1")]) == [("changed 1", False)]


async def test_edited_arguments_run_instead_and_the_model_is_told() -> None:
    bench = Bench()
    gate = Gate(approve=always(Approval.approve({"what": "better"})))

    assert await run(bench.box(gate), [call("1")]) == [
        (
            '(approved with other arguments: {"what": "better"})\nchanged better',
            False,
        )
    ]
    assert bench.done == ["better"]


async def test_edited_arguments_are_checked_as_a_models_are() -> None:
    gate = Gate(approve=always(Approval.approve({"wath": "x"})))

    ((said, is_error),) = await run(Bench().box(gate), [call("1")])

    assert is_error
    assert "there is no such argument; did you mean `what`?" in said


@pytest.mark.parametrize(
    ("approve", "said"),
    [
        (always(Approval.reject("not on a Friday")), "rejected: not on a Friday"),
        (always(Approval.reject()), "rejected, without a reason"),
        (None, "rejected: nobody is there to approve it"),
    ],
)
async def test_a_rejected_call_does_not_run_and_the_model_hears_why(
    approve: Approver | None, said: str
) -> None:
    bench = Bench()

    ((text, is_error),) = await run(bench.box(Gate(approve=approve)), [call("1")])

    assert is_error
    assert said in text
    assert bench.done == []


async def test_a_denied_call_is_not_even_asked_about() -> None:
    desk = Desk()
    gate = Gate(Policy.of({"change": "deny"}), approve=desk.approve)

    ((text, is_error),) = await run(Bench().box(gate), [call("1")])

    assert is_error
    assert "change is not allowed" in text
    assert desk.asked == []


async def test_somebody_who_fails_to_answer_has_not_approved() -> None:
    async def broken(call: ToolCall) -> Approval:
        raise OSError("the terminal is gone")

    bench = Bench()

    ((text, is_error),) = await run(bench.box(Gate(approve=broken)), [call("1")])

    assert is_error
    assert "the terminal is gone" in text
    assert bench.done == []


async def test_of_many_calls_each_is_decided_on_its_own_and_none_is_lost() -> None:
    bench, desk, results = Bench(), Desk(), list[tuple[str, bool]]()
    calls = [call(str(n), "look" if n % 2 else "change") for n in range(1, 9)]

    async def work() -> None:
        results.extend(
            await run(bench.box(Gate(ASK_ALWAYS, approve=desk.approve)), calls)
        )

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await wait_all_tasks_blocked()
        # All are asked at once, before any runs.
        assert sorted(each.id for each in desk.asked) == list("12345678")
        assert bench.done == []
        for n in range(8, 0, -1):
            desk.answer(
                **{
                    str(n): Approval.reject(f"no {n}")
                    if n % 3 == 0
                    else Approval.approve()
                }
            )
            await wait_all_tasks_blocked()

    assert [is_error for _, is_error in results] == [n % 3 == 0 for n in range(1, 9)]
    assert [text.split()[-1] for text, _ in results] == list("12345678")
    assert sorted(bench.done) == ["1", "2", "4", "5", "7", "8"]


async def test_all_alike_answers_what_is_being_asked_too_and_later_agents() -> None:
    desk, consents, bench = Desk(), Consents(), Bench()
    gate = Gate(approve=desk.approve, consents=consents)
    results: list[tuple[str, bool]] = []

    async def work() -> None:
        results.extend(await run(bench.box(gate), [call("1"), call("2"), call("3")]))

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await wait_all_tasks_blocked()
        desk.answer(**{"2": Approval.approve(all_alike=True)})

    assert [text for text, _ in results] == ["changed 1", "changed 2", "changed 3"]
    assert sorted(desk.withdrawn) == ["1", "3"]
    nobody = Gate(consents=consents)
    assert await run(bench.box(nobody), [call("4")]) == [("changed 4", False)]


async def test_what_is_denied_stays_denied_whatever_was_approved() -> None:
    consents = Consents()
    gate = Gate(approve=always(Approval.approve(all_alike=True)), consents=consents)
    await run(Bench().box(gate), [call("1")])

    denied = Gate(Policy.of({"change": "deny"}), consents=consents)

    ((_, is_error),) = await run(Bench().box(denied), [call("2")])
    assert is_error


async def test_cancelling_the_round_withdraws_its_questions() -> None:
    desk, bench = Desk(), Bench()

    async with anyio.create_task_group() as group:
        group.start_soon(
            run, bench.box(Gate(approve=desk.approve)), [call("1"), call("2")]
        )
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert sorted(desk.withdrawn) == ["1", "2"]
    assert bench.done == []


async def test_broken_and_unknown_calls_are_answered_without_a_question() -> None:
    desk = Desk()
    gate = Gate(ASK_ALWAYS, approve=desk.approve)
    broken = ToolCall(id="1", name="change", arguments=None, raw="{")

    results = await run(Bench().box(gate), [broken, call("2", "chnage")])

    assert [is_error for _, is_error in results] == [True, True]
    assert desk.asked == []


async def test_questions_and_answers_are_events() -> None:
    events: list[Event] = []
    gate = Gate(approve=always(Approval.approve({"what": "x"})))

    await run(Bench().box(gate), [call("1"), call("2", "look")], events)

    asked, given, *rest = events
    assert isinstance(asked, ApprovalAsked)
    assert isinstance(given, ApprovalGiven)
    assert (given.call, given.tool, given.approved, given.edited) == (
        "1",
        "change",
        True,
        True,
    )
    assert isinstance(rest[0], ToolCallStarted)
    assert not any(isinstance(each, ApprovalAsked) for each in rest)


def test_denied_is_said_with_what_it_was_for() -> None:
    gate = Gate(Policy.of({"write_file": "deny"}))

    with pytest.raises(ToolFailed, match=r"write_file is not allowed for 'a\.py' here"):
        gate.refuse_unasked(call("1", "write_file", path="./a.py"), read_only=False)
