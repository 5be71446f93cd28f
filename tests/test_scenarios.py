"""The shipped scenarios, run for real; only the words are scripted."""

import shutil
import subprocess
from pathlib import Path

import anyio
import pytest

from mma_providers.scripted import ScriptedProvider
from mma_runtime import Outcome, RunState, Runtime
from mma_runtime.events import (
    ApprovalAsked,
    Event,
    HintGiven,
    LintFixed,
    RunStarted,
    TicketEscalated,
    TicketReturned,
    TicketStarted,
    WorkerStuck,
)
from mma_runtime.llm.chat import ChatRequest, Image, UserTurn
from mma_runtime.testing import FunctionProvider
from mma_runtime.tools.approval import Approval
from tests.eavesdropping import RecordingProvider, everything_told
from tests.team import Said, scenario, team, use

REPOSITORY = Path(__file__).parent.parent
SCENARIOS = REPOSITORY / "scenarios"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    command = ("git", *identity, *arguments)
    done = subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


class Stage:
    """A copy of a scenario and its folder, and what came of a run."""

    def __init__(self, name: str, tmp_path: Path) -> None:
        for file in SCENARIOS.glob(f"{name}.*"):
            shutil.copy(file, tmp_path)

        self.file = tmp_path / f"{name}.yaml"
        self.home = tmp_path / "home"
        self.folder = tmp_path / "depot"
        ignore = shutil.ignore_patterns("__pycache__", ".mma")
        shutil.copytree(SCENARIOS / "depot", self.folder, ignore=ignore)
        self.models = RecordingProvider(
            ScriptedProvider(SCENARIOS / f"{name}.script.yaml")
        )
        self.events: list[Event] = []

    async def play(self) -> Outcome:
        async with Runtime(home=self.home, providers=[self.models]) as runtime:
            run = await runtime.start(self.file)
            self.events = [event async for event in run.events()]
            outcome = await run.outcome()

        assert outcome.state is RunState.COMPLETED, outcome.reason
        return outcome

    def told(self, tier: str) -> str:
        return "\n".join(
            everything_told(request)
            for request in self.models.requests
            if request.origin.tier == tier
        )

    def returned(self) -> list[tuple[str, str]]:
        return [
            (event.origin.ticket, event.by)
            for event in self.events
            if isinstance(event, TicketReturned)
        ]


async def test_refactor_across_modules(tmp_path: Path) -> None:
    stage = Stage("refactor_across_modules", tmp_path)
    git(stage.folder, "init", "-q", "-b", "main")
    git(stage.folder, "add", ".")
    git(stage.folder, "commit", "-q", "-m", "start")

    outcome = await stage.play()

    assert {track.id: track.state.value for track in outcome.tracks} == {
        "money": "accepted",
        "stock": "accepted",
    }
    assert sorted(stage.returned()) == [
        ("arithmetic", "worker"),
        ("prices", "review"),
        ("units", "merge"),
    ]
    assert {
        ticket.id: ticket.attempts for ticket in outcome.tickets if ticket.attempts > 1
    } == {"arithmetic": 2, "units": 2}
    models = {ticket.id: ticket.models for ticket in outcome.tickets}
    assert models["arithmetic"] == ("scripted:worker", "scripted:bigger-worker")
    assert models["units"] == ("scripted:worker", "scripted:worker")
    climbed = [e.origin.ticket for e in stage.events if isinstance(e, TicketEscalated)]
    assert climbed == ["arithmetic"]
    (climb,) = outcome.escalations
    assert (climb.ticket, climb.models) == ("arithmetic", models["arithmetic"])
    assert climb.spent.calls == 3
    assert 0 < climb.spent.usd < outcome.costs.total.usd
    stuck = [e.told for e in stage.events if isinstance(e, WorkerStuck)]
    assert stuck == [True, False]

    # The epic's words stay above, the code below, and nobody's chatter goes up.
    assert "without anybody" not in stage.told("worker") + stage.told("tech_lead")
    assert "def total" not in stage.told("orchestrator")
    assert "in 0." not in stage.told("tech_lead")  # As pytest ends its output.
    assert "Functions have annotations" in stage.told("worker")
    assert outcome.firewall.produced > 0
    assert outcome.firewall.passed > 0

    # The user's own branch and folder are as they were.
    assert git(stage.folder, "status", "--porcelain") == ""
    assert git(stage.folder, "log", "--format=%s", "main").split() == ["start"]


async def test_lint_and_tests(tmp_path: Path) -> None:
    stage = Stage("lint_and_tests", tmp_path)

    outcome = await stage.play()

    assert outcome.tickets[0].rounds == 4
    assert stage.returned() == []
    (fixed,) = [event for event in stage.events if isinstance(event, LintFixed)]
    assert fixed.files == ("depot/value.py",)
    (hint,) = [event for event in stage.events if isinstance(event, HintGiven)]
    assert hint.tokens <= 50
    seen = stage.told("qa")
    assert "test_every_piece_counts" in seen
    assert "def take" not in seen
    assert "WHERE" not in seen


async def test_vision_bug_report(tmp_path: Path) -> None:
    stage = Stage("vision_bug_report", tmp_path)
    picture = Image("image/png", (stage.folder / "docs" / "report.png").read_bytes())

    await stage.play()

    for request in stage.models.requests:
        first = request.turns[0]
        assert isinstance(first, UserTurn)
        assert picture in first.parts


async def test_step_mode(tmp_path: Path) -> None:
    stage = Stage("step_mode", tmp_path)

    async with Runtime(home=stage.home, providers=[stage.models]) as runtime:
        run = await runtime.start(stage.file)
        asked: list[str] = []
        with anyio.fail_after(60):
            async for event in run.events():
                if isinstance(event, ApprovalAsked):
                    await anyio.wait_all_tasks_blocked()
                    (question,) = run.questions
                    asked.append(question.tool or "start")
                    run.answer(question.id, Approval.approve())

            outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert asked == ["start", "read_file", "edit_file"]


async def test_mcp_tools(tmp_path: Path) -> None:
    stage = Stage("mcp_tools", tmp_path)

    outcome = await stage.play()

    (started,) = [event for event in stage.events if isinstance(event, RunStarted)]
    assert started.mcp_servers == {"catalogue": 2}
    said = stage.told("worker")
    assert "one plate weighs 1240 g" in said
    assert "there is no 'nuts'; there are bolt, nut, plate" in said
    assert "depot will hear of each change of 'plate'" in said
    assert [change.path for change in outcome.changes] == ["depot/weights.py"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_team_works_on_this_very_repository(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".mma", ".*_cache")
    shutil.copytree(REPOSITORY, folder, ignore=ignored)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "start")

    def work(request: ChatRequest) -> Said:
        if request.turn == 1:
            return use(
                "edit_file",
                path="mma_runtime/plan/plan.py",
                old='    """Which of several ready tickets goes first."""',
                new='    """Which of several ready tickets is first."""',
            )

        return "done"

    plan = (
        '{"tickets": [{"id": "words", "description": "d", "target_file":'
        ' "mma_runtime/plan/plan.py", "acceptance":'
        ' ["python -m compileall -q mma_runtime/plan/plan.py"]}]}'
    )
    models: FunctionProvider = team(plan_track=plan, ticket=work)
    async with Runtime(home=tmp_path / "home", providers=[models]) as runtime:
        run = await runtime.start(
            scenario(
                workspace={"path": folder},
                track={"id": "t", "goal": "g", "modules": ["mma_runtime/plan/plan.py"]},
            )
        )
        events = [event async for event in run.events()]
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert [change.path for change in outcome.changes] == ["mma_runtime/plan/plan.py"]
    assert any(isinstance(event, TicketStarted) for event in events)
    brief = everything_told(models.requests[0])
    assert "class Priority(StrEnum)" in brief
    assert "source files are not shown" in brief
    assert len(brief) < 120_000
