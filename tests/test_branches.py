"""A run's changes as a branch of the user's git project."""

import subprocess
from pathlib import Path

import pytest

from mma_runtime import Outcome, RunState, Runtime
from mma_runtime.errors import ConfigurationError, WorkspaceError
from mma_runtime.events import BranchPublished, Event
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.testing import FunctionProvider
from tests.team import Said, project, scenario, team, use

TICKETS = [
    {"id": "one", "title": "Write one", "description": "d"},
    {"id": "two", "description": "d", "depends_on": ["one"]},
]


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    command = ("git", *identity, *arguments)
    done = subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = project(tmp_path / "project", a__txt="a\n", b__txt="b\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "start")
    return folder


def writers() -> FunctionProvider:
    def work(request: ChatRequest) -> Said:
        name = request.origin.ticket
        call = use("write_file", path=f"{name}.txt", content=f"{name}\n")
        return call if request.turn == 1 else "done"

    return team(ticket=work)


async def play(folder: Path, **keys: object) -> tuple[Outcome, list[Event]]:
    workspace = {"path": folder, "apply": "branch"}
    async with Runtime(
        home=folder.parent / "home", providers=[writers()], environment={}
    ) as runtime:
        run = await runtime.start(
            scenario(workspace=workspace, tickets=TICKETS, **keys)
        )
        events = [event async for event in run.events()]
        return await run.outcome(), events


async def test_a_branch_has_one_commit_for_each_ticket(folder: Path) -> None:
    outcome, events = await play(folder)

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert outcome.branch == f"mma/{outcome.run}"
    assert not outcome.applied
    log = git(folder, "log", "--format=%s", outcome.branch).splitlines()
    assert log == ["two", "Write one", "start"]
    assert git(folder, "show", f"{outcome.branch}:two.txt") == "two\n"
    (published,) = [event for event in events if isinstance(event, BranchPublished)]
    assert published.branch == outcome.branch
    # Neither the files nor what is checked out have changed.
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "branch", "--show-current") == "main\n"
    assert not (folder / "one.txt").exists()


async def test_what_is_not_committed_is_carried_along_and_stays_as_it_is(
    folder: Path,
) -> None:
    (folder / "a.txt").write_text("mine\n")
    (folder / "new.txt").write_text("mine too\n")
    (folder / "b.txt").unlink()
    before = git(folder, "status", "--porcelain")

    outcome, _ = await play(folder)

    log = git(folder, "log", "--format=%s", outcome.branch).splitlines()
    assert log == ["two", "Write one", "Carry along what was not committed", "start"]
    assert git(folder, "show", f"{outcome.branch}:a.txt") == "mine\n"
    assert git(folder, "status", "--porcelain") == before
    assert (folder / "a.txt").read_text() == "mine\n"


async def test_a_run_that_failed_has_no_branch(folder: Path) -> None:
    outcome, _ = await play(folder, expect={"files": ["missing.txt"]})

    assert outcome.state is RunState.FAILED
    assert outcome.branch == ""
    assert git(folder, "branch", "--list", "mma/*") == ""


async def test_a_folder_that_is_no_git_project_is_refused_before_any_call(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path / "plain", a__txt="a\n")
    models = writers()
    async with Runtime(
        home=tmp_path / "home", providers=[models], environment={}, journal=True
    ) as runtime:
        with pytest.raises(WorkspaceError, match="not the top of a git project"):
            await runtime.start(scenario(workspace={"path": folder}), apply="branch")
        with pytest.raises(ConfigurationError, match="no workspace"):
            await runtime.start(scenario(), apply="branch")

    assert models.requests == []
    assert not list((tmp_path / "home" / "runs").glob("*"))


async def test_a_run_that_is_resumed_at_its_end_leaves_its_branch_alone(
    folder: Path,
) -> None:
    home = folder.parent / "home"
    async with Runtime(
        home=home, providers=[writers()], environment={}, journal=True
    ) as runtime:
        run = await runtime.start(
            scenario(workspace={"path": folder}, tickets=TICKETS), apply="branch"
        )
        first = await run.outcome()
        before = git(folder, "rev-parse", first.branch)
        # What the run was told at its start holds when it is resumed.
        again = await (await runtime.resume(run.id)).outcome()

    assert (again.state, again.branch) == (RunState.COMPLETED, first.branch)
    assert git(folder, "rev-parse", first.branch) == before


async def test_another_branch_of_that_name_is_never_overwritten(folder: Path) -> None:
    home = folder.parent / "home"
    async with Runtime(
        home=home, providers=[writers()], environment={}, journal=True
    ) as runtime:
        run = await runtime.start(
            scenario(workspace={"path": folder}, tickets=TICKETS), apply=False
        )
        await run.outcome()
        git(folder, "checkout", "-q", "-b", f"mma/{run.id}")
        git(folder, "commit", "-q", "--allow-empty", "-m", "mine")
        git(folder, "checkout", "-q", "main")
        resumed = await runtime.resume(run.id, apply="branch")
        outcome = await resumed.outcome()

    assert outcome.state is RunState.FAILED
    assert "git fetch" in outcome.reason
    assert git(folder, "log", "-1", "--format=%s", f"mma/{run.id}") == "mine\n"
