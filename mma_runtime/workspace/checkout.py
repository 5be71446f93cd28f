"""One ticket's own copy of the integration tree, and the wall around it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from anyio import to_thread

from mma_runtime.errors import OutsideWorkspace, WorkspaceError
from mma_runtime.workspace.diff import Diff, FileChange
from mma_runtime.workspace.tree import (
    LINK,
    Entry,
    Snapshot,
    read_content,
    read_entry,
    remove_tree,
    walk,
)
from mma_runtime.workspace.writing import replace_file

PRIVATE = ".mma"
"""The folder in a checkout that holds the runtime's own files, never part of a diff."""

_DIFF_LIMIT = 50_000_000


class Checkout:
    """A folder that one ticket may change as it likes; its result is a diff.

    Made by `Workspace.checkout`. `root` is free of links. `home` is a private folder
    beside it for what commands keep outside of the project (`HOME`, `TMPDIR`).
    """

    __slots__ = ("_base", "_content_of", "_outputs", "folder", "home", "name", "root")

    def __init__(
        self,
        name: str,
        folder: Path,
        base: Snapshot,
        content_of: Callable[[str, Entry], bytes],
    ) -> None:
        self.name = name
        self.folder = folder
        self.root = folder / "tree"
        self.home = folder / "home"
        self._base = base
        self._content_of = content_of
        self._outputs = 0

    def resolve(self, path: str) -> Path:
        """Return the real place of *path*: links and `..` first, then the check.

        Absolute paths are allowed when they lie inside. The place need not exist.

        Raises:
            OutsideWorkspace: it lies outside the checkout.
        """
        if "\0" in path:
            raise OutsideWorkspace(path)

        real = Path(os.path.realpath(self.root / path))
        if real != self.root and self.root not in real.parents:
            raise OutsideWorkspace(path)

        return real

    def relative(self, place: Path) -> str:
        """Return a resolved *place* as a POSIX path from the root, `.` for itself."""
        return place.relative_to(self.root).as_posix()

    def read_bytes(self, path: str, *, limit: int) -> bytes:
        """Read a regular file of at most *limit* bytes. Blocks: call it in a thread.

        Raises:
            OutsideWorkspace: the path leads out.
            WorkspaceError: missing, unreadable, no regular file, or too big.
        """
        place = self.resolve(path)
        # Not blocking: opening a named pipe would else wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(place, flags)
        except OSError as error:
            raise WorkspaceError(_problem(path, error)) from error

        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise WorkspaceError(f"{path!r} is a folder, not a file")

            if not stat.S_ISREG(status.st_mode):
                raise WorkspaceError(f"{path!r} is not a regular file")

            if status.st_size > limit:
                raise WorkspaceError(
                    f"{path!r} is too big: {status.st_size:,} bytes,"
                    f" at most {limit:,} are read"
                )

            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(limit)
        finally:
            os.close(descriptor)

    def write_bytes(self, path: str, content: bytes) -> bool:
        """Write a file in one step, and the folders it lies in. Blocks as reading does.

        The permissions of an existing file stay. Returns whether the file is new.

        Raises:
            OutsideWorkspace: the path leads out.
            WorkspaceError: it cannot be written, or is no regular file.
        """
        place = self.resolve(path)
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            mode = None
        except OSError as error:
            raise WorkspaceError(_problem(path, error)) from error

        if place == self.root or (mode is not None and not stat.S_ISREG(mode)):
            raise WorkspaceError(f"{path!r} is not a regular file; it stays as it is")

        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_file(place, content, mode=mode and mode & 0o777)
        except OSError as error:
            raise WorkspaceError(_problem(path, error)) from error

        return mode is None

    async def keep_output(self, text: str) -> str:
        """Store a tool's whole *text* for later reading; return its path from the root.

        It lies outside of what a diff sees and goes with the checkout.
        """
        self._outputs += 1
        path = f"{PRIVATE}/output/{self._outputs}.txt"
        content = text.encode(errors="replace")
        await to_thread.run_sync(self.write_bytes, path, content)
        return path

    async def diff(self) -> Diff:
        """Compare with the integration tree as it was when this copy was made.

        Cancellation leaves everything as it is.

        Raises:
            WorkspaceError: a file cannot be read, or a new one is beyond 50 MB.
        """
        return await to_thread.run_sync(self._diff)

    async def discard(self) -> None:
        """Remove the copy. Safe to call twice; cancellation waits for its end."""
        await to_thread.run_sync(remove_tree, self.folder)

    def _diff(self) -> Diff:
        root = os.fspath(self.root)
        changes: list[FileChange] = []
        gone = dict(self._base)
        try:
            for path, entry in walk(root):
                if entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    before = gone.pop(path, None)
                    change = self._change(root, path, entry, before)
                    changes += [change] if change else []
        except OSError as error:
            raise WorkspaceError(
                f"cannot read the checkout {self.name!r}:"
                f" {error.strerror}: {error.filename}"
            ) from error

        changes += [
            FileChange(
                path=path,
                before=self._content_of(path, before),
                after=None,
                mode_before=before.mode,
                mode_after=None,
            )
            for path, before in gone.items()
        ]
        return Diff(tuple(sorted(changes, key=lambda change: change.path)))

    def _change(
        self, root: str, path: str, entry: os.DirEntry[str], before: Entry | None
    ) -> FileChange | None:
        size = entry.stat(follow_symlinks=False).st_size
        same_size = before is not None and (before.mode == LINK or before.size == size)
        if same_size and read_entry(root, entry) == before:
            return None

        if size > _DIFF_LIMIT:
            raise WorkspaceError(
                f"{path!r} has {size:,} bytes: a change may have {_DIFF_LIMIT:,}"
                " at most; delete the file"
            )

        found = read_content(root, path)
        if found is None:
            return None

        mode, content = found
        return FileChange(
            path=path,
            before=self._content_of(path, before) if before else None,
            after=content,
            mode_before=before.mode if before else None,
            mode_after=mode,
        )


def _problem(path: str, error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return f"there is no file {path!r}"
        case IsADirectoryError():
            return f"{path!r} is a folder, not a file"
        case NotADirectoryError() | FileExistsError():
            return f"{path!r} cannot exist: a part of it is a file, not a folder"
        case _:
            return f"{path!r} cannot be opened: {error.strerror}"
