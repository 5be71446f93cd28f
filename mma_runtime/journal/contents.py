"""How contents lie in a journal: packed when that is worth it, checked when read."""

import zlib

from mma_runtime.journal.packing import Packer
from mma_runtime.journal.record import digest_of

PLAIN = 0
DEFLATED = 1
PACKED = 2
"""The form of a content that `_PACKER` has packed; each form keeps its meaning."""

PACK_ABOVE = 32
"""Bytes from which on a content is packed; a shorter one gains next to nothing."""

# Turns, as `codec` writes them.
_PACKER = Packer(
    b'{"UserTurn":[{"tuple":[{"Text":["{"AssistantTurn":[{"tuple":[{"Reasoning":["'
    b'{"Text":["{"ToolCall":["call_0","run_command",{"map":[["command","python -m "]]},'
    b'"{\\"command\\":\\"\\"}"{"ToolCall":["call_1","write_file",{"map":[["path","src/"],'
    b'["content","def \\n    return \\n"]]},"{\\"path\\": \\"\\", \\"content\\": \\""'
    b'{"ToolCall":["call-2","read_file",{"map":[["path","]]},"{\\"path\\": \\""]}]}]}'
    b'{"ToolTurn":[{"tuple":[{"ToolResult":["call-1","read_file",{"tuple":[{"Text":["'
    b'"]}]},false]}]}]}'
)


def pack(content: bytes) -> tuple[int, bytes]:
    """Return how *content* is stored, and the bytes to store."""
    if len(content) > PACK_ABOVE:
        packed = _PACKER.pack(content)
        if len(packed) < len(content):
            return PACKED, packed

    return PLAIN, content


def unpack(form: int, stored: bytes, digest: bytes) -> bytes:
    """Return the content; raises `ValueError` when it is not what *digest* names."""
    content = _unpacked(form, stored)
    if digest_of(content) != digest:
        raise ValueError("a content was changed")

    return content


def _unpacked(form: int, stored: bytes) -> bytes:
    match form:
        case 0:
            return stored
        case 1:
            # What the first format of the journal wrote.
            try:
                return zlib.decompress(stored)
            except zlib.error as error:
                raise ValueError(f"it cannot be unpacked: {error}") from error
        case 2:
            return _PACKER.unpack(stored)
        case _:
            raise ValueError(f"it is stored in an unknown form, {form}")
