import shutil
import subprocess
from pathlib import Path

import pytest

from mma_runtime.errors import MergeConflict, WorkspaceError
from mma_runtime.workspace import Workspace


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        (
            "git",
            "-c",
            "user.name=user",
            "-c",
            "user.email=user@localhost",
            *arguments,
        ),
        cwd=folder,
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def project(source: Path) -> Path:
    """The user's project under git: one commit, nothing dirty."""
    (source / ".gitignore").write_text("*.log\n")
    (source / "kept.log").write_text("tracked, though ignored\n")
    git(source, "init", "-q", "-b", "main")
    git(source, "add", "-A")
    git(source, "add", "-f", "kept.log")
    git(source, "commit", "-q", "-m", "first")
    return source


@pytest.fixture
async def opened(project: Path, tmp_path: Path) -> Workspace:
    return await Workspace.open(project, tmp_path / "run-1")


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def test_checkouts_are_git_work_trees_that_do_not_know_the_users(
    opened: Workspace, project: Path
) -> None:
    before = everything(project)
    checkout = await opened.checkout("T1")

    assert git(checkout.root, "rev-parse", "HEAD") == git(project, "rev-parse", "HEAD")
    assert git(checkout.root, "status", "--porcelain") == ""
    (checkout.root / "a.txt").write_text("changed\n")
    assert git(checkout.root, "status", "--porcelain") == "M a.txt"
    git(checkout.root, "commit", "-aqm", "by the worker")
    git(checkout.root, "branch", "stray")
    git(checkout.root, "config", "core.bare", "false")

    assert git(project, "branch", "--format=%(refname:short)") == "main"
    assert git(project, "worktree", "list").count("\n") == 0
    assert everything(project) == before
    assert (await checkout.diff()).files == ("a.txt",)


async def test_each_merge_is_a_commit_and_publish_makes_one_branch_of_them(
    opened: Workspace, project: Path
) -> None:
    first, second = await opened.checkout("T1"), await opened.checkout("T2")
    first.write_bytes("pkg/b.py", b"x = 2\n")
    (first.root / "run.sh").unlink()
    second.write_bytes("new.py", b"y = 1\n")
    await opened.merge(await first.diff(), "T1: change b\n\nAnd remove a script.")
    await opened.merge(await second.diff(), "T2: add new")
    files = everything(project / ".git" / "refs")

    branch = await opened.publish()

    assert branch == opened.branch == "mma/run-1"
    assert git(project, "log", "--format=%s|%an", "main..mma/run-1") == (
        "T2: add new|mma-runtime\nT1: change b|mma-runtime"
    )
    assert git(project, "diff", "--name-status", "main", "mma/run-1") == (
        "A\tnew.py\nM\tpkg/b.py\nD\trun.sh"
    )
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert everything(project / ".git" / "refs").keys() - files.keys() == {
        "heads/mma/run-1"
    }
    assert git(opened.tree, "status", "--porcelain") == ""
    # The objects are the user's own now: the run's folder may go.
    await opened.close()
    shutil.rmtree(opened.folder)
    assert git(project, "show", "mma/run-1:new.py") == "y = 1"


async def test_a_later_checkout_stands_at_the_last_commit(opened: Workspace) -> None:
    first = await opened.checkout("T1")
    first.write_bytes("new.py", b"y = 1\n")
    await opened.merge(await first.diff(), "T1")

    later = await opened.checkout("T2")

    assert git(later.root, "log", "-1", "--format=%s") == "T1"
    assert git(later.root, "status", "--porcelain") == ""


async def test_uncommitted_changes_are_carried_along_and_stay(
    project: Path, tmp_path: Path
) -> None:
    (project / "a.txt").write_text("not committed\n")
    (project / "run.sh").unlink()
    (project / "new dir").mkdir()
    (project / "new dir" / "ü.txt").write_text("untracked\n")
    (project / "noise.log").write_text("ignored\n")
    git(project, "add", "a.txt")
    before = git(project, "status", "--porcelain")
    content = everything(project / ".git")

    opened = await Workspace.open(project, tmp_path / "run", dirty="carry")
    checkout = await opened.checkout("T1")
    await opened.publish()

    assert (checkout.root / "a.txt").read_text() == "not committed\n"
    assert (checkout.root / "new dir" / "ü.txt").exists()
    assert not (checkout.root / "run.sh").exists()
    assert not (checkout.root / "noise.log").exists()
    assert not await opened.changes()
    assert git(project, "status", "--porcelain") == before
    assert everything(project / ".git").items() >= content.items()
    assert git(project, "log", "--format=%s", "main..mma/run") == (
        "Carry along what was not committed"
    )
    assert git(project, "ls-tree", "-r", "--name-only", "-z", "mma/run").split("\0")[
        :-1
    ] == [
        ".gitignore",
        "a.txt",
        "alias.py",
        "kept.log",
        "logo.png",
        "new dir/ü.txt",
        "pkg/b.py",
        "pkg/deep/c.py",
    ]


async def test_tracked_files_that_no_run_copies_stay_in_the_branch(
    project: Path, tmp_path: Path
) -> None:
    (project / "venv").mkdir()
    (project / "venv" / "x").write_text("tracked\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "odd")
    (project / "venv" / "x").write_text("changed\n")
    (project / "a.txt").write_text("changed\n")

    opened = await Workspace.open(project, tmp_path / "run")
    await opened.publish()

    assert git(project, "show", "mma/run:venv/x") == "tracked"
    assert git(project, "show", "mma/run:a.txt") == "changed"


async def test_a_dirty_folder_is_refused_where_that_is_wanted(
    project: Path, tmp_path: Path
) -> None:
    for number in range(7):
        (project / f"new{number}.py").touch()

    with pytest.raises(WorkspaceError, match=r"new0\.py, .* and 2 more; commit or"):
        await Workspace.open(project, tmp_path / "run", dirty="refuse")

    assert not list((tmp_path / "run").rglob("*"))
    git(project, "add", "-A")
    git(project, "commit", "-qm", "more")
    await Workspace.open(project, tmp_path / "run", dirty="refuse")


@pytest.mark.parametrize("kind", ["below the top", "submodules", "no commit"])
async def test_a_dirty_folder_is_refused_wherever_it_lies_in_a_work_tree(
    kind: str, project: Path, tmp_path: Path
) -> None:
    opened = project
    if kind == "below the top":
        opened = project / "pkg"
    elif kind == "submodules":
        module = ("-c", "protocol.file.allow=always", "submodule", "add", "-q")
        git(project, *module, str(project), "vendor")
        git(project, "commit", "-qam", "vendor")
    else:
        opened = tmp_path / "new"
        opened.mkdir()
        git(opened, "init", "-q")

    if kind != "no commit":
        (project / "a.txt").touch()
        await Workspace.open(opened, tmp_path / "clean", dirty="refuse")

    (opened / "dirty.py").write_text("lost if overwritten\n")
    if kind == "below the top":
        # Beside the folder all may be as it likes.
        (project / "beside.py").touch()

    with pytest.raises(WorkspaceError, match=r": dirty\.py; commit or stash"):
        await Workspace.open(opened, tmp_path / "run", dirty="refuse")


async def test_where_there_is_no_work_tree_nothing_is_uncommitted(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "a.txt").touch()

    await Workspace.open(plain, tmp_path / "run-1", dirty="refuse")
    (project / "dirty.py").touch()
    monkeypatch.setenv("PATH", "/nowhere")
    await Workspace.open(project, tmp_path / "run-2", dirty="refuse")


async def test_a_work_tree_that_git_cannot_read_is_refused(
    project: Path, tmp_path: Path
) -> None:
    (project / ".git" / "index").write_bytes(b"broken")

    with pytest.raises(WorkspaceError, match="`git"):
        await Workspace.open(project / "pkg", tmp_path / "run", dirty="refuse")


async def test_what_is_tracked_though_ignored_belongs_to_the_project(
    opened: Workspace,
) -> None:
    checkout = await opened.checkout("T1")
    checkout.write_bytes("kept.log", b"changed\n")
    checkout.write_bytes("noise.log", b"ignored\n")

    diff = await checkout.diff()
    await opened.merge(diff, "T1")

    assert diff.files == ("kept.log",)
    assert git(opened.tree, "status", "--porcelain") == ""


async def test_a_conflict_makes_no_commit(opened: Workspace) -> None:
    first, second = await opened.checkout("T1"), await opened.checkout("T2")
    first.write_bytes("pkg/b.py", b"x = 2\n")
    second.write_bytes("pkg/b.py", b"x = 3\n")
    second.write_bytes("fine.py", b"x = 3\n")
    await opened.merge(await first.diff(), "T1")

    with pytest.raises(MergeConflict) as caught:
        await opened.merge(await second.diff(), "T2")

    assert "x = 2\n||||||| what both began with\nx = 1\n" in caught.value.shown
    assert git(opened.tree, "log", "-1", "--format=%s") == "T1"
    assert git(opened.tree, "status", "--porcelain") == ""


async def test_a_merge_that_cannot_be_committed_is_taken_back(
    opened: Workspace,
) -> None:
    checkout = await opened.checkout("T1")
    checkout.write_bytes("pkg/b.py", b"x = 2\n")
    checkout.write_bytes("new/c.py", b"x = 2\n")
    diff = await checkout.diff()
    lock = opened.folder / "repository" / "worktrees" / "tree" / "index.lock"
    lock.touch()

    with pytest.raises(WorkspaceError, match=r"index\.lock"):
        await opened.merge(diff, "T1")

    assert (opened.tree / "pkg" / "b.py").read_text() == "x = 1\n"
    assert not (opened.tree / "new").exists()
    lock.unlink()
    await opened.merge(diff, "T1")
    assert (opened.tree / "pkg" / "b.py").read_text() == "x = 2\n"


async def test_a_branch_that_is_there_already_is_not_overwritten(
    opened: Workspace, project: Path
) -> None:
    git(project, "checkout", "-qb", "mma/run-1")
    git(project, "commit", "--allow-empty", "-qm", "another's")
    git(project, "checkout", "-q", "main")
    checkout = await opened.checkout("T1")
    checkout.write_bytes("new.py", b"")
    await opened.merge(await checkout.diff(), "T1")

    with pytest.raises(WorkspaceError, match="`git fetch` failed"):
        await opened.publish()

    assert git(project, "log", "-1", "--format=%s", "mma/run-1") == "another's"


async def test_the_users_hooks_and_git_variables_have_no_part_in_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pre-commit", "post-checkout", "reference-transaction"):
        hook = project / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\nexit 1\n")
        hook.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))

    opened = await Workspace.open(project, tmp_path / "run")
    checkout = await opened.checkout("T1")
    checkout.write_bytes("new.py", b"")
    await opened.merge(await checkout.diff(), "T1")
    await opened.publish()

    assert not (tmp_path / "hooked").exists()


@pytest.mark.parametrize("kind", ["no commit", "a folder of it", "submodules"])
async def test_other_git_folders_are_copied_and_no_more(
    kind: str, project: Path, tmp_path: Path
) -> None:
    match kind:
        case "no commit":
            shutil.rmtree(project / ".git")
            git(project, "init", "-q")
        case "a folder of it":
            project /= "pkg"
        case _:
            (project / ".gitmodules").touch()

    opened = await Workspace.open(project, tmp_path / "run")
    checkout = await opened.checkout("T1")
    checkout.write_bytes("new.py", b"")
    await opened.merge(await checkout.diff(), "T1")

    assert opened.branch is None
    assert await opened.publish() is None
    assert not (checkout.root / ".git").exists()
    assert (opened.tree / "new.py").exists()


async def test_without_git_the_project_is_copied(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    opened = await Workspace.open(project, tmp_path / "run")

    assert opened.branch is None


async def test_many_checkouts_come_and_go(opened: Workspace) -> None:
    for number in range(4):
        checkout = await opened.checkout(f"T{number}")
        await checkout.discard()

    again = await opened.checkout("T0")

    assert git(again.root, "status", "--porcelain") == ""
    await opened.close()
