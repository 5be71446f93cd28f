"""The git repository of a run: a branch with a commit per ticket, away from the user's.

It borrows the objects of the project's repository and shares nothing else with it, so
that no command in a checkout can touch the user's branches, index or settings.
"""

import os
import subprocess
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Self

from mma_runtime.errors import NoRoom, WorkspaceError
from mma_runtime.workspace.room import tells_of_no_room

_NAME = "mma-runtime"
_SHOWN_PATHS = 5
_SETTINGS = (
    "advice.detachedHead=false",
    "commit.gpgSign=false",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "gc.auto=0",
    "maintenance.auto=false",
)


@dataclass(frozen=True, slots=True)
class RepositoryStart:
    """Where a run's branch began, and the paths that git knew in the user's folder."""

    commit: str
    tracked: frozenset[str]


class Repository:
    """The run's own repository in *folder*, for the work tree *source* of the user.

    *branch* is where commits go; the user has it only after `publish`. *tracked* are
    the paths that git knew in the user's folder. All methods block.
    """

    def __init__(self, source: Path, folder: Path, branch: str) -> None:
        """Use `open`: it makes what is expected here."""
        self._source = source
        self._folder = folder
        self._tree: Path | None = None
        self.branch = branch
        self.tracked: frozenset[str] = frozenset()

    @classmethod
    def open(cls, source: Path, folder: Path, branch: str) -> Self | None:
        """Make a repository in *folder* that stands where *source* stands.

        `None`: *source* is not the top of a git work tree with a commit, it has
        submodules, or there is no git here. Such folders are copied and no more.

        Raises:
            WorkspaceError: git cannot make it.
        """
        try:
            facts = _git(
                source,
                "rev-parse",
                "--path-format=absolute",
                "--show-toplevel",
                "--git-path",
                "objects",
                "--git-path",
                "shallow",
                "--show-object-format",
                "HEAD",
            )
        except (WorkspaceError, FileNotFoundError):
            return None

        top, objects, shallow, object_format, commit = os.fsdecode(facts).splitlines()
        if Path(top).resolve() != source or (source / ".gitmodules").exists():
            return None

        _git(
            source,
            "init",
            "-q",
            "--bare",
            f"--object-format={object_format}",
            "--template=",
            os.fspath(folder),
        )
        (folder / "objects" / "info").mkdir(exist_ok=True)
        (folder / "objects" / "info" / "alternates").write_text(objects + "\n")
        if Path(shallow).exists():
            (folder / "shallow").write_bytes(Path(shallow).read_bytes())

        made = cls(source, folder, branch)
        made._git("update-ref", f"refs/heads/{branch}", commit)
        # Copies keep their times, but not what else git tells a changed file by.
        made._git("config", "core.checkStat", "minimal")
        made._git("config", "core.trustctime", "false")
        made.tracked = frozenset(_paths(_git(source, "ls-files", "-z")))
        return made

    @classmethod
    def reopen(
        cls, source: Path, folder: Path, branch: str, start: RepositoryStart
    ) -> Self:
        """Set the run's branch back to its *start*, for a run that is resumed.

        Raises:
            WorkspaceError: git cannot do so.
        """
        made = cls(source, folder, branch)
        made._tree = folder.parent / "tree"
        made.tracked = start.tracked
        for lock in (folder / "worktrees").glob("*/index.lock"):
            # Left by a git that was killed with the run.
            lock.unlink()

        made._git("worktree", "prune")
        made._git("update-ref", f"refs/heads/{branch}", start.commit)
        return made

    @classmethod
    def copy(
        cls, source: Path, of: Path, folder: Path, branch: str, start: RepositoryStart
    ) -> Self:
        """Copy the repository *of* another run to *folder*; *branch* is at its *start*.

        Raises:
            WorkspaceError: git cannot use it.
        """
        copytree(of, folder, ignore=ignore_patterns("worktrees", "*.lock"))
        made = cls(source, folder, branch)
        made.tracked = start.tracked
        made._git("update-ref", f"refs/heads/{branch}", start.commit)
        return made

    def start(self) -> RepositoryStart:
        """Return where the branch stands now."""
        commit = self._git("rev-parse", f"refs/heads/{self.branch}").decode().strip()
        return RepositoryStart(commit, self.tracked)

    def attach(self, root: Path, *, integration: bool = False) -> None:
        """Make *root*, which must not exist, an empty work tree at the last commit.

        The one for *integration* is on the branch, others are detached.
        """
        where = (self.branch,) if integration else ("--detach", self.branch)
        self._git("worktree", "prune")
        self._git("worktree", "add", "-q", "--no-checkout", os.fspath(root), *where)
        if integration:
            self._tree = root

    def settle(self, root: Path) -> None:
        """Let git know the files that were copied into the work tree *root*."""
        _git(root, "reset", "-q")

    def commit(self, paths: Iterable[str], message: str) -> None:
        """Commit *paths* as they are in the integration tree by now."""
        if self._tree is None:
            raise WorkspaceError("there is no integration tree to commit")

        _git(
            self._tree,
            "--literal-pathspecs",
            "add",
            "--all",
            "--force",
            "--pathspec-from-file=-",
            "--pathspec-file-nul",
            given=b"\0".join(map(os.fsencode, paths)),
        )
        _git(
            self._tree,
            "commit",
            "-q",
            "--no-verify",
            "--allow-empty",
            "--file=-",
            given=message.encode(),
        )

    def publish(self) -> None:
        """Put the branch into the user's repository; nothing else changes there.

        A branch of that name is left alone if it holds the same files: a run that is
        resumed at its very end has made it before.

        Raises:
            WorkspaceError: there is such a branch with other files, or git cannot
                write.
        """
        reference = f"refs/heads/{self.branch}"
        try:
            found = _git(
                self._source, "rev-parse", "-q", "--verify", f"{reference}^{{tree}}"
            )
        except WorkspaceError:
            found = b""

        if found and found == self._git("rev-parse", f"{reference}^{{tree}}"):
            return

        _git(
            self._source,
            "fetch",
            "-q",
            "--no-tags",
            "--no-write-fetch-head",
            os.fspath(self._folder),
            f"{reference}:{reference}",
        )

    def _git(self, *arguments: str) -> bytes:
        return _git(self._folder, *arguments)


def uncommitted(source: Path) -> list[str]:
    """Return the paths in *source* that no commit holds as they are.

    They are from *source*, which may be any folder of a git work tree, with submodules
    and without a commit too. There are none where there is no git or no work tree.

    Raises:
        WorkspaceError: git cannot tell.
    """
    try:
        prefix = os.fsdecode(_git(source, "rev-parse", "--show-prefix")).rstrip("\n")
    except FileNotFoundError:
        return []
    except WorkspaceError as error:
        if "not a git repository" in str(error):
            return []

        raise

    shown = _git(
        source,
        "--no-optional-locks",
        "status",
        "--porcelain=v1",
        "--no-renames",
        "--untracked-files=all",
        "-z",
        "--",
        ".",
    )
    return [entry[3:].removeprefix(prefix) for entry in _paths(shown)]


def refuse_uncommitted(source: Path) -> None:
    """Raise if there is anything uncommitted in *source*, the user's folder.

    Raises:
        WorkspaceError: there is, it says what and what can be done; or git cannot tell.
    """
    paths = uncommitted(source)
    if not paths:
        return

    more = len(paths) - _SHOWN_PATHS
    shown = ", ".join(paths[:_SHOWN_PATHS]) + (f" and {more} more" if more > 0 else "")
    raise WorkspaceError(
        f"there are uncommitted changes in {source}: {shown}; commit or stash them, or"
        " set `dirty: carry` in the scenario's `workspace` to work on them"
    )


def _paths(listed: bytes) -> Collection[str]:
    return [os.fsdecode(path) for path in listed.split(b"\0") if path]


def _git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    settings = [word for each in _SETTINGS for word in ("-c", each)]
    command: Sequence[str] = ("git", "-C", os.fspath(folder), *settings, *arguments)
    # What a surrounding git command set, such as the one whose hook runs us, would
    # lead to another repository.
    surroundings = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_")
    }
    surroundings |= {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": _NAME,
        "GIT_AUTHOR_EMAIL": f"{_NAME}@localhost",
        "GIT_COMMITTER_NAME": _NAME,
        "GIT_COMMITTER_EMAIL": f"{_NAME}@localhost",
    }
    done = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
        command, input=given, capture_output=True, env=surroundings, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        problem = f"`git {arguments[0]}` failed in {folder}: {said}"
        raise (NoRoom if tells_of_no_room(said) else WorkspaceError)(problem)

    return done.stdout
