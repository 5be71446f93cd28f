"""Recorded runs of teams with rules, documents, linters, questions and long outputs."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from mma_runtime import Approval, Run, RunState, Runtime, Scenario
from mma_runtime.events import (
    ApprovalAsked,
    ApprovalGiven,
    Event,
    LintFixed,
    OutputCut,
    ReviewGiven,
)
from mma_runtime.llm.chat import ChatRequest, Completion, ToolTurn
from mma_runtime.outcome import Outcome
from mma_runtime.testing import FunctionProvider
from tests.eavesdropping import everything_told
from tests.team import Said, project, scenario, team, tickets, use

LINT = "python -m ruff check --isolated --no-cache --select F one.py"
LOUD = "python -c \"print('line ' * 4000)\""
EDIT = '{"edits": [{"path": "one.py", "old": "import os\\n", "new": ""}]}'
RULES = "Names are short."
NOTES = "The map of the house."
CODE = "import os\nx = 1\n"


def given(folder: Path) -> Scenario:
    """Return a scenario with all that a journal could forget."""
    work = project(folder / "work", RULES__md=RULES, NOTES__md=NOTES, a__txt="a\n")
    return scenario(
        track={"id": "files", "goal": "two files"},
        workspace={"path": work},
        rules=["RULES.md"],
        context=["NOTES.md"],
        tiers={"qa": {"model": "function:m"}},
        approvals={"seconds": 5},
    )


PLAN = tickets(one=[], two=["one"]).replace(
    '"id": "one"', f'"acceptance": ["{LINT}"], "id": "one"'
)


def a_team() -> FunctionProvider:
    """Return a team: ticket one has lint and asks; ticket two changes the rules."""

    def work(request: ChatRequest) -> Said:
        name, turn = request.origin.ticket, request.turn
        steps: dict[str, list[Said]] = {
            "one": [
                use("write_file", path="one.py", content=CODE),
                use("run_command", command=LOUD),
                "done",
            ],
            "two": [
                use("write_file", path="RULES.md", content="Names are long."),
                use("write_file", path="NOTES.md", content="Another map."),
                "done",
            ],
        }
        return steps[name][turn - 1]

    return team(plan_track=PLAN, ticket=work, lint=EDIT)


async def play(
    home: Path, models: FunctionProvider, begin: Callable[[Runtime], Awaitable[Run]]
) -> tuple[Run, Outcome, list[Event]]:
    """Begin a run, say yes to whatever it asks, and wait for its end."""
    async with Runtime(
        home=home, providers=[models], journal=True, environment={}
    ) as runtime:
        run = await begin(runtime)
        with anyio.fail_after(60):
            async for question in run.asked():
                run.answer(question.id, Approval.approve())

            outcome = await run.outcome()

        return run, outcome, [event async for event in run.events()]


def of_kind(events: list[Event], *kinds: type[Event]) -> list[tuple[str, object]]:
    told = [event for event in events if isinstance(event, kinds)]
    return [
        (type(event).__name__, getattr(event, "what", getattr(event, "files", "")))
        for event in told
    ]


TOLD = (LintFixed, OutputCut, ApprovalAsked, ApprovalGiven, ReviewGiven)


async def test_all_of_it_is_there_again_without_a_call_or_a_question(
    tmp_path: Path,
) -> None:
    home = tmp_path / ".mma"
    scenario = given(tmp_path)
    models = a_team()
    _, first, events = await play(home, models, lambda runtime: runtime.start(scenario))
    assert first.state is RunState.COMPLETED, first.reason
    assert len(of_kind(events, *TOLD)) == 6, of_kind(events, *TOLD)
    silent = a_team()

    _, again, events_again = await play(
        home, silent, lambda runtime: runtime.resume("last")
    )
    replayed, _, replayed_events = await play(
        home, silent, lambda runtime: runtime.replay("last", tmp_path / "scratch")
    )

    assert silent.requests == []
    assert again.state is RunState.COMPLETED
    assert replayed.difference == ""
    for told in (events_again, replayed_events):
        assert of_kind(told, *TOLD) == of_kind(events, *TOLD)

    assert again.tree is not None
    assert (again.tree / "one.py").read_text() == "x = 1\n"
    assert (again.tree / "RULES.md").read_text() == "Names are long."


async def cut_off(home: Path, scenario: Scenario, ticket: str) -> FunctionProvider:
    """Cancel a run when *ticket* is about to conclude; return whom it asked."""
    models, reached = a_team(), anyio.Event()

    async def answer(request: ChatRequest) -> Said:
        origin = request.origin
        if (origin.task, origin.ticket, request.turn) == ("ticket", ticket, 3):
            reached.set()
            await anyio.sleep_forever()

        *_, completion = [chunk async for chunk in models.stream(request)]
        assert isinstance(completion, Completion)
        return completion

    provider = FunctionProvider(answer)
    async with Runtime(home=home, providers=[provider], journal=True) as runtime:
        run = await runtime.start(scenario)
        async with anyio.create_task_group() as group:

            async def approve() -> None:
                async for question in run.asked():
                    run.answer(question.id, Approval.approve())

            group.start_soon(approve)
            await reached.wait()
            outcome = await run.cancel()
            assert outcome.state is RunState.CANCELLED

    return provider


@pytest.mark.parametrize("ticket", ["one", "two"])
async def test_what_a_resumed_run_asks_for_is_what_it_would_have_asked(
    tmp_path: Path, ticket: str
) -> None:
    home, scenario = tmp_path / ".mma", given(tmp_path)
    before = await cut_off(home, scenario, ticket)
    # The run has its own copy of the project, rules and all.
    (tmp_path / "work" / "RULES.md").write_text("No rules any more.")
    models = a_team()

    _, outcome, _ = await play(home, models, lambda runtime: runtime.resume("last"))

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert outcome.tree is not None
    assert (outcome.tree / "one.py").read_text() == "x = 1\n"
    resumed = models.requests[0]
    (asked_before,) = [
        one
        for one in before.requests
        if (one.origin, one.turn) == (resumed.origin, resumed.turn)
    ]
    assert resumed.system == asked_before.system
    assert resumed.turns == asked_before.turns
    assert isinstance(resumed.turns[-1], ToolTurn)
    for request in models.requests:
        if request.origin.tier in {"worker", "tech_lead"}:
            assert RULES in everything_told(request)
            assert "No rules" not in everything_told(request)
