"""A folder of files as a run sees it: what belongs to it, its copy, its snapshot.

Symbolic links are kept as links and never followed. What no run wants to copy or to
show as a change is invisible here: `EXCLUDED`, any virtual environment, and what the
project's `.gitignore` files leave out.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Self

from anyio.from_thread import check_cancelled

from mma_runtime.errors import WorkspaceError
from mma_runtime.workspace.ignoring import GITIGNORE, rules_above, rules_of

EXCLUDED = frozenset(
    {
        ".coverage",
        ".git",
        ".hg",
        ".hypothesis",
        ".mma",
        ".mypy_cache",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".svn",
        ".tox",
        ".venv",
        "__pycache__",
        "node_modules",
        "venv",
    }
)
"""Names that are neither copied nor compared, at any depth."""

FILE = 0o100644
"""A regular file, in git's numbers, like the two that follow."""

EXECUTABLE = 0o100755

LINK = 0o120000

_VIRTUAL_ENVIRONMENT = "pyvenv.cfg"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or link by its content. *size* is in bytes, *mode* one of git's three."""

    mode: int
    size: int
    digest: bytes

    @classmethod
    def of(cls, mode: int, content: bytes) -> Self:
        """Describe *content*; for a link that is the path it points to."""
        return cls(mode, len(content), sha256(content).digest())


Snapshot = Mapping[str, Entry]
"""What a folder held: entries by their POSIX path relative to it."""


def walk(
    root: str,
    *,
    within: str = "",
    max_depth: int | None = None,
    known: Collection[str] = (),
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield all that belongs to the folder *root*, a folder before what it holds.

    What `.gitignore` leaves out does not belong to it, unless it is among *known*
    paths. Paths are relative and POSIX. *within* is a folder below *root* to stay in,
    ending with a slash. *max_depth* counts levels from 1. Stops when the task that
    waits for this thread is cancelled.
    """
    expected: set[str] | None = None
    top = within.count("/")
    start = f"{root}/{within}" if within else root
    pending = [(within, start, rules_above(root, within))]
    while pending:
        check_cancelled()
        prefix, folder, rules = pending.pop()
        with os.scandir(folder) as found:
            entries = sorted(found, key=_name)

        names = {entry.name for entry in entries}
        if prefix != within and _VIRTUAL_ENVIRONMENT in names:
            continue

        if GITIGNORE in names:
            rules = rules_of(root, prefix, rules)

        for entry in entries:
            if entry.name in EXCLUDED:
                continue

            path = prefix + entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if rules is not None and rules.ignore(path, is_folder=is_folder):
                if expected is None:
                    expected = _with_folders(known)
                if path not in expected:
                    continue

            yield path, entry
            deeper = max_depth is None or path.count("/") - top + 1 < max_depth
            if deeper and is_folder:
                pending.append((path + "/", entry.path, rules))


def copy_tree(source: Path, target: Path, known: Collection[str] = ()) -> None:
    """Copy the folder *source* into *target*, made if need be; all or nothing.

    *known* paths are copied even where `.gitignore` leaves them out. Permissions and
    times are kept. Sockets, pipes and devices are left out.

    Raises:
        WorkspaceError: something cannot be read or written; it is named.
    """
    root = os.fspath(source)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path, entry in walk(root, known=known):
            copy = os.path.join(target, path)
            if entry.is_symlink():
                os.symlink(link_target(root, entry.path), copy)
            elif entry.is_dir(follow_symlinks=False):
                os.mkdir(copy)
            elif entry.is_file(follow_symlinks=False):
                _copy_file(entry, copy)
    except OSError as error:
        remove_tree(target)
        where = f": {error.filename}" if error.filename else f" for {target}"
        raise WorkspaceError(
            f"cannot copy {source}: {error.strerror}{where}"
        ) from error
    except BaseException:
        remove_tree(target)
        raise


def take_snapshot(root: Path, known: Collection[str] = ()) -> dict[str, Entry]:
    """Describe all files and links below *root*."""
    return {
        path: read_entry(os.fspath(root), entry)
        for path, entry in walk(os.fspath(root), known=known)
        if entry.is_symlink() or entry.is_file(follow_symlinks=False)
    }


def read_entry(root: str, entry: os.DirEntry[str]) -> Entry:
    """Describe one file or link without holding its content in memory."""
    if entry.is_symlink():
        return Entry.of(LINK, os.fsencode(link_target(root, entry.path)))

    status = entry.stat(follow_symlinks=False)
    with open(entry.path, "rb", buffering=0) as file:
        digest = file_digest(file, sha256).digest()

    return Entry(file_mode(status.st_mode), status.st_size, digest)


def read_content(root: str, path: str) -> tuple[int, bytes] | None:
    """Return git's mode and the content of a file or link; `None`: it is neither."""
    full = os.path.join(root, path)
    try:
        status = os.lstat(full)
        if stat.S_ISLNK(status.st_mode):
            return LINK, os.fsencode(link_target(root, full))

        if not stat.S_ISREG(status.st_mode):
            return None

        return file_mode(status.st_mode), Path(full).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def file_mode(mode: int) -> int:
    """Return git's mode for a regular file with the permissions *mode*."""
    return EXECUTABLE if mode & 0o100 else FILE


def link_target(root: str, link: str) -> str:
    """Return where *link* points to, as it is to be written into a copy of *root*.

    An absolute link to within *root* becomes relative: in a copy it would lead back
    to the folder that the copy is there to protect.
    """
    target = os.readlink(link)
    if not os.path.isabs(target):
        return target

    inside = os.path.relpath(target, root)
    if inside == ".." or inside.startswith("../"):
        return target

    return os.path.relpath(target, os.path.dirname(link))


def remove_tree(root: Path) -> None:
    """Remove the folder *root*, folders without permissions in it too."""

    def unlock_and_retry(function: object, path: str, _problem: object) -> None:
        parent = Path(path).parent
        parent.chmod(0o700)
        if function is os.unlink:
            Path(path).unlink(missing_ok=True)
        elif Path(path).is_dir():
            Path(path).chmod(0o700)
            shutil.rmtree(path)

    if not root.exists():
        return

    try:
        shutil.rmtree(root, onerror=unlock_and_retry)
    except RecursionError:
        # A command has made folders in folders, a thousand deep.
        remove = shutil.which("rm", path=os.defpath) or "/bin/rm"
        command = (remove, "-rf", "--", root)
        subprocess.run(command, check=False)  # noqa: S603 - no shell; a path of ours


def _with_folders(paths: Collection[str]) -> set[str]:
    folders = {
        path[:place] for path in paths for place, sign in enumerate(path) if sign == "/"
    }
    return folders.union(paths)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _copy_file(entry: os.DirEntry[str], copy: str) -> None:
    status = entry.stat(follow_symlinks=False)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    source = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        target = os.open(copy, flags, status.st_mode & 0o777 | 0o200)
        try:
            _copy_content(source, target)
            os.fchmod(target, status.st_mode & 0o777)
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_content(source: int, target: int) -> None:
    # `copy_file_range` shares the blocks where the file system can (reflink). It is
    # missing on some systems and refuses some pairs of file systems: then read, write.
    try:
        while os.copy_file_range(source, target, 1 << 30):
            pass
    except (AttributeError, OSError):
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(target, 0, os.SEEK_SET)
        os.ftruncate(target, 0)
        while block := os.read(source, 1 << 20):
            written = 0
            while written < len(block):
                written += os.write(target, memoryview(block)[written:])
