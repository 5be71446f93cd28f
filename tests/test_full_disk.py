"""A run whose disk is full or read-only pauses, loses nothing, and goes on later."""

import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, ENOSPC, EROFS
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from mma_runtime import Outcome, RunState, Runtime, Scenario
from mma_runtime.errors import (
    ActorFailed,
    ConfigurationError,
    JournalUnavailable,
    NoRoom,
    WorkspaceError,
)
from mma_runtime.journal import JournalReader
from mma_runtime.llm.chat import ChatRequest, ToolTurn
from mma_runtime.recording import JOURNAL, find_run, run_folders
from mma_runtime.testing import FunctionProvider
from mma_runtime.tools.command import run_command
from mma_runtime.workspace import files, tree, writing
from mma_runtime.workspace.room import no_room, tells_of_no_room
from tests.team import Said, project, scenario, team, use

CALLS = 4
"""Two tickets of two rounds each; nobody reviews."""

WRITES = 12
"""How often a run writes a file of its own, its copy of the project included."""

RESULT = {"a.txt": "a\n", "one.txt": "one\n", "two.txt": "two\n"}


def a_scenario(folder: Path) -> Scenario:
    """Return a scenario of two tickets, each a file, and what is expected of them."""
    return scenario(
        workspace={"path": project(folder / "work", a__txt="a\n")},
        tickets=[
            {"id": "one", "description": "do it", "acceptance": ["test -f one.txt"]},
            {"id": "two", "description": "do it", "depends_on": ["one"]},
        ],
        expect={"commands": ["test -f two.txt"]},
    )


def a_team() -> FunctionProvider:
    def work(request: ChatRequest) -> Said:
        if isinstance(request.turns[-1], ToolTurn):
            return "done"

        name = request.origin.ticket
        return use("write_file", path=f"{name}.txt", content=f"{name}\n")

    return team(ticket=work)


async def play(
    home: Path, provider: FunctionProvider, given: Scenario | None = None
) -> Outcome:
    """Begin *given*, or resume the last run, and wait for its end."""
    async with Runtime(
        home=home, providers=[provider], journal=True, environment={}
    ) as runtime:
        run = await (runtime.start(given) if given else runtime.resume("last"))
        return await run.outcome()


def files_of(outcome: Outcome) -> dict[str, str]:
    assert outcome.tree is not None
    return {path.name: path.read_text() for path in outcome.tree.glob("*.txt")}


def replies_in(home: Path) -> int:
    """Count the replies that the last run's journal holds."""
    with JournalReader(find_run(home, "last") / JOURNAL) as reader:
        return sum(record.kind == "reply" for record in reader.records())


@contextmanager
def disk_of(writes: int, problem: int = ENOSPC) -> Generator[list[None]]:
    """Let the runtime write so many files; then the disk has that *problem*."""
    done: list[None] = []

    def limited(write: Callable[..., Any]) -> Callable[..., Any]:
        def limit(*args: Any, **named: Any) -> Any:
            if len(done) >= writes:
                raise OSError(problem, os.strerror(problem))

            done.append(None)
            return write(*args, **named)

        return limit

    with pytest.MonkeyPatch.context() as patched:
        for place, name in (
            (tree, "_copy_content"),
            (writing, "_create"),
            (files, "_replace"),
        ):
            patched.setattr(place, name, limited(getattr(place, name)))

        yield done


async def test_an_undisturbed_run_writes_that_often(tmp_path: Path) -> None:
    with disk_of(100) as done:
        outcome = await play(tmp_path / ".mma", a_team(), a_scenario(tmp_path))

    assert (outcome.state, files_of(outcome)) == (RunState.COMPLETED, RESULT)
    assert len(done) == WRITES


@pytest.mark.parametrize(
    ("writes", "problem"),
    list(zip(range(1, WRITES), cycle((ENOSPC, EDQUOT, EROFS)), strict=False)),
)
async def test_a_disk_that_is_full_at_any_write_pauses_the_run(
    tmp_path: Path, writes: int, problem: int
) -> None:
    home, first, second = tmp_path / ".mma", a_team(), a_team()

    with disk_of(writes, problem):
        paused = await play(home, first, a_scenario(tmp_path))

    assert paused.state is RunState.PAUSED
    assert os.strerror(problem) in paused.reason
    assert "resume the run" in paused.reason
    replies = replies_in(home)
    assert replies <= len(first.requests)

    outcome = await play(home, second)

    assert (outcome.state, files_of(outcome)) == (RunState.COMPLETED, RESULT)
    assert outcome.patch is not None
    # What was answered and recorded is not asked for again.
    assert len(second.requests) == CALLS - replies


async def test_a_run_without_room_for_its_copy_does_not_begin(tmp_path: Path) -> None:
    home = tmp_path / ".mma"

    with disk_of(0), pytest.raises(WorkspaceError, match="No space left"):
        await play(home, a_team(), a_scenario(tmp_path))

    assert list(run_folders(home)) == []


async def test_a_run_that_is_still_without_room_stays_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / ".mma"
    with disk_of(6):
        await play(home, a_team(), a_scenario(tmp_path))

    with disk_of(1):
        again = await play(home, a_team())
    outcome = await play(home, a_team())

    assert again.state is RunState.PAUSED
    assert (outcome.state, files_of(outcome)) == (RunState.COMPLETED, RESULT)


async def test_other_problems_of_a_write_are_no_reason_to_pause(tmp_path: Path) -> None:
    with disk_of(WRITES - 1, EACCES):
        outcome = await play(tmp_path / ".mma", a_team(), a_scenario(tmp_path))

    assert outcome.state is RunState.FAILED
    assert "could not be kept" in outcome.reason


def test_no_room_is_found_below_what_came_of_it() -> None:
    full = OSError(ENOSPC, "No space left on device")
    unwritable = WorkspaceError("cannot write 'a'")
    unwritable.__cause__ = full
    failed = ActorFailed("worker", "DoTicket", str(unwritable))
    failed.__cause__ = unwritable

    found = no_room(failed)

    assert isinstance(found, NoRoom)
    assert no_room(found) is found
    assert no_room(ExceptionGroup("some", [ValueError(), full])) is not None
    assert no_room(WorkspaceError("no such file")) is None
    assert no_room(OSError(EACCES, "Permission denied")) is None
    assert no_room(None) is None


def test_git_tells_of_no_room_in_words() -> None:
    assert tells_of_no_room("error: unable to write file: No space left on device")
    assert not tells_of_no_room("not a git repository")


# --- with a small disk ------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> Generator[Path]:
    """A folder that is a disk of its own, where this machine lets us have one."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.getuid() != 0 or mount("-t", "tmpfs", "-o", "size=64m", "none", place):
        pytest.skip("only root may mount a disk, and not everywhere")

    yield place

    if unmount := shutil.which("umount"):
        subprocess.run([unmount, "-l", place], check=True)


def mount(*arguments: str | Path) -> int:
    """Call `mount`; return its exit code."""
    command = shutil.which("mount")
    if command is None:
        return 1

    done = subprocess.run([command, *arguments], capture_output=True, check=False)
    return done.returncode


@pytest.mark.parametrize("size", [72, 88, 96, 104, 112, 128])
async def test_a_run_on_a_disk_of_that_many_kb_goes_on_when_it_has_grown(
    tmp_path: Path, mounted: Path, size: int
) -> None:
    given, home = a_scenario(tmp_path), mounted / ".mma"
    first, second = a_team(), a_team()
    assert mount("-o", f"remount,size={size}k", mounted) == 0

    try:
        before = await play(home, first, given)
    except (WorkspaceError, JournalUnavailable):
        # Too small to begin with; nothing is left that looks like a run.
        assert list(run_folders(home)) == []
        return

    assert before.state in (RunState.PAUSED, RunState.COMPLETED)
    replies = replies_in(home)
    assert mount("-o", "remount,size=64m", mounted) == 0
    outcome = await play(home, second)

    assert (outcome.state, files_of(outcome)) == (RunState.COMPLETED, RESULT)
    assert len(second.requests) == CALLS - replies


async def test_a_command_that_fails_on_a_full_disk_is_not_judged(mounted: Path) -> None:
    fill = ["/bin/sh", "-c", "cat /dev/zero > big"]
    assert mount("-o", "remount,size=512k", mounted) == 0

    with pytest.raises(NoRoom, match="disk is full"):
        await run_command(fill, mounted)

    (mounted / "big").unlink()
    assert (await run_command(["false"], mounted)).exit_code == 1


async def test_a_read_only_disk_is_told_before_the_run_begins(
    tmp_path: Path, mounted: Path
) -> None:
    given = a_scenario(tmp_path)
    assert mount("-o", "remount,ro", mounted) == 0

    with pytest.raises((JournalUnavailable, ConfigurationError), match=r"[Rr]ead-only"):
        await play(mounted / ".mma", a_team(), given)
