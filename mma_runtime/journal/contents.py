"""How contents lie in a journal: those of a commit together, checked when read.

A row of the table `content` holds one or several of them, with numbers that follow each
other: the first number, the digests one after the other, a form, and what is stored.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence

from mma_runtime.journal.packing import Deflater, Squeezer
from mma_runtime.journal.record import DIGEST_BYTES, Content, digest_of

PLAIN = 0
DEFLATED = 1
PACKED = 2
TOGETHER = 3
"""Contents that `_SQUEEZER` has packed as one; each form keeps its meaning."""

PACK_ABOVE = 32
"""Bytes from which on a content is packed; a shorter one gains next to nothing."""

ROW_BYTES = 250_000
"""Bytes from which on a row is full: who needs one content unpacks all of its row."""

Row = tuple[int, bytes, int, bytes]
"""The first number, the digests, the form, and what is stored."""

_ROW_OF = (
    "SELECT number, digest, form, stored FROM content"
    " WHERE number <= ? ORDER BY number DESC LIMIT 1"
)

# Turns, as `codec` writes them.
_USUAL = (
    b'{"UserTurn":[{"tuple":[{"Text":["{"AssistantTurn":[{"tuple":[{"Reasoning":["'
    b'{"Text":["{"ToolCall":["call_0","run_command",{"map":[["command","python -m "]]},'
    b'"{\\"command\\":\\"\\"}"{"ToolCall":["call_1","write_file",{"map":[["path","src/"],'
    b'["content","def \\n    return \\n"]]},"{\\"path\\": \\"\\", \\"content\\": \\""'
    b'{"ToolCall":["call-2","read_file",{"map":[["path","]]},"{\\"path\\": \\""]}]}]}'
    b'{"ToolTurn":[{"tuple":[{"ToolResult":["call-1","read_file",{"tuple":[{"Text":["'
    b'"]}]},false]}]}]}'
)
_DEFLATER = Deflater(_USUAL)
_SQUEEZER = Squeezer(_USUAL)


def rows_of(first: int, contents: Iterable[Content]) -> Iterator[Row]:
    """Yield the rows that hold *contents*, numbered from *first* on."""
    row: list[Content] = []
    size = 0
    for content in contents:
        row.append(content)
        size += len(content.text)
        if size >= ROW_BYTES:
            yield _row(first, row)
            first, row, size = first + len(row), [], 0

    if row:
        yield _row(first, row)


def find_row(db: sqlite3.Connection, number: int) -> Row | None:
    """Return the row in which the content with this *number* is."""
    row: Row | None = db.execute(_ROW_OF, (number,)).fetchone()
    # A damaged file may hold a row in a place that is not that of its number.
    if row is None or not 0 <= number - row[0] < len(row[1]) // DIGEST_BYTES:
        return None

    return row


def unpack(form: int, stored: bytes, digests: bytes) -> list[bytes]:
    """Return the contents of a row.

    Raises `ValueError` when they are not what *digests* name.
    """
    contents = _unpacked(form, stored)
    if b"".join(map(digest_of, contents)) != digests:
        raise ValueError("a content was changed")

    return contents


def split(digests: bytes) -> list[bytes]:
    """Return the digests of a row one by one."""
    return [
        digests[start : start + DIGEST_BYTES]
        for start in range(0, len(digests), DIGEST_BYTES)
    ]


def _row(first: int, row: Sequence[Content]) -> Row:
    digests = b"".join([content.digest for content in row])
    if len(row) == 1 and len(row[0].text) <= PACK_ABOVE:
        return first, digests, PLAIN, row[0].text

    sizes = b" ".join([b"%d" % len(content.text) for content in row])
    text = b"".join([content.text for content in row])
    stored = _SQUEEZER.pack(sizes + b"\n" + text)
    if len(row) == 1 and len(stored) >= len(text):
        return first, digests, PLAIN, text

    return first, digests, TOGETHER, stored


def _unpacked(form: int, stored: bytes) -> list[bytes]:
    match form:
        case 0:
            return [stored]
        case 1:
            # What the first format of the journal wrote.
            try:
                return [zlib.decompress(stored)]
            except zlib.error as error:
                raise ValueError(f"it cannot be unpacked: {error}") from error
        case 2:
            # What the second format wrote.
            return [_DEFLATER.unpack(stored)]
        case 3:
            return _parted(_SQUEEZER.unpack(stored))
        case _:
            raise ValueError(f"it is stored in an unknown form, {form}")


def _parted(text: bytes) -> list[bytes]:
    sizes, _, rest = text.partition(b"\n")
    contents: list[bytes] = []
    start = 0
    for size in map(int, sizes.split()):
        contents.append(rest[start : start + size])
        start += size

    return contents
