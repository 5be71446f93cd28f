"""The tables of a journal, their versions, and the way from an older to a newer one."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from mma_runtime.errors import JournalTooNew, JournalUnreadable

APPLICATION_ID = 0x6D6D616A
"""What tells a journal from other SQLite files: "mmaj"."""

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        # `mark` checks the row and all before it; see `record.mark_of`.
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
        )""",
        # Without an index on the digest: the one writer knows them all by heart, and
        # readers come with the number.
        """CREATE TABLE content (
            number INTEGER PRIMARY KEY,
            digest BLOB NOT NULL,
            form INTEGER NOT NULL,
            stored BLOB NOT NULL
        )""",
    ),
)
"""The statements that lead from each version to the next; the first begin at nothing.

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
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
) -> None:
    """Bring an open journal to the newest version, in one transaction.

    Raises what `version_of` raises.
    """
    version = version_of(db, path, len(migrations))
    if version == len(migrations):
        return

    db.execute("BEGIN IMMEDIATE")
    try:
        for statements in migrations[version:]:
            for statement in statements:
                db.execute(statement)

        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(migrations)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")

        raise
