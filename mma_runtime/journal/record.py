"""What a journal holds: entries as they are written, records as they are read back."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from mma_runtime.events import NOWHERE, Origin

DIGEST_BYTES = 20
"""The length of a content's name: its BLAKE2b digest."""


class Content(NamedTuple):
    """Bytes to be kept, free of secrets, and the digest that names them."""

    text: bytes
    digest: bytes


NO_FACTS: Mapping[str, Any] = {}
NO_CONTENTS: Mapping[str, bytes | Content] = {}


class Entry(NamedTuple):
    """Something to be written.

    *facts* are small plain values (what JSON has, and what `str` can word). *contents*
    are named bytes that may be large or recur; each is stored once in a journal. *time*
    is in seconds since the epoch, 0 is when it is handed in.

    A tuple: a tool round makes eight, and a frozen dataclass takes five times as long.
    """

    kind: str
    origin: Origin = NOWHERE
    call: str = ""
    facts: Mapping[str, Any] = NO_FACTS
    contents: Mapping[str, bytes | Content] = NO_CONTENTS
    time: float = 0.0


class Record(NamedTuple):
    """An entry as it stands in a journal.

    *seq* counts from 1 without gaps and is the order; *time* is the writer's wall clock
    in seconds since the epoch, which may jump. *contents* maps each name to the number
    under which a reader gets the bytes. A tuple, as entries are: there may be many.
    """

    seq: int
    time: float
    kind: str
    origin: Origin
    call: str
    facts: Mapping[str, Any]
    contents: Mapping[str, int]


def digest_of(content: bytes) -> bytes:
    """Name *content* by what it is."""
    return blake2b(content, digest_size=DIGEST_BYTES).digest()
