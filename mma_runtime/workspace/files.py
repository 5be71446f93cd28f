"""The files below one folder, read, written and viewed, and the wall around them."""

import os
import stat
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from anyio import to_thread

from mma_runtime.errors import OutsideWorkspace, WorkspaceError
from mma_runtime.workspace.tree import walk
from mma_runtime.workspace.views import View, Views

VIEW_LIMIT = 5_000_000
"""The biggest file in bytes of which there are views."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEVELS = 100
_NAME = 255
_SHOWN = 60
_PROTECTED = ".git"


class Files:
    """What lies below *root*, which is free of links; nothing else can be reached.

    A path is resolved first, links and all. What is left is then opened part by part
    without following any link, so that none put there meanwhile leads out.
    """

    __slots__ = ("root", "views")

    def __init__(self, root: Path, views: Views) -> None:
        self.root: Path = root
        self.views: Views = views

    def resolve(self, path: str) -> Path:
        """Return the real place of *path*: links and `..` first, then the check.

        Absolute paths are allowed when they lie inside. The place need not exist.

        Raises:
            OutsideWorkspace: it lies outside the folder.
            WorkspaceError: it is longer or deeper than any sensible path.
        """
        if "\0" in path:
            raise OutsideWorkspace(path)

        parts = path.split("/")
        if len(parts) > _LEVELS or any(
            len(os.fsencode(part)) > _NAME for part in parts
        ):
            raise WorkspaceError(f"{path[:_SHOWN]!r}… is too long for a path")

        real = Path(os.path.realpath(self.root / path))

        if real != self.root and self.root not in real.parents:
            raise OutsideWorkspace(path)

        return real

    def relative(self, place: Path) -> str:
        """Return a resolved *place* as a POSIX path from the root, `.` for itself."""
        return place.relative_to(self.root).as_posix()

    def aliases(self, path: str) -> tuple[str, ...]:
        """Return *path* from the root, for rules: as it is named, and where it leads.

        They differ where there is a link on the way. What leads out is left as it is;
        nothing is raised for it.
        """
        try:
            real = self.relative(self.resolve(path))
        except (WorkspaceError, ValueError):
            return (path,)

        named = Path(os.path.normpath(self.root / path))
        if named != self.root and self.root not in named.parents:
            return (real,)

        return tuple(dict.fromkeys((self.relative(named), real)))

    def list_files(self, path: str) -> Iterator[str]:
        """Yield the regular files at or below *path*, as POSIX paths from the root.

        What `.gitignore` leaves out is not among them, unless it is *path* itself.
        Links are not followed. For worker threads: it stops when they are cancelled.

        Raises:
            OutsideWorkspace: the path leads out.
            WorkspaceError: it does not exist, or cannot be read.
        """
        place = self.resolve(path)
        inside = "" if place == self.root else self.relative(place) + "/"
        if place.is_file():
            yield self.relative(place)
            return

        if not place.is_dir():
            raise WorkspaceError(f"there is no file or folder {path!r}")

        try:
            for file, entry in walk(os.fspath(self.root), within=inside):
                if entry.is_file(follow_symlinks=False):
                    yield file
        except OSError as error:
            raise WorkspaceError(_problem(path, error)) from error

    def read_bytes(self, path: str, *, limit: int) -> bytes:
        """Read a regular file of at most *limit* bytes. Blocks: call it in a thread.

        Raises:
            OutsideWorkspace: the path leads out.
            WorkspaceError: missing, unreadable, no regular file, or too big.
        """
        place = self.resolve(path)
        if place == self.root:
            raise WorkspaceError(f"{path!r} is a folder, not a file")

        # Not blocking: opening a named pipe would else wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with self._folder(place.parent) as folder:
                descriptor = os.open(place.name, flags, dir_fd=folder)
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
            WorkspaceError: it cannot be written, is no regular file, or is git's own.
        """
        place = self.resolve(path)
        if place == self.root:
            raise WorkspaceError(f"{path!r} is not a regular file; it stays as it is")

        parts = place.relative_to(self.root).parts
        if any(part.casefold() == _PROTECTED for part in parts):
            raise WorkspaceError(f"{path!r} is git's own; it stays as it is")

        try:
            with self._folder(place.parent, make=True) as folder:
                return _replace(folder, place.name, content)
        except _NoFile as error:
            raise WorkspaceError(
                f"{path!r} is not a regular file; it stays as it is"
            ) from error
        except OSError as error:
            raise WorkspaceError(_problem(path, error)) from error

    async def skeleton(self, path: str) -> View:
        """Show what a file offers: classes, signatures, types, what each is for.

        Raises:
            OutsideWorkspace: the path leads out.
            WorkspaceError: it cannot be read, is binary, or beyond 5 MB.
        """
        return await to_thread.run_sync(self._skeleton, path, abandon_on_cancel=True)

    async def curated(self, path: str, named: Collection[str] = ()) -> View:
        """Show a file with bodies hidden, but for marked and *named* symbols.

        Raises as `skeleton` does.
        """
        return await to_thread.run_sync(
            self._curated, path, named, abandon_on_cancel=True
        )

    async def raw(self, place: str) -> View:
        """Show a file, or one symbol of it as `path:Class.method`, by numbered lines.

        Raises as `skeleton` does, and when there is no such symbol.
        """
        return await to_thread.run_sync(self._raw, place, abandon_on_cancel=True)

    def _skeleton(self, path: str) -> View:
        return self.views.skeleton(path, self.read_bytes(path, limit=VIEW_LIMIT))

    def _curated(self, path: str, named: Collection[str]) -> View:
        content = self.read_bytes(path, limit=VIEW_LIMIT)
        return self.views.curated(path, content, named=named)

    def _raw(self, place: str) -> View:
        path, _, symbol = place.rpartition(":")
        if not path or self.resolve(place).exists():
            path, symbol = place, ""

        content = self.read_bytes(path, limit=VIEW_LIMIT)
        return self.views.raw(path, content, symbol or None)

    @contextmanager
    def _folder(self, place: Path, *, make: bool = False) -> Generator[int]:
        """Open a folder part by part; none of them may be a link by now."""
        descriptor = os.open(self.root, _FOLDER)
        try:
            for part in place.relative_to(self.root).parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=descriptor)

                deeper = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = deeper

            yield descriptor
        finally:
            os.close(descriptor)


class _NoFile(Exception):
    """What is to be replaced is no regular file."""


def _replace(folder: int, name: str, content: bytes) -> bool:
    mode: int | None = None
    with suppress(FileNotFoundError):
        mode = os.lstat(name, dir_fd=folder).st_mode
        if not stat.S_ISREG(mode):
            raise _NoFile(name)

    temporary = f".mma-{token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if mode is not None:
                os.fchmod(file.fileno(), mode & 0o777)

        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise

    return mode is None


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
