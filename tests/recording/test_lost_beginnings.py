"""Journals that have lost what stands beside their records are used all the same."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from mma_runtime import RunState, Runtime
from mma_runtime.outcome import Outcome
from mma_runtime.recording import JOURNAL, find_run, mend
from tests.team import project, scenario, team


@pytest.fixture
async def nameless(tmp_path: Path) -> Path:
    """Return the folder of a finished run whose journal does not say what it is."""
    home = tmp_path / ".mma"
    given = scenario(workspace={"path": project(tmp_path / "work", a__txt="a\n")})
    async with Runtime(home=home, providers=[team()], journal=True) as runtime:
        await (await runtime.start(given)).outcome()

    folder = find_run(home, "last")
    with closing(sqlite3.connect(folder / JOURNAL)) as db:
        db.execute("DELETE FROM about")
        db.commit()

    return folder


async def replayed(folder: Path, scratch: Path) -> tuple[str, str, Outcome]:
    """Replay the run in *folder*; return its name, the difference, and how it ended."""
    home = folder.parent.parent
    with anyio.fail_after(10):
        async with Runtime(home=home, providers=[team()]) as runtime:
            run = await runtime.replay("last", scratch)
            outcome = await run.outcome()
            return run.id, run.difference, outcome


async def test_a_run_without_its_name_is_replayed_under_that_of_its_folder(
    nameless: Path, tmp_path: Path
) -> None:
    name, difference, outcome = await replayed(nameless, tmp_path / "scratch")

    assert (name, difference) == (nameless.name, "")
    assert outcome.state is RunState.COMPLETED


async def test_a_journal_without_its_name_gets_it_when_it_is_opened(
    nameless: Path,
) -> None:
    assert mend(nameless) is None

    with closing(sqlite3.connect(nameless / JOURNAL)) as db:
        assert db.execute("SELECT * FROM about").fetchall() == [("run", nameless.name)]
