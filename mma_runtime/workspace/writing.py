"""Changes written into a folder: all of them or none, no file ever half written."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from mma_runtime.errors import OutsideWorkspace, WorkspaceError
from mma_runtime.workspace.diff import FileChange
from mma_runtime.workspace.tree import EXECUTABLE, LINK, remove_tree


def apply_changes(
    root: Path, changes: Sequence[FileChange], *, staging: Path | None = None
) -> None:
    """Write *changes* below *root*. When one fails, those before it are taken back.

    Each file is written elsewhere and then moved into its place; what was there is kept
    until all is done, so that taking back needs no room. Whether the files there are as
    the changes expect is the caller's to check. Elsewhere is *staging*, if files can be
    moved from there, or else *root* itself: what a kill leaves lies about there.

    Raises:
        WorkspaceError: something cannot be written; nothing has changed.
    """
    for change in changes:
        _refuse_links_above(root, change.path)

    room = root if staging is None else _staged_in(staging, root)
    # Deletions come first: a file may have to make room for a folder of its name.
    ordered = sorted(changes, key=lambda change: change.after is not None)
    staged: dict[str, Path] = {}
    begun: list[_Write] = []
    try:
        for change in ordered:
            if change.after is not None:
                staged[change.path] = _stage(root, room, change)

        for change in ordered:
            begun.append(_Write(root, change, _beside(room)))
            begun[-1].do(staged.get(change.path))
    except BaseException as error:
        # First: on a full disk it makes the room that folders need.
        _remove(staged.values())
        for write in reversed(begun):
            write.take_back()

        if not isinstance(error, OSError):
            raise

        where = begun[-1].change.path if begun else error.filename
        what = f"{where!r} in {root}" if where else f"to {root}"
        raise WorkspaceError(
            f"cannot write {what}: {error.strerror}; nothing was changed"
        ) from error
    finally:
        _remove(staged.values())
        _remove(write.kept for write in begun)


def replace_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write *content* to *path* in one step; readers see the old or the new file.

    *mode* holds the permissions, by default those of a new file. A link in that place
    is replaced, not followed.
    """
    temporary = _beside(path.parent)
    try:
        _create(temporary, content, executable=False)
        if mode is not None:
            temporary.chmod(mode)

        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(slots=True)
class _Write:
    """One change and what is needed to take it back."""

    root: Path
    change: FileChange
    kept: Path
    created: Sequence[Path] = ()
    removed: Sequence[Path] = ()
    begun: bool = False

    def do(self, staged: Path | None) -> None:
        path = self.root / self.change.path
        self.begun = True
        if staged is None:
            path.replace(self.kept)
            self.removed = _remove_empty(self.root, path.parent)
            return

        if self.change.before is not None:
            _keep(path, self.kept)

        self.created = _make_parents(path.parent)
        staged.replace(path)

    def take_back(self) -> None:
        path = self.root / self.change.path
        if not self.begun:
            return

        for folder in reversed(self.removed):
            folder.mkdir(exist_ok=True)

        if self.change.before is None:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        elif os.path.lexists(self.kept):
            self.kept.replace(path)

        for folder in reversed(self.created):
            with suppress(OSError):
                folder.rmdir()


def _refuse_links_above(root: Path, path: str) -> None:
    parent = (root / path).parent
    expected = Path(os.path.realpath(root)) / parent.relative_to(root)
    if Path(os.path.realpath(parent)) != expected:
        raise OutsideWorkspace(path)


def _staged_in(staging: Path, root: Path) -> Path:
    """Return *staging*, made anew, or *root* where nothing can be moved from there."""
    remove_tree(staging)
    try:
        staging.mkdir(parents=True)
        # Tried: one file system can be mounted twice, and then only that tells.
        probe, beside = _beside(staging), _beside(root)
        probe.touch()
        probe.rename(beside)
        beside.unlink()
    except OSError:
        return root

    return staging


def _stage(root: Path, room: Path, change: FileChange) -> Path:
    """Write the new content to *room*: what may fail mostly fails here."""
    temporary = _beside(room)
    content = change.after or b""
    if change.mode_after == LINK:
        temporary.symlink_to(os.fsdecode(content))
        return temporary

    executable = change.mode_after == EXECUTABLE
    try:
        _create(temporary, content, executable=executable)
        with suppress(FileNotFoundError, NotADirectoryError):
            if change.mode_before != LINK:
                old = (root / change.path).lstat().st_mode & 0o777
                temporary.chmod(
                    old | (old & 0o444) >> 2 if executable else old & ~0o111
                )
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

    return temporary


def _beside(folder: Path) -> Path:
    return folder / f".mma-{token_hex(8)}"


def _keep(path: Path, kept: Path) -> None:
    """Give what is at *path* a second name, or else another one."""
    try:
        os.link(path, kept, follow_symlinks=False)
    except OSError:
        path.rename(kept)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _create(path: Path, content: bytes, *, executable: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # Given at creation, the permissions are narrowed by the user's umask.
    descriptor = os.open(path, flags, 0o777 if executable else 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _make_parents(folder: Path) -> Sequence[Path]:
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent

    missing.reverse()
    for parent in missing:
        parent.mkdir()

    return missing


def _remove_empty(root: Path, folder: Path) -> Sequence[Path]:
    """Remove folders that a deletion has emptied, as git does."""
    removed: list[Path] = []
    while folder != root:
        try:
            folder.rmdir()
        except OSError:
            break

        removed.append(folder)
        folder = folder.parent

    return removed
