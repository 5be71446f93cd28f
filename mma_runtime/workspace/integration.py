"""The integration tree: a project as it was copied, plus what was merged."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from mma_runtime.errors import MergeConflict, WorkspaceError
from mma_runtime.workspace.diff import Diff, FileChange
from mma_runtime.workspace.merging import merge_change
from mma_runtime.workspace.repository import Repository, uncommitted
from mma_runtime.workspace.tree import (
    Entry,
    Snapshot,
    copy_tree,
    read_content,
    take_snapshot,
)
from mma_runtime.workspace.writing import apply_changes, replace_file


class Integration:
    """The tree that tickets are copied from and merged into; all methods block.

    It is `tree` in the run's *folder*; `base` beside it keeps the former contents of
    files that merges have replaced, by their SHA-256. With a *repository* each merge is
    a commit.
    """

    def __init__(
        self, folder: Path, original: Snapshot, repository: Repository | None
    ) -> None:
        """Take the tree that is in *folder*; *original* is what was copied."""
        self.tree: Path = folder / "tree"
        self.original: Snapshot = original
        # Never changed in place: each checkout keeps the one that it was made from.
        self.current: Snapshot = original
        self._base = folder / "base"
        self._repository = repository

    @classmethod
    def copied(cls, source: Path, folder: Path, repository: Repository | None) -> Self:
        """Copy *source*, and what was not committed in it as the branch's first commit.

        Raises `WorkspaceError` when something cannot be read or written.
        """
        tree = folder / "tree"
        if repository is None:
            copy_tree(source, tree)
            return cls(folder, take_snapshot(tree), None)

        carried = uncommitted(source)
        repository.attach(tree, integration=True)
        copy_tree(source, tree, known=repository.tracked)
        repository.settle(tree)
        snapshot = take_snapshot(tree, known=repository.tracked)
        # What was deleted is no longer in the tree, and belongs to the commit as well;
        # what no run copies is not in it either, and does not.
        paths = [
            path
            for path in carried
            if path in snapshot
            or (path in repository.tracked and not os.path.lexists(source / path))
        ]
        if paths:
            repository.commit(paths, "Carry along what was not committed\n")

        return cls(folder, snapshot, repository)

    def set_back(self) -> None:
        """Make the tree what was copied again.

        Raises:
            WorkspaceError: the original content of a file is gone; names it.
        """
        try:
            now = take_snapshot(self.tree, known=self.original)
            changes = [
                self._back(path, now.get(path), self.original.get(path))
                for path in sorted(now.keys() | self.original.keys())
                if now.get(path) != self.original.get(path)
            ]
        except OSError as error:
            raise WorkspaceError(
                f"the run's tree {self.tree} cannot be read: {error.strerror}"
            ) from error

        apply_changes(self.tree, changes)
        if self._repository is not None:
            self._repository.settle(self.tree)

    def copy_to(self, root: Path) -> None:
        """Copy the tree to *root*; shares no file with it."""
        if self._repository is not None:
            self._repository.attach(root)

        copy_tree(self.tree, root, known=self.current)
        if self._repository is not None:
            self._repository.settle(root)

    def merge(self, diff: Diff, message: str) -> None:
        """Take the changes of *diff* in, line by line if need be; all or none.

        Raises:
            MergeConflict: others changed the same; nothing was changed.
            WorkspaceError: the tree cannot be written; nothing was changed.
        """
        merged: list[FileChange] = []
        conflicts: dict[str, str] = {}
        for change in diff.changes:
            entry = self.current.get(change.path)
            content = self.content_of(change.path, entry) if entry else None
            try:
                result = merge_change(change, content, entry.mode if entry else None)
            except MergeConflict as conflict:
                conflicts |= conflict.conflicts
                continue

            merged += [result] if result else []

        current = dict(self.current)
        for change in merged:
            if change.after is None or change.mode_after is None:
                del current[change.path]
            else:
                current[change.path] = Entry.of(change.mode_after, change.after)

        for path in _clashes(current, merged):
            conflicts.setdefault(path, "a file stands where another has its folder")

        if conflicts:
            raise MergeConflict(dict(sorted(conflicts.items())))

        self._keep(merged)
        apply_changes(self.tree, merged)
        if self._repository is not None and merged:
            try:
                self._repository.commit(
                    [change.path for change in merged], message or "Change files\n"
                )
            except BaseException:
                apply_changes(self.tree, [change.reversed() for change in merged])
                raise

        self.current = current

    def changes(self) -> Diff:
        """Compare the tree with the source as it was copied."""
        paths = sorted(self.original.keys() | self.current.keys())
        changes: list[FileChange] = []
        for path in paths:
            before, after = self.original.get(path), self.current.get(path)
            if before != after:
                change = FileChange(
                    path=path,
                    before=self.content_of(path, before) if before else None,
                    after=self.content_of(path, after) if after else None,
                    mode_before=before.mode if before else None,
                    mode_after=after.mode if after else None,
                )
                changes.append(change)

        return Diff(tuple(changes))

    def content_of(self, path: str, entry: Entry) -> bytes:
        """Return the content that *entry* described, from the tree or the store.

        Raises:
            WorkspaceError: the file was changed by something that was no merge.
        """
        found = read_content(os.fspath(self.tree), path)
        if found is not None and Entry.of(*found).digest == entry.digest:
            return found[1]

        try:
            return (self._base / entry.digest.hex()).read_bytes()
        except FileNotFoundError as error:
            raise WorkspaceError(
                f"{path!r} in the run's tree {self.tree} was changed from outside;"
                " only merges may change it"
            ) from error

    def _back(self, path: str, now: Entry | None, original: Entry | None) -> FileChange:
        content = read_content(os.fspath(self.tree), path) if now else None
        return FileChange(
            path=path,
            before=content[1] if content else None,
            after=self.content_of(path, original) if original else None,
            mode_before=content[0] if content else None,
            mode_after=original.mode if original else None,
        )

    def _keep(self, changes: Sequence[FileChange]) -> None:
        """Store what *changes* replace: checkouts made before still compare with it."""
        self._base.mkdir(exist_ok=True)
        for change in changes:
            if change.before is not None and change.mode_before is not None:
                entry = Entry.of(change.mode_before, change.before)
                replace_file(self._base / entry.digest.hex(), change.before)


def _clashes(current: Snapshot, merged: Sequence[FileChange]) -> list[str]:
    """Name new files that stand where others need a folder, or below a file."""
    added = [change.path for change in merged if change.before is None]
    if not added:
        return []

    folders = {folder for path in current for folder in _folders(path)}
    return [
        path
        for path in added
        if path in folders or any(folder in current for folder in _folders(path))
    ]


def _folders(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
