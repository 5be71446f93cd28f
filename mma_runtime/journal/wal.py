"""SQLite's write-ahead log, read just far enough to see what SQLite leaves out of it.

SQLite stops at the first frame that does not check, and says nothing. After a crash
that is right: what follows was never committed. After damage it is not, and here the
difference is told. See "WAL-mode File Format" in SQLite's documentation.
"""

import struct
from pathlib import Path

PAGE_BYTES = 4_096
"""The size of a journal's pages."""

_HEADER = 32
_FRAME = struct.Struct(">6I")
_FRAME_BYTES = _FRAME.size + PAGE_BYTES


def committed_frames(log: Path) -> int:
    """Count the frames up to the last commit in *log*, whether they check or not.

    Frames from before the log was begun anew do not count: they have another salt.
    """
    try:
        content = log.read_bytes()
    except OSError:
        return 0

    if len(content) < _HEADER + _FRAME_BYTES:
        return 0

    frames = [
        _FRAME.unpack_from(content, at)
        for at in range(_HEADER, len(content) - _FRAME_BYTES + 1, _FRAME_BYTES)
    ]
    # Both, since either may be what is damaged.
    salts = (struct.unpack_from(">2I", content, 16), frames[0][2:4])
    return max(
        number if commit and (one, two) in salts else 0
        for number, (_, commit, one, two, _, _) in enumerate(frames, 1)
    )
