"""The first format, a row for each record: read to be gathered into batches."""

import json
import sqlite3
from hashlib import blake2b
from typing import Any

from mma_runtime.journal.batch import Listed, in_json, mark_of, pack

_COLUMNS = "seq, time, kind, tier, track, ticket, attempt, task, call, facts, contents"
_TOGETHER = 50
_MARK_BYTES = 8


def gather(db: sqlite3.Connection) -> None:
    """Write the records of the table `event` into the table `batch`.

    Raises `ValueError` at the first that does not hold.
    """
    digests = dict(db.execute("SELECT number, digest FROM content"))
    rows = db.execute(f"SELECT {_COLUMNS}, mark FROM event ORDER BY seq")  # noqa: S608 - a constant
    before = mark = b""
    last = 0
    while page := rows.fetchmany(_TOGETHER):
        listed: list[Listed] = []
        named: list[bytes] = []
        for *row, expected in page:
            one, found = _listed(row, digests)
            before = _row_mark(before, row, found)
            if before != expected or row[0] != last + 1:
                raise ValueError(f"record {last + 1} was changed")

            last += 1
            listed.append(one)
            named += found

        form, stored = pack(in_json(listed))
        mark = mark_of(mark, last, stored, named)
        db.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", (last, form, stored, mark))


def _listed(row: list[Any], digests: dict[int, bytes]) -> tuple[Listed, list[bytes]]:
    *place, facts, contents = row[1:]
    one: Listed = [*place, json.loads(facts) if facts else {}]
    if not contents:
        return one, []

    numbers: dict[str, int] = json.loads(contents)
    try:
        return [*one, numbers], [digests[number] for number in numbers.values()]
    except KeyError as missing:
        raise ValueError(f"the content {missing} is missing") from missing


def _row_mark(before: bytes, row: list[Any], digests: list[bytes]) -> bytes:
    text = "\x1f".join(map(str, row)).encode(errors="surrogatepass")
    return blake2b(
        text + b"".join(digests), digest_size=_MARK_BYTES, key=before or b"\0"
    ).digest()
