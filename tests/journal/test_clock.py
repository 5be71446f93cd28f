"""A clock that jumps back: records keep their order, and no time is negative."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mma_runtime.journal import Entry, JournalReader, JournalWriter, Past
from mma_runtime.recording import JOURNAL, find_run
from tests.cli.conftest import Project, project

__all__ = ["project"]  # The fixture, which is asked for by its name.

HOUR = 3_600.0


@pytest.fixture
def clock_going_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every look at the clock find it an hour earlier than the last one."""
    now = time.time()

    def earlier() -> float:
        nonlocal now
        now -= HOUR
        return now

    with monkeypatch.context() as patched:
        patched.setattr(time, "time", earlier)
        yield


@pytest.mark.usefixtures("clock_going_back")
async def test_records_keep_their_order_when_the_clock_jumps_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / JOURNAL
    for session in range(2):
        writer = await JournalWriter.open(path, run="r1")
        assert (writer.last, writer.loss) == (session * 5, None)
        for number in range(5):
            await writer.append(Entry(kind=f"k{session}{number}"))
        await writer.aclose()

    with JournalReader(path) as reader:
        records = list(reader.records())

    assert [one.seq for one in records] == list(range(1, 11))
    assert [one.kind for one in records] == [
        f"k{i}{j}" for i in (0, 1) for j in range(5)
    ]
    times = [one.time for one in records]
    assert times == sorted(times, reverse=True)


@pytest.mark.usefixtures("clock_going_back")
def test_a_run_under_such_a_clock_is_listed_shown_resumed_and_replayed(
    project: Project,
) -> None:
    home = ("--home", str(project.home))
    assert project.run().return_value == 0

    assert "completed" in project.mma("runs", *home).stdout
    shown = project.mma("show", *home)
    assert shown.return_value == 0
    assert "completed, 1 of 1 tickets completed" in shown.stdout
    passed = [line[6:15].strip() for line in shown.stdout.splitlines()[:-1]]
    assert "0.00" in passed
    assert not any(one.startswith("-") for one in passed)
    assert project.mma("replay", *home).return_value == 0
    assert project.mma("resume", "--json", *home).return_value == 0

    past = Past.read(find_run(project.home, "last") / JOURNAL)
    assert past.ended == "completed"


@pytest.mark.usefixtures("clock_going_back")
def test_a_run_under_such_a_clock_took_no_negative_time(project: Project) -> None:
    result = project.run("--jsonl")

    assert result.return_value == 0
    assert '"seconds":-' not in result.stdout.replace(" ", "")
