"""Forks and removals that are cut off leave nothing that would be taken for a run."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mma_runtime import Runtime
from mma_runtime.journal import JournalReader, Record
from mma_runtime.journal.lock import WriterLock
from mma_runtime.recording import JOURNAL, find_run, recording, run_folders
from mma_runtime.recording.forking import ForkPoint
from mma_runtime.recording.pruning import remove_rest, remove_run
from tests.team import project, scenario, team


@pytest.fixture
async def run(tmp_path: Path) -> Path:
    """Return the folder of a finished run."""
    given = scenario(workspace={"path": project(tmp_path / "work", a__txt="a\n")})
    home = tmp_path / ".mma"
    async with Runtime(home=home, providers=[team()], journal=True) as runtime:
        await (await runtime.start(given)).outcome()

    return find_run(home, "last")


def home_of(run: Path) -> Path:
    return run.parent.parent


def records(run: Path) -> list[Record]:
    with JournalReader(run / JOURNAL) as reader:
        return list(reader.records())


async def forked(run: Path, event: int) -> Path:
    """Fork *run* after *event*; return the folder of the fork."""
    home = home_of(run)
    async with Runtime(home=home, providers=[team()], journal=True) as runtime:
        fork = await runtime.fork(run.name, ForkPoint(event=event))
        await fork.outcome()

    return find_run(home, fork.id)


async def test_a_fork_is_no_run_while_its_files_are_copied(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Path]] = []
    copy = recording._copy_files  # pyright: ignore[reportPrivateUsage] - looked at

    def copying(*args: object) -> None:
        copy(*args)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - as given
        seen.append(list(run_folders(home_of(run))))

    monkeypatch.setattr(recording, "_copy_files", copying)

    await forked(run, 10)

    assert seen == [[run]]


async def test_the_past_of_a_fork_and_its_changes_are_one_commit(run: Path) -> None:
    fork = await forked(run, 10)

    with closing(sqlite3.connect(fork / JOURNAL)) as db:
        (first,) = db.execute("SELECT min(last) FROM batch").fetchone()

    assert first == 11
    assert records(fork)[10].kind == "resumed"


async def test_the_past_of_a_fork_happened_when_it_did(run: Path) -> None:
    fork = await forked(run, 10)

    times = [record.time for record in records(run)]
    assert [record.time for record in records(fork)][:10] == times[:10]


async def test_a_fork_that_fails_is_no_run(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(recording, "_copy_files", full)

    with pytest.raises(OSError, match="no space"):
        await forked(run, 10)

    assert list(run.parent.iterdir()) == [run]


async def test_a_removal_that_was_cut_off_leaves_no_run_and_is_completed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(_: Path) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("mma_runtime.recording.pruning.remove_tree", cut_off)
        with pytest.raises(OSError, match="killed"):
            remove_run(run)

    assert list(run_folders(home_of(run))) == []
    assert len(list(run.parent.iterdir())) == 1

    remove_rest(home_of(run))
    assert list(run.parent.iterdir()) == []


async def test_a_run_that_somebody_has_taken_up_is_not_removed(run: Path) -> None:
    lock = WriterLock(run / JOURNAL)

    assert not remove_run(run)
    assert (run / "tree" / "a.txt").is_file()

    lock.release()
    assert remove_run(run)
    assert list(run.parent.iterdir()) == []
