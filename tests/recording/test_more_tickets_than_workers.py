"""Tickets that are lived anew do not wait for those that wait for their workers."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from mma_runtime import RunState, Runtime, Scenario
from mma_runtime.journal import journal
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.outcome import Outcome
from mma_runtime.recording.changes import NO_CHANGES, Changes
from mma_runtime.testing import FunctionProvider
from tests.team import Said, project, scenario, team, tickets, tracks, use

NAMES = ("one", "two", "three", "four")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing that does not come be given up."""
    monkeypatch.setattr(journal, "STALL", 3_600.0)


def a_scenario(folder: Path, **keys: object) -> Scenario:
    """Return a scenario of four tickets for two workers of two rounds each."""
    return scenario(
        workspace={"path": project(folder / "work", a__txt="a\n")},
        tiers={
            "worker": {"model": "function:m", "count": 2, "max_tool_rounds": 2},
            "tech_lead": {"model": "function:m"},
        },
        **keys,
    )


def plain(folder: Path, **keys: object) -> Scenario:
    ids = [{"id": name, "description": "do it"} for name in NAMES]
    return a_scenario(folder, tickets=ids, **keys)


def an_epic(folder: Path, **keys: object) -> Scenario:
    return a_scenario(folder, epic="do it", **keys)


def working(*quick: str) -> FunctionProvider:
    """Return a team that takes three rounds for a ticket, and one for *quick* ones."""

    def work(request: ChatRequest) -> Said:
        name, rounds = request.origin.ticket, 1 if request.origin.ticket in quick else 3
        if request.turn > rounds:
            return "done"

        path = f"{name}{request.turn}.txt"
        return use("write_file", path=path, content=f"{name}\n")

    planned = {name: list[str]() for name in NAMES}
    return team(plan_epic=tracks("t"), plan_track=tickets(**planned), ticket=work)


async def live(
    home: Path,
    given: Scenario | None,
    *quick: str,
    changes: Changes = NO_CHANGES,
) -> Outcome:
    """Run what is *given*, or go on with the last run."""
    provider = working(*quick)
    with anyio.fail_after(15):
        async with Runtime(home=home, providers=[provider], journal=True) as runtime:
            run = await (
                runtime.start(given) if given else runtime.resume("last", changes)
            )
            return await run.outcome()


async def difference(home: Path, scratch: Path) -> str:
    """Replay the last run; return what was not as before."""
    with anyio.fail_after(15):
        async with Runtime(home=home, providers=[team()]) as runtime:
            run = await runtime.replay("last", scratch)
            await run.outcome()
            return run.difference


def files(outcome: Outcome) -> set[str]:
    assert outcome.tree is not None
    return {path.name for path in outcome.tree.glob("*.txt")} - {"a.txt"}


def all_but(*quick: str) -> set[str]:
    return {f"{n}{r}.txt" for n in NAMES for r in (1, 2, 3) if n not in quick or r < 2}


@pytest.mark.parametrize("make", [plain, an_epic])
@pytest.mark.parametrize(
    "quick", [(), ("three",), ("four",), ("three", "four"), ("one",), ("one", "four")]
)
async def test_bounded_tickets_go_on_at_once_with_more_rounds(
    tmp_path: Path, make: Callable[..., Scenario], quick: tuple[str, ...]
) -> None:
    home = tmp_path / ".mma"
    first = await live(home, make(tmp_path), *quick)
    assert first.state is not RunState.COMPLETED

    outcome = await live(home, None, *quick, changes=Changes(rounds=3))

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert files(outcome) == all_but(*quick)
    assert await difference(home, tmp_path / "scratch") == ""


@pytest.mark.parametrize("make", [plain, an_epic])
@pytest.mark.parametrize("calls", [3, 6, 9])
async def test_a_run_over_its_budget_goes_on_at_once_with_more(
    tmp_path: Path, make: Callable[..., Scenario], calls: int
) -> None:
    home = tmp_path / ".mma"
    quick = NAMES[:3]
    first = await live(home, make(tmp_path, budget={"calls": calls}), *quick)
    assert first.state is RunState.OVER_BUDGET

    more = Changes(budget={"calls": Decimal(99)}, rounds=3)
    outcome = await live(home, None, *quick, changes=more)

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert files(outcome) == all_but(*quick)
    assert await difference(home, tmp_path / "scratch") == ""
