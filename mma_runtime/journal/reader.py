"""Reading a journal, also while another process writes it."""

import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from mma_runtime.errors import JournalUnreadable
from mma_runtime.events import Origin
from mma_runtime.journal.batch import Listed, listed_in, records_of, text_of
from mma_runtime.journal.contents import find_row
from mma_runtime.journal.contents import unpack as unpack_contents
from mma_runtime.journal.record import Record
from mma_runtime.journal.schema import MIGRATIONS, SQLITE_ERRORS, migrate, version_of
from mma_runtime.journal.scrub import Scrubber, has_secrets, hide, in_texts

PAGE = 200
"""Batches per transaction. A reader that stays in one makes the writer's log grow."""


class JournalReader:
    """Reads the journal at *path*; blocks, so an event loop calls it in a thread.

    With *scrub* the secrets that it knows are put back; without it nothing tells them.
    Sees what is durable at each call, not what it was when it was opened. A journal
    that has only just been begun is empty; one of an older format is read from a copy.
    Use it as a context manager, from one thread at a time.

    Raises:
        JournalUnreadable: There is no journal, or it is something else.
        JournalTooNew: A newer version wrote it.
    """

    def __init__(self, path: Path, scrub: Scrubber | None = None) -> None:
        self.path = path
        self._tell = scrub.put_back if scrub is not None else hide
        self._copy: TemporaryDirectory[str] | None = None
        # Few origins in many records: each is made once.
        self._origin = cache(self._place)
        if not path.is_file():
            raise JournalUnreadable(str(path), "there is no such file")

        self._db = self._open()
        self.run: str = ""
        self._begun = False
        self._first = 0
        self._contents: list[bytes] = []
        try:
            self._has_begun()
        except SQLITE_ERRORS as error:
            self.close()
            raise JournalUnreadable(str(path), str(error)) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._db.close()
        if self._copy is not None:
            self._copy.cleanup()

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield the records behind number *after*, up to the last that there is.

        Raises `JournalUnreadable` at the first that cannot be read.
        """
        last = after
        while page := self._page(last):
            for batch in page:
                records = self._records_of(*batch)
                if records[0].seq > last + 1 or batch[0] <= last:
                    raise self._damaged(ValueError(f"record {last + 1} is missing"))

                for record in records:
                    if record.seq > after:
                        yield record

                last = batch[0]

    def last(self) -> int:
        """Return the number of the last record, 0 for an empty journal."""
        try:
            if not self._has_begun():
                return 0

            (last,) = self._db.execute("SELECT max(last) FROM batch").fetchone()
        except SQLITE_ERRORS as error:
            raise self._damaged(error) from error

        return last or 0

    def content(self, number: int) -> bytes:
        """Return the content with this *number*.

        Raises `JournalUnreadable`, also for a secret in it that is to be put back and
        is not known.
        """
        place = number - self._first
        if not 0 <= place < len(self._contents):
            self._read_row_of(number)
            place = number - self._first

        try:
            return self._tell(self._contents[place])
        except KeyError as error:
            raise self._kept_out(error) from error

    def _read_row_of(self, number: int) -> None:
        try:
            row = find_row(self._db, number)
            found = unpack_contents(row[2], row[3], row[1]) if row else []
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise JournalUnreadable(
                str(self.path), f"content {number}: {error}"
            ) from error

        if row is None:
            raise JournalUnreadable(str(self.path), f"content {number} is missing")

        # Who reads one usually reads those beside it next.
        self._first, self._contents = row[0], found

    def _has_begun(self) -> bool:
        if self._begun:
            return True

        version = version_of(self._db, self.path, len(MIGRATIONS))
        if 0 < version < len(MIGRATIONS):
            self._db.close()
            self._db = sqlite3.connect(self._copied(), isolation_level=None)
            migrate(self._db, self.path)

        self._begun = version > 0
        if self._begun:
            self.run = self._about("run")

        return self._begun

    def _page(self, after: int) -> list[tuple[int, int, bytes]]:
        try:
            if not self._has_begun():
                return []

            return self._db.execute(
                "SELECT last, form, stored FROM batch WHERE last > ?"
                " ORDER BY last LIMIT ?",
                (after, PAGE),
            ).fetchall()
        except SQLITE_ERRORS as error:
            raise self._damaged(error) from error

    def _records_of(self, last: int, form: int, stored: bytes) -> list[Record]:
        try:
            text = text_of(form, stored)
            listed = listed_in(text)
            if has_secrets(text):
                listed = [self._told(one) for one in listed]

            return records_of(last, listed, self._origin)
        except KeyError as error:
            raise self._kept_out(error) from error
        except (ValueError, TypeError, IndexError) as error:
            raise self._damaged(error) from error

    def _told(self, one: Listed) -> Listed:
        return [*one[:8], in_texts(one[8], self._tell), *one[9:]]

    def _kept_out(self, error: KeyError) -> JournalUnreadable:
        (name,) = error.args
        return JournalUnreadable(
            str(self.path),
            f"it needs the value that {name} had, which was kept out of it; set {name}"
            " to what it was",
        )

    def _place(
        self, tier: str, track: str, ticket: str, attempt: int, task: str
    ) -> Origin:
        return Origin(
            run=self.run,
            tier=tier,
            track=track,
            ticket=ticket,
            attempt=attempt,
            task=task,
        )

    def _about(self, name: str) -> str:
        row = self._db.execute(
            "SELECT value FROM about WHERE name = ?", (name,)
        ).fetchone()
        return row[0] if row else ""

    def _damaged(self, error: Exception) -> JournalUnreadable:
        return JournalUnreadable(
            str(self.path), f"{error}; `mma resume` keeps what still holds"
        )

    def _open(self) -> sqlite3.Connection:
        db = _connect(self.path)
        try:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            # A folder that cannot be written: SQLite then cannot take part in the log.
            db.close()
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            # A file that was cut off is refused as a whole, unless one says this. To
            # one that is no database it means nothing.
            db.execute("PRAGMA writable_schema = ON")
            return db
        else:
            return db

        return _connect(self._copied())

    def _copied(self) -> Path:
        self._copy = TemporaryDirectory(prefix="mma-journal-")
        place = Path(self._copy.name) / self.path.name
        try:
            for end in ("", "-wal"):
                source = self.path.with_name(self.path.name + end)
                if source.exists():
                    target = place.with_name(place.name + end)
                    target.write_bytes(source.read_bytes())
        except OSError as error:
            self._copy.cleanup()
            raise JournalUnreadable(str(self.path), str(error)) from error

        return place


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
