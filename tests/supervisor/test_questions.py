"""What people are asked while a run goes on, and what their answers do."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mma_runtime import Run, RunState, Runtime, tool
from mma_runtime.errors import Refused
from mma_runtime.events import AcceptanceChecked, ApprovalAsked, ApprovalGiven
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, ToolCall, ToolTurn
from mma_runtime.outcome import Outcome
from mma_runtime.supervisor.question import Question
from mma_runtime.testing import FunctionProvider
from mma_runtime.tools.approval import Approval
from tests.team import Said, project, scenario, team, tracks, use

TOUCH = "python -c \"open('made.txt', 'w').close()\""
ASK = {"seconds": 30}


@asynccontextmanager
async def started(
    models: FunctionProvider, tmp_path: Path, **keys: object
) -> AsyncGenerator[Run]:
    folder = project(tmp_path / "project", a__txt="a\n")
    keys = {"workspace": {"path": folder}, "approvals": ASK, **keys}
    async with Runtime(home=tmp_path / "home", providers=[models]) as runtime:
        with anyio.fail_after(20):
            yield await runtime.start(scenario(**keys))


async def answered(run: Run, *answers: Approval) -> list[Question]:
    """Answer one question after the other as they come; return them."""
    asked: list[Question] = []
    waiting = list(answers)
    async for question in run.asked():
        if waiting:
            asked.append(question)
            run.answer(question.id, waiting.pop(0))

    return asked


def last_result(models: FunctionProvider) -> str:
    last = models.requests[-1].turns[-1]
    assert isinstance(last, ToolTurn)
    return str(last.results[0].content)


def runs(command: str) -> FunctionProvider:
    def work(request: ChatRequest) -> Said:
        return use("run_command", command=command) if request.turn == 1 else "done"

    return team(ticket=work)


async def test_a_command_that_is_on_no_list_is_asked_about(tmp_path: Path) -> None:
    models = runs(TOUCH)
    async with started(models, tmp_path) as run:
        (question,) = await answered(run, Approval.approve())
        outcome = await run.outcome()

    assert (question.tool, question.arguments) == ("run_command", {"command": TOUCH})
    assert question.origin.ticket == "one"
    assert "exit code 0" in last_result(models)
    assert [change.path for change in outcome.changes] == ["made.txt"]


async def test_a_rejection_goes_to_the_model_with_its_reason(tmp_path: Path) -> None:
    models = runs(TOUCH)
    async with started(models, tmp_path) as run:
        await answered(run, Approval.reject("make no files"))
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED
    assert "make no files" in last_result(models)
    assert outcome.changes == ()


async def test_a_call_may_be_approved_with_other_arguments(tmp_path: Path) -> None:
    models = runs(TOUCH)
    other = {"command": TOUCH.replace("made", "other")}
    async with started(models, tmp_path) as run:
        await answered(run, Approval.approve(other))
        outcome = await run.outcome()

    assert [change.path for change in outcome.changes] == ["other.txt"]


async def test_parallel_calls_are_decided_one_by_one_and_none_is_lost(
    tmp_path: Path,
) -> None:
    calls = tuple(
        ToolCall(f"c{n}", "run_command", {"command": f"python -c {n}"}, "{}")
        for n in range(3)
    )

    def work(request: ChatRequest) -> Said:
        return AssistantTurn(calls) if request.turn == 1 else "done"

    models = team(ticket=work)
    async with started(models, tmp_path) as run:
        asked = await answered(
            run, Approval.approve(), Approval.reject("no"), Approval.approve()
        )
        await run.outcome()

    assert len(asked) == 3
    last = models.requests[-1].turns[-1]
    assert isinstance(last, ToolTurn)
    # They are asked about in any order; each gets the answer to its own question.
    rejected = asked[1].arguments
    expected = [call.arguments == rejected for call in calls]
    assert [result.is_error for result in last.results] == expected
    assert sum(expected) == 1


async def test_calls_alike_are_not_asked_about_again(tmp_path: Path) -> None:
    def work(request: ChatRequest) -> Said:
        commands = ["git init .", "git init .", "done"]
        said = commands[request.turn - 1]
        return said if said == "done" else use("run_command", command=said)

    models = team(ticket=work)
    async with started(models, tmp_path) as run:
        asked = await answered(run, Approval.approve(all_alike=True))
        await run.outcome()

    assert len(asked) == 1


@pytest.mark.parametrize("command", ["python -c 1", 'python -c "1"'])
async def test_a_tickets_own_acceptance_command_needs_no_word(
    command: str, tmp_path: Path
) -> None:
    models = runs(command)
    plan = [{"id": "one", "description": "d", "acceptance": [command]}]

    async with started(models, tmp_path, tickets=plan) as run:
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED
    assert not [e async for e in run.events() if isinstance(e, ApprovalAsked)]


SHELL = "sh -c 'touch made.txt'"


def planned(*commands: str, tickets: int = 1, **keys: object) -> dict[str, str]:
    """Return the words of a team that plans tickets to be judged by *commands*."""
    plan = [
        {"id": f"t{n}", "description": "d", "acceptance": commands, **keys}
        for n in range(tickets)
    ]
    return {
        "plan_epic": tracks("all"),
        "plan_track": json.dumps({"tickets": plan}),
    }


@pytest.mark.parametrize("sandbox", ["auto", "off"])
async def test_a_command_that_a_model_has_planned_is_asked_about_once_in_a_run(
    sandbox: str, tmp_path: Path
) -> None:
    models = team(**planned("python -m compileall .", SHELL, tickets=3))
    async with started(models, tmp_path, epic="e", sandbox=sandbox) as run:
        asked = await answered(run, Approval.approve())
        outcome = await run.outcome()
        events = [event async for event in run.events()]

    assert [(q.tool, q.arguments) for q in asked] == [
        ("run_command", {"command": SHELL})
    ]
    assert asked[0].is_planned
    assert outcome.state is RunState.COMPLETED
    assert len([e for e in events if isinstance(e, ApprovalGiven)]) == 1


async def test_a_planned_command_that_is_rejected_runs_nowhere_and_nothing_is_paid(
    tmp_path: Path,
) -> None:
    models = team(**planned(SHELL))
    async with started(models, tmp_path, epic="e") as run:
        await answered(run, Approval.reject("no shells"))
        outcome = await run.outcome()
        events = [event async for event in run.events()]

    (ticket,) = outcome.tickets
    assert ticket.state.value == "cancelled"
    assert ticket.reason == f"its command {SHELL!r} was rejected: no shells"
    assert not [e for e in events if isinstance(e, AcceptanceChecked)]
    assert "ticket" not in [request.origin.task for request in models.requests]


async def test_a_planned_command_that_nobody_answers_for_may_pause_the_run(
    tmp_path: Path,
) -> None:
    soon = {"seconds": 0.01, "on_no_answer": "pause"}

    models = team(**planned(SHELL))
    async with started(models, tmp_path, epic="e", approvals=soon) as run:
        outcome = await run.outcome()

    assert outcome.state is RunState.PAUSED
    assert "a word on its command" in outcome.reason


async def test_a_planned_command_runs_as_it_is_or_not_at_all(tmp_path: Path) -> None:
    models = team(**planned(SHELL))
    async with started(models, tmp_path, epic="e") as run:
        async for question in run.asked():
            with pytest.raises(Refused, match="runs as it was planned"):
                run.answer(question.id, Approval.approve({"command": "true"}))

            run.answer(question.id, Approval.approve(all_alike=True))

        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED


@pytest.mark.parametrize("mode", ["auto", "step"])
async def test_the_question_of_a_start_shows_the_commands_and_a_yes_is_one_to_them(
    mode: str, tmp_path: Path
) -> None:
    models = team(**planned(SHELL, step=True))
    async with started(models, tmp_path, epic="e", mode=mode) as run:
        asked = await answered(run, Approval.approve())
        outcome = await run.outcome()

    assert [(q.tool, q.arguments) for q in asked] == [("", {"commands": [SHELL]})]
    assert outcome.state is RunState.COMPLETED


async def test_what_nobody_answers_is_rejected_in_time(tmp_path: Path) -> None:
    models = runs(TOUCH)
    soon = {"seconds": 0.01}

    async with started(models, tmp_path, approvals=soon) as run:
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED
    assert "nobody answered within 0.01 s" in last_result(models)


async def test_what_nobody_answers_may_pause_the_run(tmp_path: Path) -> None:
    pause = {"seconds": 0.01, "on_no_answer": "pause"}

    async with started(runs(TOUCH), tmp_path, approvals=pause) as run:
        outcome = await run.outcome()

    assert outcome.state is RunState.PAUSED
    assert "'one' waits for a word on a call of 'run_command'" in outcome.reason


async def test_a_question_that_is_passed_over_is_one_that_nobody_answers(
    tmp_path: Path,
) -> None:
    models = runs(TOUCH)

    async with started(models, tmp_path) as run:
        async for question in run.asked():
            run.pass_over(question.id, "nobody is here")

        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED
    assert "nobody is here" in last_result(models)


async def test_a_question_that_is_passed_over_may_pause_the_run(
    tmp_path: Path,
) -> None:
    pause = {**ASK, "on_no_answer": "pause"}

    async with started(runs(TOUCH), tmp_path, approvals=pause) as run:
        async for question in run.asked():
            run.pass_over(question.id, "nobody is here")

        outcome = await run.outcome()

    assert outcome.state is RunState.PAUSED
    assert outcome.reason.endswith("; nobody is here")


async def test_only_an_open_question_is_passed_over(tmp_path: Path) -> None:
    async with started(runs(TOUCH), tmp_path) as run:
        with pytest.raises(Refused, match="there is no open question 'x'"):
            run.pass_over("x", "nobody is here")


async def test_rules_of_the_scenario_go_before(tmp_path: Path) -> None:
    models = runs(TOUCH)
    rules = {"policy": {"run_command": "deny"}}

    async with started(models, tmp_path, approvals=rules) as run:
        await run.outcome()

    assert "is not allowed" in last_result(models)


async def test_a_tiers_rules_go_before_those_of_the_scenario(tmp_path: Path) -> None:
    models = runs(TOUCH)
    tiers = {"worker": {"model": "function:m", "policy": {"run_command": "auto"}}}

    async with started(
        models, tmp_path, approvals={"policy": {"*": "deny"}}, tiers=tiers
    ) as run:
        await run.outcome()

    assert "exit code 0" in last_result(models)


@tool
async def ring(times: int) -> str:
    """Ring the bell."""
    return f"rang {times} times"


@pytest.mark.parametrize(
    ("policy", "answer"), [({}, "rang 2 times"), ({"ring": "deny"}, "is not allowed")]
)
async def test_the_hosts_own_tools_run_unless_a_rule_says_otherwise(
    tmp_path: Path, policy: dict[str, str], answer: str
) -> None:
    def work(request: ChatRequest) -> Said:
        return use("ring", times=2) if request.turn == 1 else "done"

    models = team(ticket=work)
    async with Runtime(home=tmp_path, providers=[models], tools=[ring]) as runtime:
        run = await runtime.start(scenario(approvals={"policy": policy}))
        with anyio.fail_after(20):
            await run.outcome()

    assert answer in last_result(models)


async def play_in_steps(
    tmp_path: Path, *answers: Approval, **keys: object
) -> tuple[list[Question], Outcome]:
    def work(request: ChatRequest) -> Said:
        return use("read_file", path="a.txt") if request.turn == 1 else "done"

    async with started(team(ticket=work), tmp_path, **keys) as run:
        asked = await answered(run, *answers)
        return asked, await run.outcome()


async def test_step_by_step_every_ticket_and_every_call_is_asked_about(
    tmp_path: Path,
) -> None:
    asked, outcome = await play_in_steps(
        tmp_path, Approval.approve(), Approval.approve(), mode="step"
    )

    assert [question.tool for question in asked] == ["", "read_file"]
    assert outcome.state is RunState.COMPLETED


@pytest.mark.parametrize("mode", ["auto", "step"])
async def test_what_is_denied_is_neither_asked_nor_run_whoever_wants_it(
    mode: str, tmp_path: Path
) -> None:
    models = runs("python -c 1")
    plan = [{"id": "one", "description": "d", "acceptance": ["python -c 1"]}]
    rules = {**ASK, "policy": {"run_command": {"python *": "deny"}}}

    async with started(
        models, tmp_path, mode=mode, tickets=plan, approvals=rules
    ) as run:
        asked = await answered(run, Approval.approve(), Approval.approve())
        await run.outcome()

    assert [question.tool for question in asked] == [""] * (mode == "step")
    assert "is not allowed" in last_result(models)


async def test_a_ticket_that_may_not_start_is_cancelled(tmp_path: Path) -> None:
    plan = [
        {"id": "one", "description": "d", "step": True},
        {"id": "two", "description": "d", "depends_on": ["one"]},
    ]

    asked, outcome = await play_in_steps(
        tmp_path, Approval.reject("not today"), tickets=plan
    )

    assert len(asked) == 1
    assert [(t.state.value, t.reason) for t in outcome.tickets] == [
        ("cancelled", "not today"),
        ("blocked", "waits for 'one', which is cancelled"),
    ]


async def test_only_the_ticket_with_the_flag_is_stepped(tmp_path: Path) -> None:
    plan = [{"id": "one", "description": "d"}]

    asked, outcome = await play_in_steps(tmp_path, tickets=plan)

    assert asked == []
    assert outcome.state is RunState.COMPLETED


async def test_an_answer_to_nothing_is_refused(tmp_path: Path) -> None:
    async with started(team(), tmp_path) as run:
        await run.outcome()

        with pytest.raises(Refused, match="no open question 'one/1'"):
            run.answer("one/1", Approval.approve())


async def test_the_events_tell_of_question_and_answer(tmp_path: Path) -> None:
    async with started(runs(TOUCH), tmp_path) as run:
        await answered(run, Approval.approve())
        events = [event async for event in run.events()]

    (given,) = [event for event in events if isinstance(event, ApprovalGiven)]
    assert given.approved
    assert not given.edited


async def test_every_question_comes_once_and_the_last_is_followed_by_the_end(
    tmp_path: Path,
) -> None:
    calls = tuple(
        # As from a model that gives two calls the same id.
        ToolCall("same", "run_command", {"command": f"python -c {n}"}, "{}")
        for n in range(2)
    )

    def work(request: ChatRequest) -> Said:
        return AssistantTurn(calls) if request.turn == 1 else "done"

    models = team(ticket=work)
    async with started(models, tmp_path) as run:
        first, second = run.asked(), run.asked()
        one, two = await anext(first), await anext(first)
        # Another reader gets those that are open, too.
        assert (await anext(second)).id == one.id
        run.answer(two.id, Approval.reject("no"))
        with pytest.raises(Refused, match="no open question"):
            run.answer(two.id, Approval.approve())

        run.answer(one.id, Approval.approve())
        rest = [question async for question in first]

    assert one.id != two.id
    assert rest == []
    last = models.requests[-1].turns[-1]
    assert isinstance(last, ToolTurn)
    assert {result.is_error for result in last.results} == {False, True}


async def test_a_question_that_is_settled_by_another_answer_tells_who_waits_for_it(
    tmp_path: Path,
) -> None:
    calls = tuple(
        ToolCall(f"c{n}", "run_command", {"command": f"git init {n}"}, "{}")
        for n in range(2)
    )

    def work(request: ChatRequest) -> Said:
        return AssistantTurn(calls) if request.turn == 1 else "done"

    async with started(team(ticket=work), tmp_path) as run:
        questions = run.asked()
        one, two = await anext(questions), await anext(questions)
        run.answer(one.id, Approval.approve(all_alike=True))

        await run.settled(two.id)

        assert run.questions == ()
        assert (await run.outcome()).state is RunState.COMPLETED


async def test_no_time_is_up_while_somebody_attends(tmp_path: Path) -> None:
    models = runs(TOUCH)
    soon = {"seconds": 0.01}

    async with started(models, tmp_path, approvals=soon) as run:
        with run.attended():
            question = await anext(run.asked())
            with anyio.move_on_after(0.1):
                await run.settled(question.id)

            assert run.questions == (question,)

        await run.outcome()

    assert "nobody answered within 0.01 s" in last_result(models)
