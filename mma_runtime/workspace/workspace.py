"""A run's private copy of a project, and the way of its changes back to the user."""

import os
from functools import partial
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from anyio import Lock, to_thread

from mma_runtime.errors import WorkspaceError
from mma_runtime.workspace.checkout import Checkout
from mma_runtime.workspace.diff import Diff, FileChange
from mma_runtime.workspace.files import Files
from mma_runtime.workspace.integration import Integration
from mma_runtime.workspace.repository import (
    Repository,
    RepositoryStart,
    refuse_uncommitted,
)
from mma_runtime.workspace.tree import (
    EXCLUDED,
    Snapshot,
    read_content,
    remove_tree,
)
from mma_runtime.workspace.views import Views
from mma_runtime.workspace.writing import apply_changes, replace_file

Dirty = Literal["carry", "refuse"]
"""What to do with uncommitted changes in a git project: work on them, or do not run."""


class Workspace:
    """A run's copy of a project: an integration tree, and a checkout for each ticket.

    Tickets work in checkouts; only `merge` changes the integration tree, and commands
    must not run in it. `files` reads it and shows views of it. The user's folder,
    `source`, changes by `apply` alone.

    In the run's folder lie the integration tree as `tree`, with what it keeps in
    `base`, and `checkouts`. Where the source is a git project there is `repository`
    too: the trees are then git work trees, and what is merged is committed to a branch
    that `publish` hands over.
    """

    def __init__(
        self,
        source: Path,
        folder: Path,
        integration: Integration,
        repository: Repository | None,
    ) -> None:
        """Use `open`: it makes what is expected here."""
        self.source = source
        self.folder = folder
        self.tree: Path = integration.tree
        self._views = Views()
        self.files: Files = Files(self.tree, self._views)
        self._integration = integration
        self._repository = repository
        self._lock = Lock()
        self.hidden: tuple[Path, ...] = ()
        """What commands in checkouts are not to see besides the other checkouts."""

    @property
    def branch(self) -> str | None:
        """The branch that `publish` makes, `mma/<run>`; `None`: no git project."""
        return self._repository.branch if self._repository else None

    @classmethod
    async def open(
        cls,
        source: Path,
        folder: Path,
        *,
        dirty: Dirty = "carry",
        branch: bool = False,
    ) -> Self:
        """Copy *source* into `folder/tree`, without what is in `EXCLUDED` or ignored.

        *dirty* says what becomes of changes in a git project that are not committed:
        they are carried along, as the branch's first commit, or the run is refused.
        *branch* demands that `publish` can make one. Cancellation removes what was
        copied so far.

        Raises:
            WorkspaceError: the source is missing, no folder, unreadable, or would
                contain its own copy; the folder holds another run's tree; there are
                uncommitted changes, or git cannot tell, and they are to be refused; or
                there can be no branch, and there is to be one.
        """
        return await to_thread.run_sync(
            partial(cls._open, source, folder, dirty=dirty, branch=branch)
        )

    @classmethod
    def _open(cls, source: Path, folder: Path, *, dirty: Dirty, branch: bool) -> Self:
        real_source = Path(os.path.realpath(source))
        real_folder = Path(os.path.realpath(folder))
        if not real_source.exists():
            raise WorkspaceError(f"the workspace {source} does not exist")

        if not real_source.is_dir():
            raise WorkspaceError(f"the workspace {source} is a file; name a folder")

        if real_source == real_folder or real_folder in real_source.parents:
            raise WorkspaceError(
                f"the workspace {source} lies inside the run's folder {folder};"
                " choose another folder for the run"
            )

        if real_source in real_folder.parents and EXCLUDED.isdisjoint(
            real_folder.relative_to(real_source).parts
        ):
            raise WorkspaceError(
                f"the run's folder {folder} lies inside the workspace {source},"
                " which would copy itself; put it elsewhere, or below a '.mma' folder"
            )

        tree = real_folder / "tree"
        if tree.exists():
            raise WorkspaceError(f"{tree} exists: each run needs a folder of its own")

        own = real_folder / "repository"
        try:
            repository = Repository.open(real_source, own, f"mma/{real_folder.name}")
            if branch:
                _demand(repository, source)

            if dirty == "refuse":
                refuse_uncommitted(real_source)

            integration = Integration.copied(real_source, real_folder, repository)
        except BaseException:
            remove_tree(tree)
            remove_tree(own)
            raise

        return cls(real_source, real_folder, integration, repository)

    @classmethod
    async def reopen(
        cls,
        source: Path,
        folder: Path,
        original: Snapshot,
        repository: RepositoryStart | None,
    ) -> Self:
        """Set the tree in *folder* back to what was copied, to merge into it again.

        *original* and *repository* are what `original` and `repository_start` were when
        the workspace was opened. Removes the checkouts that are left.

        Raises:
            WorkspaceError: the original content of a file is gone, or git cannot go
                back; names it.
        """
        return await to_thread.run_sync(
            cls._reopen, source, folder, original, repository
        )

    @classmethod
    def _reopen(
        cls,
        source: Path,
        folder: Path,
        original: Snapshot,
        start: RepositoryStart | None,
    ) -> Self:
        real = Path(os.path.realpath(folder))
        real_source = Path(os.path.realpath(source))
        remove_tree(real / "checkouts")
        repository = None
        if start is not None:
            repository = Repository.reopen(
                real_source, real / "repository", f"mma/{real.name}", start
            )

        integration = Integration(real, original, repository)
        integration.set_back()
        return cls(real_source, real, integration, repository)

    @property
    def original(self) -> Snapshot:
        """What the source held when it was copied."""
        return self._integration.original

    def repository_start(self) -> RepositoryStart | None:
        """Return where the run's branch stands, as long as nothing was merged."""
        return self._repository.start() if self._repository is not None else None

    async def checkout(self, name: str) -> Checkout:
        """Copy the integration tree for a ticket; shares no file with it.

        Waits for a merge to end. Cancellation removes what was copied so far.

        Raises:
            WorkspaceError: there is a checkout of that name, or it cannot be written.
        """
        async with self._lock:
            return await to_thread.run_sync(self._checkout, name)

    def _checkout(self, name: str) -> Checkout:
        folder = self.folder / "checkouts" / f"for-{quote(name, safe='')}"
        if folder.exists():
            raise WorkspaceError(f"there is a checkout {name!r} already")

        integration = self._integration
        checkout = Checkout(
            name,
            folder,
            integration.current,
            integration.content_of,
            self._views,
            hidden=self.hidden,
        )
        try:
            integration.copy_to(checkout.root)
            checkout.home.mkdir()
        except BaseException:
            remove_tree(folder)
            raise

        return checkout

    async def merge(self, diff: Diff, message: str = "") -> None:
        """Take a ticket's changes into the integration tree, line by line if need be.

        In a git project it makes one commit with *message*. One merge at a time. A
        cancelled merge is done whole, or not at all.

        Raises:
            MergeConflict: others changed the same; the integration tree is unchanged.
            WorkspaceError: the tree cannot be written; it is unchanged as well.
        """
        async with self._lock:
            await to_thread.run_sync(self._integration.merge, diff, message)

    async def changes(self) -> Diff:
        """Compare the integration tree with the source as it was copied."""
        async with self._lock:
            return await to_thread.run_sync(self._integration.changes)

    async def write_patch(self, path: Path) -> Diff:
        """Write the run's changes to *path*, for `git apply`; return them."""
        diff = await self.changes()
        await to_thread.run_sync(replace_file, path, diff.patch)
        return diff

    async def apply(self) -> tuple[str, ...]:
        """Write the run's changes into the user's folder; return the paths.

        A file that is already as the run has it is left alone. When one cannot be
        written, those before it are taken back. Cancellation waits for the end.

        Raises:
            WorkspaceError: touched files are not as they were copied, or cannot be
                written; nothing was changed.
        """
        async with self._lock:
            return await to_thread.run_sync(self._apply)

    def _apply(self) -> tuple[str, ...]:
        diff = self._integration.changes()
        pending: list[FileChange] = []
        foreign: list[str] = []
        for change in diff.changes:
            try:
                found = read_content(os.fspath(self.source), change.path)
            except OSError as error:
                raise WorkspaceError(
                    f"cannot read {change.path!r} in {self.source}: {error.strerror};"
                    " nothing was changed"
                ) from error

            mode, content = found or (None, None)
            if (mode, content) == (change.mode_before, change.before):
                pending.append(change)
            elif (mode, content) != (change.mode_after, change.after):
                foreign.append(change.path)

        if foreign:
            raise WorkspaceError(
                f"changed in {self.source} since the run began: {', '.join(foreign)};"
                " nothing was written. Apply the run's patch by hand, or run again"
            )

        # Not in the user's folder, where a kill would leave them among the sources.
        staging = self.folder / "applying"
        try:
            apply_changes(self.source, pending, staging=staging)
        finally:
            remove_tree(staging)

        return diff.files

    def demand_branch(self) -> None:
        """Raise if `publish` cannot make a branch.

        Raises:
            WorkspaceError: the source is no git project that can have one.
        """
        _demand(self._repository, self.source)

    async def publish(self) -> str | None:
        """Put the run's branch into the user's git repository; return its name.

        It has one commit for each merge. Nothing else changes there: not the files, not
        what is checked out. `None`: the source is no git project.

        Raises:
            WorkspaceError: git cannot make the branch; nothing was changed.
        """
        if self._repository is None:
            return None

        async with self._lock:
            await to_thread.run_sync(self._repository.publish)

        return self._repository.branch

    async def close(self) -> None:
        """Remove all checkouts; the integration tree stays. Safe to call twice."""
        async with self._lock:
            await to_thread.run_sync(remove_tree, self.folder / "checkouts")


def _demand(repository: Repository | None, source: Path) -> None:
    if repository is None:
        raise WorkspaceError(
            f"a branch is wanted of the changes to {source}, which is not the top of a"
            " git project with a commit and without submodules; run without `apply:"
            " branch` and take the patch"
        )
