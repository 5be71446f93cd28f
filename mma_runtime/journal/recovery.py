"""What of a damaged journal still holds: its longest valid beginning is kept."""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mma_runtime.errors import JournalUnavailable
from mma_runtime.journal.batch import Listed, contents_of, mark_of, unpack
from mma_runtime.journal.contents import Row, find_row, split
from mma_runtime.journal.contents import unpack as unpack_contents
from mma_runtime.journal.schema import SQLITE_ERRORS, migrate


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a damaged journal has lost.

    *kept* records are still there; *lost* is how many are not, `None` where nobody can
    tell. *damaged* is where the file was put aside, as it was.
    """

    kept: int
    lost: int | None
    problem: str
    damaged: Path

    def __str__(self) -> str:
        """Say it in a sentence."""
        lost = "an unknown number of" if self.lost is None else str(self.lost)
        return (
            f"the journal was damaged ({self.problem}): its first {self.kept} records"
            f" are kept, {lost} records after them are lost; the damaged file is kept"
            f" as {self.damaged}"
        )


@dataclass(slots=True)
class Examination:
    """How far a journal is valid.

    *records* of them hold together, up to the check *mark*; *total* is how many there
    seem to be. *problem* is empty for a sound journal. *numbers* maps the digests of
    sound contents to their numbers, which go from 1 to *contents*; *looked_up* are
    those by which their rows were found.
    """

    records: int = 0
    mark: bytes = b""
    total: int | None = None
    problem: str = ""
    numbers: dict[bytes, int] = field(default_factory=dict[bytes, int])
    contents: int = 0
    looked_up: list[int] = field(default_factory=list[int])


def examine(db: sqlite3.Connection) -> Examination:
    """Check every batch of records and its contents of an open journal, in order."""
    found = Examination(total=_highest(db, "last", "batch"))
    digests: dict[int, bytes] = {}
    try:
        for last, form, stored, mark in db.execute(
            "SELECT last, form, stored, mark FROM batch ORDER BY last"
        ):
            listed = unpack(form, stored)
            if last != found.records + len(listed):
                raise ValueError("it is missing")  # noqa: TRY301 - said below

            named = _digests(db, listed, digests, found.looked_up)
            if mark_of(found.mark, last, stored, named) != mark:
                raise ValueError("it was changed")  # noqa: TRY301 - said below

            found.mark, found.records = mark, last

        found.contents = max(digests, default=0)
        if _highest(db, "number", "content") not in (digests or (0,)):
            found.problem = f"record {found.records + 1}: only its contents are there"
    except (sqlite3.Error, ValueError, TypeError, AttributeError, LookupError) as error:
        found.problem = f"record {found.records + 1}: {error}"

    found.numbers = {digest: number for number, digest in digests.items()}
    return found


def _highest(db: sqlite3.Connection, column: str, table: str) -> int | None:
    """Return the highest number; `None` where that end of the table is damaged."""
    try:
        (number,) = db.execute(f"SELECT max({column}) FROM {table}").fetchone()  # noqa: S608 - constants
    except SQLITE_ERRORS:
        return None

    return number or 0


def _digests(
    db: sqlite3.Connection,
    listed: Sequence[Listed],
    known: dict[int, bytes],
    looked_up: list[int],
) -> list[bytes]:
    """Return the digests of what the records hold; each content is checked once."""
    named: list[bytes] = []
    for record in listed:
        for number in contents_of(record).values():
            if number not in known:
                first, digests, form, stored = _content_row(db, number)
                unpack_contents(form, stored, digests)
                row = dict(enumerate(split(digests), first))
                if not known.keys().isdisjoint(row):
                    raise ValueError("two of its contents have one number")

                known.update(row)
                looked_up.append(number)

            named.append(known[number])

    return named


def _content_row(db: sqlite3.Connection, number: int) -> Row:
    row = find_row(db, number)
    if row is None:
        raise ValueError("one of its contents is missing")

    return row


def salvage(db: sqlite3.Connection, path: Path, found: Examination) -> Loss:
    """Replace the journal at *path* by its valid beginning; keep the damaged one.

    *db* is open on it and is closed. May be interrupted at any moment:
    `finish_salvage` completes what was begun.

    Raises:
        JournalUnavailable: There is no room or right to write the new file.
    """
    part, ready = _part(path), _ready(path)
    try:
        for old in (part, ready):
            old.unlink(missing_ok=True)

        try:
            _copy_beginning(db, part, path, found)
        finally:
            db.close()

        damaged = _put_aside(path)
        _sync(part)
        part.rename(ready)
        finish_salvage(path)
    except (OSError, sqlite3.Error) as error:
        raise JournalUnavailable(str(path), str(error)) from error

    total = found.total
    lost = total - found.records if total and total > found.records else None
    return Loss(kept=found.records, lost=lost, problem=found.problem, damaged=damaged)


def finish_salvage(path: Path) -> None:
    """Put a completed salvage into its place; does nothing when there is none."""
    ready = _ready(path)
    if not ready.exists():
        return

    # The log first: SQLite would take its pages for the new file's.
    for companion in _companions(path):
        companion.unlink(missing_ok=True)

    ready.replace(path)
    _sync(path.parent)


def log_loss(
    db: sqlite3.Connection, path: Path, committed: int, found: Examination
) -> Loss | None:
    """Say what SQLite has left out of its log, which held *committed* frames.

    SQLite mends a damaged log without a word; the files are put aside before that.
    """
    if not committed:
        return None

    _, frames, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if frames >= committed:
        return None

    return Loss(
        kept=found.records,
        lost=None,
        problem=f"{committed - frames} pages of its write-ahead log",
        damaged=_put_aside(path),
    )


def _copy_beginning(
    db: sqlite3.Connection, part: Path, path: Path, found: Examination
) -> None:
    with closing(sqlite3.connect(part, isolation_level=None)) as new:
        new.execute("PRAGMA synchronous = FULL")
        migrate(new, path)
        new.execute("BEGIN IMMEDIATE")
        try:
            about = db.execute("SELECT name, value FROM about").fetchall()
        except SQLITE_ERRORS:
            about = []

        new.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", about)
        needed: set[int] = set()
        for row in _valid_batches(db, found.records):
            new.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", row)
            for record in unpack(row[1], row[2]):
                needed.update(contents_of(record).values())

        # Each row by the number that it was found by: by another of its numbers, a
        # damaged one may be found instead.
        for number in found.looked_up:
            if number in needed:
                held = _content_row(db, number)
                new.execute("INSERT INTO content VALUES (?, ?, ?, ?)", held)

        new.execute("COMMIT")


def _valid_batches(
    db: sqlite3.Connection, records: int
) -> Iterator[tuple[int, int, bytes, bytes]]:
    # In the order in which they were examined, and not by number: what follows the
    # valid ones may have got a number of theirs.
    for row in db.execute("SELECT last, form, stored, mark FROM batch ORDER BY last"):
        yield row
        if row[0] == records:
            return


def _put_aside(path: Path) -> Path:
    count = 1
    while (damaged := path.with_name(f"{path.name}.damaged-{count}")).exists():
        count += 1

    shutil.copyfile(path, damaged)
    log = path.with_name(path.name + "-wal")
    if log.exists():
        shutil.copyfile(log, damaged.with_name(damaged.name + "-wal"))

    return damaged


def _companions(path: Path) -> list[Path]:
    return [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".salvage-part")


def _ready(path: Path) -> Path:
    return path.with_name(path.name + ".salvage")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
