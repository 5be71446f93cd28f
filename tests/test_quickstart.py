"""The main job: the shipped quickstart, run for real, on both backends."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from mma_providers.scripted import ScriptedProvider
from mma_runtime import Outcome, RunState, Runtime
from mma_runtime.events import (
    Event,
    HintGiven,
    ReviewGiven,
    TicketFinished,
    TicketStarted,
    ToolCallFinished,
)
from mma_runtime.llm.chat import ChatRequest
from tests.eavesdropping import RecordingProvider, everything_told

SCENARIOS = Path(__file__).parent.parent / "scenarios"


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of *folder* but what Python and pytest leave behind."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


@dataclass
class Played:
    """A quickstart that was run."""

    outcome: Outcome
    events: list[Event]
    requests: list[ChatRequest]
    folder: Path

    def told(self, tier: str, **where: str) -> str:
        """Return all that a tier's models were told."""
        return "\n".join(
            everything_told(request)
            for request in self.requests
            if request.origin.tier == tier
            and all(getattr(request.origin, key) == it for key, it in where.items())
        )


@pytest.fixture
async def played(tmp_path: Path) -> Played:
    for name in ("quickstart.yaml", "quickstart.script.yaml"):
        shutil.copy(SCENARIOS / name, tmp_path)

    folder = tmp_path / "quickstart"
    shutil.copytree(SCENARIOS / "quickstart", folder)
    models = RecordingProvider(ScriptedProvider(SCENARIOS / "quickstart.script.yaml"))
    async with Runtime(home=tmp_path / "home", providers=[models]) as runtime:
        run = await runtime.start(tmp_path / "quickstart.yaml")
        events = [event async for event in run.events()]
        return Played(await run.outcome(), events, models.requests, folder)


async def test_the_quickstart_does_its_work(played: Played) -> None:
    """One run, looked at from all sides: it takes seconds."""
    outcome = played.outcome
    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert all(expectation.passed for expectation in outcome.expectations)
    assert [track.state.value for track in outcome.tracks] == ["accepted"]
    assert {ticket.id: ticket.rounds for ticket in outcome.tickets} == {
        "contract": 4,
        "ascii": 6,
        "shorten": 5,
        "tests": 3,
    }

    check_order(played)
    check_what_tiers_see(played)
    check_feedback(played)
    check_money(played)
    check_result(played)


def check_order(played: Played) -> None:
    """The contract goes first, two go side by side, the tests go last."""
    places = {
        (type(event).__name__, event.origin.ticket): event.seq
        for event in played.events
        if isinstance(event, TicketStarted | TicketFinished)
    }
    started = {ticket: seq for (kind, ticket), seq in places.items() if "St" in kind}
    ended = {ticket: seq for (kind, ticket), seq in places.items() if "Fi" in kind}

    assert ended["contract"] < min(started["ascii"], started["shorten"])
    assert max(started["ascii"], started["shorten"]) < min(
        ended["ascii"], ended["shorten"]
    )
    assert max(ended["ascii"], ended["shorten"]) < started["tests"]


def check_what_tiers_see(played: Played) -> None:
    """Tier 1 sees no source and no logs, Tier 2 no logs, a worker only its ticket."""
    source = ("def title_case", "import unicodedata", "NotImplementedError")
    logs = ("AssertionError", "short test summary", "[100%]", "Traceback")
    top, lead = played.told("orchestrator"), played.told("tech_lead")

    assert [word for word in (*source, *logs, "exit code") if word in top] == []
    assert [word for word in logs if word in lead] == []
    assert "import unicodedata" in lead

    goals = {
        "contract": "WHERE: new files wordkit/ascii.py",
        "ascii": "WHERE: wordkit/ascii.py",
        "shorten": "WHERE: wordkit/shorten.py",
        "tests": "WHERE: wordkit/__init__.py",
    }
    for own in goals:
        told = played.told("worker", ticket=own)
        assert [name for name, goal in goals.items() if goal in told] == [own]
        assert "words joined by `-`" not in told  # The epic.
        assert "wordkit.slugify turns any text" not in told  # The track.


def check_feedback(played: Played) -> None:
    """A real failure becomes a hint for its worker; one review sends work back."""
    failed = [
        event.origin.ticket
        for event in played.events
        if isinstance(event, ToolCallFinished) and event.is_error
    ]
    assert failed == ["shorten"]

    asked = played.told("qa")
    assert "assert 'one' == 'one-two'" in asked
    (hint,) = [event for event in played.events if isinstance(event, HintGiven)]
    assert hint.tokens <= 50
    third = [r for r in played.requests if r.origin.ticket == "shorten" and r.turn == 3]
    assert hint.hint in everything_told(third[0])

    reviews = [
        (event.origin.ticket, event.accepted)
        for event in played.events
        if isinstance(event, ReviewGiven)
    ]
    assert sorted(reviews) == [
        ("ascii", False),
        ("ascii", True),
        ("contract", True),
        ("shorten", True),
        ("tests", True),
    ]


def check_money(played: Played) -> None:
    """Nothing is billed, and all is priced as the models that are stood in for."""
    costs = played.outcome.costs
    total = costs.total

    assert total.calls == len(played.requests) == 27
    assert (total.billed_usd, total.unknown_calls) == (Decimal(0), 0)
    assert total.usd == sum((line.spent.usd for line in costs.lines), Decimal(0))
    worker = next(line for line in costs.by("tier") if line.tier == "worker")
    usage = worker.spent.usage
    assert worker.spent.usd == (
        usage.input * Decimal("0.15") + usage.output * Decimal("0.60")
    ) / Decimal(1_000_000)


def check_result(played: Played) -> None:
    """The user's folder is untouched; the patch makes of it what the tree holds."""
    outcome, folder = played.outcome, played.folder
    assert outcome.tree is not None
    assert outcome.patch is not None
    assert contents(folder) == contents(SCENARIOS / "quickstart")
    assert not (outcome.tree.parent / "checkouts").exists()

    git = shutil.which("git")
    assert git is not None
    subprocess.run(
        [git, "apply", "--unsafe-paths", f"--directory={folder}", outcome.patch],
        cwd="/",
        check=True,
    )
    assert contents(folder) == contents(outcome.tree)
    shown = subprocess.run(
        [
            sys.executable,
            "-c",
            "from wordkit import slugify; print(slugify('Crème brûlée, à deux', 16))",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "creme-brulee-a\n"
