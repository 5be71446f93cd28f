"""One ticket's own copy of the integration tree, and what it changed there."""

import os
from collections.abc import Callable
from pathlib import Path

from anyio import to_thread

from mma_runtime.errors import WorkspaceError
from mma_runtime.workspace.diff import Diff, FileChange
from mma_runtime.workspace.files import Files
from mma_runtime.workspace.tree import (
    LINK,
    Entry,
    Snapshot,
    read_content,
    read_entry,
    remove_tree,
    walk,
)
from mma_runtime.workspace.views import Views

PRIVATE = ".mma"
"""The folder in a checkout that holds the runtime's own files, never part of a diff."""

_DIFF_LIMIT = 50_000_000


class Checkout(Files):
    """A folder that one ticket may change as it likes; its result is a diff.

    Made by `Workspace.checkout`. `root` is free of links. `home` is a private folder
    beside it for what commands keep outside of the project (`HOME`, `TMPDIR`).
    `hidden` is what commands in it are not to see, the run's other checkouts above all.
    `outputs` counts what `keep_output` has stored.
    """

    __slots__ = (
        "_base",
        "_content_of",
        "folder",
        "hidden",
        "home",
        "name",
        "outputs",
    )

    def __init__(
        self,
        name: str,
        folder: Path,
        base: Snapshot,
        content_of: Callable[[str, Entry], bytes],
        views: Views,
        *,
        hidden: tuple[Path, ...] = (),
    ) -> None:
        super().__init__(folder / "tree", views)
        self.name: str = name
        self.folder: Path = folder
        self.home: Path = folder / "home"
        self.hidden: tuple[Path, ...] = (folder.parent, *hidden)
        self._base = base
        self._content_of = content_of
        self.outputs: int = 0

    async def keep_output(self, text: str) -> str:
        """Store a tool's whole *text* for later reading; return its path from the root.

        It lies outside of what a diff sees and goes with the checkout.
        """
        self.outputs += 1
        path = f"{PRIVATE}/output/{self.outputs}.txt"
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
            for path, entry in walk(root, known=self._base):
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
