import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from mma_runtime.errors import MergeConflict, OutsideWorkspace, WorkspaceError
from mma_runtime.workspace import Diff, Workspace, tree, writing
from mma_runtime.workspace.writing import apply_changes


def contents(root: Path) -> dict[str, bytes | str]:
    """All files and links below a folder."""
    return {
        path.relative_to(root).as_posix(): (
            str(path.readlink()) if path.is_symlink() else path.read_bytes()
        )
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


async def changed(workspace: Workspace, name: str, **files: str | None) -> Diff:
    """Check out, write or delete *files* (`__` is a slash), and return the diff."""
    checkout = await workspace.checkout(name)
    for key, text in files.items():
        place = checkout.root / key.replace("__", "/").replace("_txt", ".txt").replace(
            "_png", ".png"
        )
        if text is None:
            place.unlink()
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    diff = await checkout.diff()
    await checkout.discard()
    return diff


def lines(**replaced: str) -> str:
    return "".join(replaced.get(f"l{n}", f"line {n}\n") for n in range(1, 21))


# --- open ---------------------------------------------------------------------


async def test_open_copies_the_source_without_what_no_run_wants(
    source: Path, tmp_path: Path
) -> None:
    before = contents(source)
    for folder in (".git", ".venv", "venv", "node_modules", "pkg/__pycache__", ".mma"):
        (source / folder).mkdir()
        (source / folder / "x").write_text("x")

    workspace = await Workspace.open(source, tmp_path / "run")

    assert contents(workspace.tree) == before
    assert (workspace.tree / "empty").is_dir()
    assert not await workspace.changes()


async def test_a_link_out_of_the_source_stays_a_link(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (source / "out").symlink_to(tmp_path / "outside")

    workspace = await Workspace.open(source, tmp_path / "run")
    checkout = await workspace.checkout("T1")

    assert (workspace.tree / "out").readlink() == tmp_path / "outside"
    with pytest.raises(OutsideWorkspace):
        checkout.resolve("out/x")


async def test_an_absolute_link_into_the_source_leads_into_the_copy(
    source: Path, tmp_path: Path
) -> None:
    (source / "pkg" / "absolute").symlink_to(source / "a.txt")

    workspace = await Workspace.open(source, tmp_path / "run")
    checkout = await workspace.checkout("T1")

    assert checkout.resolve("pkg/absolute") == checkout.root / "a.txt"
    assert not await checkout.diff()
    assert not await workspace.changes()


@pytest.mark.parametrize(
    ("source_name", "folder_name", "said"),
    [
        ("nowhere", "run", "does not exist"),
        ("project/a.txt", "run", "is a file; name a folder"),
        ("project", "project", "lies inside the run's folder"),
        ("project/pkg", "project", "lies inside the run's folder"),
        ("link/pkg", "project", "lies inside the run's folder"),
        ("project", "project/run", "would copy itself"),
    ],
)
async def test_a_source_that_cannot_be_copied_is_refused(
    source_name: str, folder_name: str, said: str, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(source)
    before = contents(source)

    with pytest.raises(WorkspaceError, match=said):
        await Workspace.open(tmp_path / source_name, tmp_path / folder_name)

    assert contents(source) == before
    assert not (tmp_path / "run").exists()


async def test_the_run_folder_may_lie_in_the_source_below_a_hidden_name(
    source: Path,
) -> None:
    workspace = await Workspace.open(source, source / ".mma" / "runs" / "1")

    assert (workspace.tree / "a.txt").exists()
    assert not (workspace.tree / ".mma").exists()


async def test_a_folder_is_for_one_run_only(workspace: Workspace, source: Path) -> None:
    with pytest.raises(WorkspaceError, match="each run needs a folder of its own"):
        await Workspace.open(source, workspace.folder)


async def test_an_unreadable_file_is_named_and_nothing_is_left(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(entry: os.DirEntry[str], copy: str) -> None:
        raise PermissionError(13, "Permission denied", entry.path)

    monkeypatch.setattr(tree, "_copy_file", refuse)

    with pytest.raises(WorkspaceError, match=r"Permission denied: .*a\.txt"):
        await Workspace.open(source, tmp_path / "run")

    assert not (tmp_path / "run" / "tree").exists()


async def test_a_cancelled_open_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []

    with anyio.CancelScope() as scope:

        def cancel(entry: os.DirEntry[str], copy: str) -> None:
            copied.append(copy)
            anyio.from_thread.run_sync(scope.cancel)

        monkeypatch.setattr(tree, "_copy_file", cancel)
        await Workspace.open(source, tmp_path / "run")

    assert scope.cancelled_caught
    # The folder that is being read is finished, no other is begun.
    assert not any("pkg" in path for path in copied)
    assert not (tmp_path / "run" / "tree").exists()


async def test_files_are_copied_where_the_file_system_cannot_share(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "big").write_bytes(b"x" * 3_000_000)
    monkeypatch.delattr(os, "copy_file_range")

    workspace = await Workspace.open(source, tmp_path / "run")

    assert contents(workspace.tree) == contents(source)


# --- checkout -----------------------------------------------------------------


async def test_two_checkouts_of_one_name_are_refused_until_the_first_is_gone(
    workspace: Workspace,
) -> None:
    first = await workspace.checkout("T1")
    with pytest.raises(WorkspaceError, match="there is a checkout 'T1' already"):
        await workspace.checkout("T1")

    await first.discard()

    assert (await workspace.checkout("T1")).root == first.root


@pytest.mark.parametrize("name", ["../../out", "a/b", "..", ".", "", "é\0", "a b"])
async def test_a_checkout_of_any_name_lies_in_the_run_folder(
    name: str, workspace: Workspace
) -> None:
    checkout = await workspace.checkout(name)

    assert checkout.folder.parent == workspace.folder / "checkouts"
    assert (checkout.root / "a.txt").exists()


async def test_close_removes_the_checkouts_and_keeps_the_result(
    workspace: Workspace,
) -> None:
    await workspace.merge(await changed(workspace, "T1", new_txt="new\n"))
    await workspace.checkout("T2")

    await workspace.close()
    await workspace.close()

    assert not (workspace.folder / "checkouts").exists()
    assert (workspace.tree / "new.txt").read_text() == "new\n"
    assert (await workspace.changes()).files == ("new.txt",)


# --- merge --------------------------------------------------------------------


async def test_changes_of_different_lines_of_one_file_are_merged(
    workspace: Workspace,
) -> None:
    one = await changed(workspace, "T1", a_txt=lines(l2="two\n"))
    other = await changed(workspace, "T2", a_txt=lines(l15="fifteen\n"))

    await workspace.merge(one)
    await workspace.merge(other)

    merged = (workspace.tree / "a.txt").read_text()
    assert merged == lines(l2="two\n", l15="fifteen\n")


async def test_a_checkout_made_later_holds_what_was_merged(
    workspace: Workspace,
) -> None:
    await workspace.merge(await changed(workspace, "T1", new_txt="new\n"))

    later = await workspace.checkout("T2")

    assert (later.root / "new.txt").read_text() == "new\n"
    assert not await later.diff()


async def test_a_diff_is_against_the_tree_that_the_checkout_was_made_from(
    workspace: Workspace,
) -> None:
    early = await workspace.checkout("early")
    await workspace.merge(await changed(workspace, "T1", a_txt=lines(l2="two\n")))
    await workspace.merge(await changed(workspace, "T2", a_txt=None))

    (early.root / "a.txt").write_text("all new\n")
    diff = await early.diff()

    assert diff.files == ("a.txt",)
    assert diff.changes[0].before == lines().encode()


@pytest.mark.parametrize(
    ("first", "second", "paths"),
    [
        ({"a_txt": lines(l2="A\n")}, {"a_txt": lines(l2="B\n")}, ("a.txt",)),
        ({"a_txt": None}, {"a_txt": lines(l2="B\n")}, ("a.txt",)),
        ({"a_txt": lines(l2="A\n")}, {"a_txt": None}, ("a.txt",)),
        ({"new_txt": "one"}, {"new_txt": "two"}, ("new.txt",)),
        ({"logo_png": "\0one"}, {"logo_png": "\0two"}, ("logo.png",)),
        ({"new": "a file"}, {"new__below": "x"}, ("new/below",)),
        ({"new__below": "x"}, {"new": "a file"}, ("new",)),
    ],
)
async def test_a_conflict_names_the_paths_and_changes_nothing(
    first: dict[str, str | None],
    second: dict[str, str | None],
    paths: tuple[str, ...],
    workspace: Workspace,
) -> None:
    one = await changed(workspace, "T1", **first)
    other = await changed(workspace, "T2", **second, fine_txt="fine\n")
    await workspace.merge(one)
    before = contents(workspace.tree)

    with pytest.raises(MergeConflict) as caught:
        await workspace.merge(other)

    assert caught.value.paths == paths
    assert all(caught.value.conflicts.values())
    assert contents(workspace.tree) == before
    assert (await workspace.changes()).files == one.files


async def test_the_same_change_twice_is_no_conflict(workspace: Workspace) -> None:
    one = await changed(workspace, "T1", a_txt=lines(l2="A\n"), new_txt="x")
    other = await changed(workspace, "T2", a_txt=lines(l2="A\n"), new_txt="x")

    await workspace.merge(one)
    await workspace.merge(other)

    assert (await workspace.changes()).files == ("a.txt", "new.txt")


async def test_a_mode_and_a_content_change_come_together(workspace: Workspace) -> None:
    checkout = await workspace.checkout("T1")
    (checkout.root / "a.txt").chmod(0o755)
    await workspace.merge(await changed(workspace, "T2", a_txt=lines(l2="A\n")))

    await workspace.merge(await checkout.diff())

    assert (workspace.tree / "a.txt").read_text() == lines(l2="A\n")
    assert (workspace.tree / "a.txt").stat().st_mode & 0o777 == 0o755


async def test_a_file_may_become_a_folder_and_back(workspace: Workspace) -> None:
    checkout = await workspace.checkout("T1")
    (checkout.root / "a.txt").unlink()
    (checkout.root / "a.txt").mkdir()
    (checkout.root / "a.txt" / "x").write_text("x")
    await workspace.merge(await checkout.diff())
    assert (workspace.tree / "a.txt" / "x").read_text() == "x"

    back = await workspace.checkout("T2")
    (back.root / "a.txt" / "x").unlink()
    (back.root / "a.txt").rmdir()
    (back.root / "a.txt").write_text(lines())
    await workspace.merge(await back.diff())

    assert not await workspace.changes()


async def test_merges_that_wait_for_each_other_all_arrive(workspace: Workspace) -> None:
    diffs = [
        await changed(workspace, f"T{n}", a_txt=lines(**{f"l{n}": f"new {n}\n"}))
        for n in range(1, 21, 3)
    ]

    async with anyio.create_task_group() as group:
        for diff in diffs:
            group.start_soon(workspace.merge, diff)

    expected = lines(**{f"l{n}": f"new {n}\n" for n in range(1, 21, 3)})
    assert (workspace.tree / "a.txt").read_text() == expected


async def test_a_tree_that_was_changed_from_outside_is_noticed(
    workspace: Workspace,
) -> None:
    diff = await changed(workspace, "T1", a_txt="mine\n")
    (workspace.tree / "a.txt").write_text("foreign\n")

    with pytest.raises(WorkspaceError, match="was changed from outside"):
        await workspace.merge(diff)


# --- patch and apply ----------------------------------------------------------


async def test_the_patch_turns_the_source_into_the_result(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    await workspace.merge(
        await changed(
            workspace,
            "T1",
            a_txt=lines(l2="two\n", l19=""),
            pkg__other_txt="x",
            logo_png=None,
            deep__er__new_txt="no newline",
        )
    )

    diff = await workspace.write_patch(tmp_path / "changes.patch")
    await anyio.run_process(
        ["git", "apply", str(tmp_path / "changes.patch")], cwd=source
    )

    assert diff == await workspace.changes()
    assert contents(source) == contents(workspace.tree)


async def test_nothing_reaches_the_source_before_it_is_applied(
    workspace: Workspace, source: Path
) -> None:
    before = contents(source)
    await workspace.merge(await changed(workspace, "T1", a_txt="x\n", new_txt="y\n"))
    await workspace.close()

    assert contents(source) == before


async def test_apply_writes_the_changes_and_keeps_permissions(
    workspace: Workspace, source: Path
) -> None:
    (source / "a.txt").chmod(0o640)
    checkout = await workspace.checkout("T1")
    (checkout.root / "a.txt").write_text("changed\n")
    (checkout.root / "pkg" / "deep" / "c.py").unlink()
    (checkout.root / "tool.sh").write_text("#!/bin/sh\n")
    (checkout.root / "tool.sh").chmod(0o755)
    (checkout.root / "alias.py").unlink()
    (checkout.root / "alias.py").symlink_to("a.txt")
    await workspace.merge(await checkout.diff())

    applied = await workspace.apply()

    assert applied == ("a.txt", "alias.py", "pkg/deep/c.py", "tool.sh")
    assert contents(source) == contents(workspace.tree)
    assert (source / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (source / "tool.sh").stat().st_mode & 0o100
    assert not (source / "pkg" / "deep").exists()


async def test_applying_again_changes_nothing(
    workspace: Workspace, source: Path
) -> None:
    await workspace.merge(await changed(workspace, "T1", a_txt="x\n", new_txt="y\n"))
    await workspace.apply()
    written = (source / "a.txt").stat()

    assert await workspace.apply() == ("a.txt", "new.txt")
    assert (source / "a.txt").stat() == written


KILLED = """
import os, signal, sys
from pathlib import Path
from mma_runtime.workspace import writing
from mma_runtime.workspace.diff import FileChange

source, staging = map(Path, sys.argv[1:])
do, done = writing._Write.do, []

def once(write, staged):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)

    done.append(do(write, staged))

writing._Write.do = once
changes = [
    FileChange(
        path=name,
        before=(source / name).read_bytes(),
        after=b"changed",
        mode_before=0o100644,
        mode_after=0o100644,
    )
    for name in ("a.txt", "pkg/b.py")
]
writing.apply_changes(source, changes, staging=staging)
"""


async def test_applying_again_finishes_what_a_kill_has_left_and_nothing_lies_about(
    workspace: Workspace, source: Path
) -> None:
    files = {"a_txt": "changed", "pkg__b.py": "changed"}
    await workspace.merge(await changed(workspace, "T1", **files))
    staging = workspace.folder / "applying"
    program = [sys.executable, "-c", KILLED, str(source), str(staging)]

    killed = await anyio.run_process(program, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert (source / "a.txt").read_text() == "changed"
    assert (source / "pkg" / "b.py").read_text() != "changed"
    assert not list(source.glob(".mma-*"))
    assert list(staging.iterdir())
    await workspace.apply()
    assert (source / "pkg" / "b.py").read_text() == "changed"
    assert not staging.exists()


async def test_where_nothing_can_be_moved_to_the_folder_it_is_staged_in_there(
    workspace: Workspace, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await workspace.merge(await changed(workspace, "T1", a_txt="changed"))
    rename = Path.rename

    def other_disk(path: Path, target: Path) -> Path:
        if path.parent.name == "applying":
            raise OSError(errno.EXDEV, "another disk")

        return rename(path, target)

    monkeypatch.setattr(Path, "rename", other_disk)
    await workspace.apply()

    assert (source / "a.txt").read_text() == "changed"
    assert not list(source.glob(".mma-*"))


@pytest.mark.parametrize("path", ["a.txt", "new.txt"])
async def test_apply_refuses_to_overwrite_what_the_user_changed_meanwhile(
    path: str, workspace: Workspace, source: Path
) -> None:
    await workspace.merge(await changed(workspace, "T1", a_txt="x\n", new_txt="y\n"))
    (source / path).write_text("the user's\n")
    before = contents(source)

    with pytest.raises(WorkspaceError, match=f"{path}; nothing was written"):
        await workspace.apply()

    assert contents(source) == before


async def test_apply_leaves_alone_what_the_run_did_not_touch(
    workspace: Workspace, source: Path
) -> None:
    await workspace.merge(await changed(workspace, "T1", a_txt="x\n"))
    (source / "run.sh").write_text("the user's\n")

    await workspace.apply()

    assert (source / "run.sh").read_text() == "the user's\n"
    assert (source / "a.txt").read_text() == "x\n"


async def test_apply_never_writes_through_a_folder_that_became_a_link(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    await workspace.merge(await changed(workspace, "T1", pkg__new_txt="x\n"))
    (tmp_path / "elsewhere").mkdir()
    (source / "pkg").rename(tmp_path / "moved")
    (source / "pkg").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(WorkspaceError):
        await workspace.apply()

    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("fails_at", range(6))
async def test_what_fails_half_way_is_taken_back(
    fails_at: int, source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = await workspace.checkout("T1")
    (checkout.root / "a.txt").write_text("changed\n")
    (checkout.root / "pkg" / "deep" / "c.py").unlink()
    (checkout.root / "more" / "deep").mkdir(parents=True)
    (checkout.root / "more" / "deep" / "new.txt").write_text("new\n")
    (checkout.root / "alias.py").unlink()
    (checkout.root / "alias.py").symlink_to("a.txt")
    (checkout.root / "run.sh").write_text("changed\n")
    (checkout.root / "zz").write_text("last\n")
    diff = await checkout.diff()
    before = contents(source)
    folders = sorted(path for path in source.rglob("*") if path.is_dir())
    calls = iter(range(100))
    real_replace, real_unlink = Path.replace, Path.unlink

    def replace(self: Path, target: Path) -> Path:
        if next(calls) == fails_at:
            raise OSError(28, "No space left on device")
        return real_replace(self, target)

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if not missing_ok and next(calls) == fails_at:
            raise OSError(5, "Input/output error")
        real_unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Path, "unlink", unlink)

    with pytest.raises(WorkspaceError, match=r"cannot write .* nothing was changed"):
        apply_changes(source, diff.changes)

    assert contents(source) == before
    assert sorted(path for path in source.rglob("*") if path.is_dir()) == folders
    assert (source / "run.sh").stat().st_mode & 0o777 == 0o755


async def test_taking_back_needs_no_room_on_a_full_disk(
    source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = await workspace.checkout("T1")
    (checkout.root / "a.txt").write_text("changed\n")
    (checkout.root / "pkg" / "deep" / "c.py").unlink()
    (checkout.root / "zz").mkdir()
    (checkout.root / "zz" / "new.txt").write_text("new\n")
    diff = await checkout.diff()
    before = contents(source)
    inode = (source / "a.txt").stat().st_ino
    real_mkdir, full = Path.mkdir, list[Path]()

    def mkdir(self: Path, *args: Any, **options: Any) -> None:
        if self.name == "zz":
            full.append(self)
            raise OSError(28, "No space left on device")
        real_mkdir(self, *args, **options)

    def create(path: Path, content: bytes, *, executable: bool) -> None:
        assert not full, f"{path} is written when there is no room"
        real_create(path, content, executable=executable)

    module: Any = writing
    real_create = module._create
    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(writing, "_create", create)

    with pytest.raises(WorkspaceError, match="nothing was changed"):
        apply_changes(source, diff.changes)

    assert full
    assert contents(source) == before
    # The very file that was there, and none beside it.
    assert (source / "a.txt").stat().st_ino == inode
    assert not list(source.rglob(".mma-*"))


async def test_files_that_cannot_have_two_names_are_written_and_taken_back_as_well(
    source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = await workspace.checkout("T1")
    (checkout.root / "a.txt").write_text("changed\n")
    (checkout.root / "run.sh").write_text("changed\n")
    diff = await checkout.diff()
    before = contents(source)
    real_replace = Path.replace

    def refuse(*_: object, **_options: object) -> None:
        raise OSError(95, "Operation not supported")

    def replace(self: Path, target: Path) -> Path:
        if target.name == "run.sh" and self.read_text() == "changed\n":
            raise OSError(5, "Input/output error")
        return real_replace(self, target)

    monkeypatch.setattr(os, "link", refuse)
    with monkeypatch.context() as failing:
        failing.setattr(Path, "replace", replace)
        with pytest.raises(WorkspaceError, match="nothing was changed"):
            apply_changes(source, diff.changes)

    assert contents(source) == before

    apply_changes(source, diff.changes)

    assert (source / "run.sh").read_text() == "changed\n"
    assert not list(source.rglob(".mma-*"))
