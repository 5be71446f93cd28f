"""How contents lie in a journal: packed when that is worth it, checked when read."""

import zlib

from mma_runtime.journal.record import digest_of

PLAIN = 0
DEFLATED = 1

PACK_ABOVE = 256
"""Bytes from which on a content is compressed; a shorter one gains next to nothing."""

_LEVEL = 1


def pack(content: bytes) -> tuple[int, bytes]:
    """Return how *content* is stored, and the bytes to store."""
    if len(content) > PACK_ABOVE:
        packed = zlib.compress(content, _LEVEL)
        if len(packed) < len(content):
            return DEFLATED, packed

    return PLAIN, content


def unpack(form: int, stored: bytes, digest: bytes) -> bytes:
    """Return the content; raises `ValueError` when it is not what *digest* names."""
    try:
        content = zlib.decompress(stored) if form == DEFLATED else stored
    except zlib.error as error:
        raise ValueError(f"a content cannot be unpacked: {error}") from error

    if digest_of(content) != digest:
        raise ValueError("a content was changed")

    return content
