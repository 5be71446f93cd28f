"""Texts packed with a dictionary of what is usual in them: short ones shrink, too."""

import zlib

_LEVEL = 3
_BITS = -15
_MEMORY = 6


class Packer:
    """Deflates texts that are full of what is *usual*.

    *usual* is part of what is stored: another one needs another number for its form.
    """

    __slots__ = ("_usual",)

    def __init__(self, usual: bytes) -> None:
        self._usual = usual

    def pack(self, text: bytes) -> bytes:
        """Return the bytes to store."""
        squeeze = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, _BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY, self._usual
        )
        return squeeze.compress(text) + squeeze.flush()

    def unpack(self, stored: bytes) -> bytes:
        """Return the text; raises `ValueError` when there is none in *stored*."""
        try:
            return zlib.decompressobj(_BITS, self._usual).decompress(stored)
        except zlib.error as error:
            raise ValueError(f"it cannot be unpacked: {error}") from error
