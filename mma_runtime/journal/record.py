"""What a journal holds: entries as they are written, records as they are read back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from mma_runtime.events import NOWHERE, Origin

DIGEST_BYTES = 20
"""The length of a content's name: its BLAKE2b digest."""

MARK_BYTES = 8
"""The length of the check that each record carries over itself and all before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something to be written.

    *facts* are small plain values (what JSON has, and what `str` can word). *contents*
    are named bytes that may be large or recur; each is stored once in a journal.
    """

    kind: str
    origin: Origin = NOWHERE
    call: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    contents: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An entry as it stands in a journal.

    *seq* counts from 1 without gaps and is the order; *time* is the writer's wall clock
    in seconds since the epoch, which may jump. *contents* maps each name to the number
    under which a reader gets the bytes.
    """

    seq: int
    time: float
    kind: str
    origin: Origin
    call: str
    facts: Mapping[str, Any]
    contents: Mapping[str, int]


COLUMNS = "seq, time, kind, tier, track, ticket, attempt, task, call, facts, contents"
"""The columns of a record, in the order of `Row`."""

Row = tuple[int, float, str, str, str, str, int, str, str, str, str]


def to_record(row: Row, run: str) -> Record:
    """Build the record of *row*; raises `ValueError` for one that cannot be parsed."""
    seq, time, kind, tier, track, ticket, attempt, task, call, facts, contents = row
    return Record(
        seq=seq,
        time=time,
        kind=kind,
        origin=Origin(
            run=run,
            tier=tier,
            track=track,
            ticket=ticket,
            attempt=attempt,
            task=task,
        ),
        call=call,
        facts=json.loads(facts) if facts else {},
        contents=json.loads(contents) if contents else {},
    )


def digest_of(content: bytes) -> bytes:
    """Name *content* by what it is."""
    return blake2b(content, digest_size=DIGEST_BYTES).digest()


def mark_of(before: bytes, row: Row, digests: list[bytes]) -> bytes:
    """Check *row* and its contents, and by the mark *before* it all earlier ones."""
    text = "\x1f".join(map(str, row)).encode(errors="surrogatepass")
    return blake2b(
        text + b"".join(digests), digest_size=MARK_BYTES, key=before or b"\0"
    ).digest()
