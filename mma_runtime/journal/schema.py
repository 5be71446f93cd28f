"""The tables of a journal, their versions, and the way from an older to a newer one."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from mma_runtime.errors import JournalTooNew, JournalUnreadable
from mma_runtime.journal.rows import gather

APPLICATION_ID = 0x6D6D616A
"""What tells a journal from other SQLite files: "mmaj"."""

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What a file that SQLite cannot read raises.

Its messages quote what is damaged, and Python then fails to decode them.
"""

Step = Callable[[sqlite3.Connection], None]
"""Brings an open journal from one version to the next; raises `ValueError`."""


def _begin(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
    )
    # A row for each record.
    db.execute(
        """CREATE TABLE event (
            seq INTEGER PRIMARY KEY,
            time REAL NOT NULL,
            kind TEXT NOT NULL,
            tier TEXT NOT NULL,
            track TEXT NOT NULL,
            ticket TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            task TEXT NOT NULL,
            call TEXT NOT NULL,
            facts TEXT NOT NULL,
            contents TEXT NOT NULL,
            mark BLOB NOT NULL
        )"""
    )
    # Without an index on the digest: the one writer knows them all by heart, and
    # readers come with the number.
    db.execute(
        """CREATE TABLE content (
            number INTEGER PRIMARY KEY,
            digest BLOB NOT NULL,
            form INTEGER NOT NULL,
            stored BLOB NOT NULL
        )"""
    )


def _batches(db: sqlite3.Connection) -> None:
    # A row for each commit: `last` is the number of the last record in it. `mark`
    # checks the row, its contents and all before it; see `batch.mark_of`.
    db.execute(
        """CREATE TABLE batch (
            last INTEGER PRIMARY KEY,
            form INTEGER NOT NULL,
            stored BLOB NOT NULL,
            mark BLOB NOT NULL
        )"""
    )
    gather(db)
    db.execute("DROP TABLE event")


def _together(_db: sqlite3.Connection) -> None:
    # From here on a row may hold several contents; what there is stays as it is.
    pass


MIGRATIONS: Sequence[Step] = (_begin, _batches, _together)
"""What leads from each version to the next; the first begins at nothing.

A journal's version is how many of these it has seen. Only ever append.
"""


def version_of(db: sqlite3.Connection, path: Path, known: int) -> int:
    """Return the version of an open journal; 0 is an empty file.

    Raises:
        JournalTooNew: The version is above *known*.
        JournalUnreadable: It is some other SQLite file.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise JournalUnreadable(str(path), "it is a database, but not a journal")

    if version > known:
        raise JournalTooNew(str(path), version, known)

    return int(version)


def migrate(
    db: sqlite3.Connection,
    path: Path,
    migrations: Sequence[Step] = MIGRATIONS,
) -> None:
    """Bring an open journal to the newest version, in one transaction.

    Raises what `version_of` raises, and `JournalUnreadable` for an older journal that
    is damaged: that one is left as it is.
    """
    version = version_of(db, path, len(migrations))
    if version == len(migrations):
        return

    db.execute("BEGIN IMMEDIATE")
    try:
        for step in migrations[version:]:
            step(db)

        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(migrations)}")
        db.execute("COMMIT")
    except BaseException as error:
        if db.in_transaction:
            db.execute("ROLLBACK")

        if isinstance(error, ValueError):
            raise JournalUnreadable(
                str(path), f"it is of format {version} and damaged: {error}"
            ) from error

        raise
