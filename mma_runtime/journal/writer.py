"""The one writer of a journal: what waits together is committed together."""

import json
import sqlite3
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Self

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread

from mma_runtime.errors import JournalUnavailable, JournalUnreadable
from mma_runtime.journal.batch import Listed, in_json, mark_of, pack
from mma_runtime.journal.contents import rows_of
from mma_runtime.journal.lock import WriterLock
from mma_runtime.journal.record import Content, Entry
from mma_runtime.journal.recovery import (
    Examination,
    Loss,
    examine,
    finish_salvage,
    log_loss,
    salvage,
)
from mma_runtime.journal.schema import SQLITE_ERRORS, migrate
from mma_runtime.journal.scrub import NO_SECRETS, Scrubber, in_texts
from mma_runtime.journal.wal import LOG_PAGES, PAGE_BYTES, committed_frames, lay_out

_INSERT_BATCH = "INSERT INTO batch VALUES (?, ?, ?, ?)"
_INSERT_CONTENT = "INSERT INTO content VALUES (?, ?, ?, ?)"
_NO_CONTENTS: tuple[Sequence[bytes], Sequence[Content]] = ((), ())
# SQLITE_ERROR: the tables are not those of the version that the file says it has.
_UNREADABLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

_Handed = tuple[bytes, Sequence[bytes], Sequence[Content]]
"""A record in JSON, the digests of its contents, and the new ones of them."""


class JournalWriter:
    """Appends to the journal at one path; get it from `JournalWriter.open`.

    *loss* says what was lost when the file was found damaged. There is no thread and no
    task of its own: who waits for a commit takes along what others have handed in, in
    a worker thread, and those who come meanwhile are the next commit.
    """

    def __init__(self, path: Path, opened: "Opened", scrub: Scrubber) -> None:
        self.path = path
        self.loss: Loss | None = opened.loss
        self._db = opened.db
        self._lock = opened.lock
        self._scrub = scrub
        found = opened.found
        self._last = found.records
        self._mark = found.mark
        self._numbers = found.numbers
        # Contents: how many are numbered, and how many of these are stored.
        self._count = self._stored = found.contents
        # Filled by the event loop, emptied by whichever thread commits.
        self._waiting = deque[_Handed]()
        self._handed_in = 0
        self._durable = 0
        self._committing = False
        self._closed = False
        self._news = anyio.Event()
        # Of its own: tools that keep all other threads busy do not hold it up.
        self._threads = CapacityLimiter(1)
        self._one_thread = Lock()
        self._failure: JournalUnavailable | None = None

    @classmethod
    async def open(
        cls, path: Path, *, run: str = "", scrub: Scrubber = NO_SECRETS
    ) -> Self:
        """Open the journal at *path*, or begin it for *run*, for writing.

        Checks all of it; what is damaged is cut off and put aside (`loss`).

        Raises:
            JournalInUse: Another writer has it.
            JournalTooNew: A newer version wrote it.
            JournalUnreadable: It is no journal, or nothing of it can be read.
            JournalUnavailable: It cannot be written.
        """
        return cls(path, await to_thread.run_sync(open_file, path, run), scrub)

    @property
    def last(self) -> int:
        """The number of the last record that is durable."""
        return self._last

    def note(self, entry: Entry) -> None:
        """Hand in *entry* without waiting; it is durable with the next `append`."""
        kind, origin, call, facts, contents, moment = entry
        listed: Listed = [
            moment or time.time(),
            kind,
            origin.tier,
            origin.track,
            origin.ticket,
            origin.attempt,
            origin.task,
            call,
            facts,
        ]
        digests, new = _NO_CONTENTS
        if contents:
            digests, new = self._numbered(contents, listed)

        # As bytes, which the garbage collector need not go through again and again.
        self._waiting.append((in_json(listed), digests, new))
        self._handed_in += 1

    async def append(self, *entries: Entry) -> None:
        """Write *entries*; they are durable when this returns.

        So is all that was handed in before. When it is cancelled they may have been
        written or not, but nothing of them is left half written.

        Raises:
            JournalUnavailable: They could not be written; nor can anything after them.
        """
        for entry in entries:
            self.note(entry)

        wanted = self._handed_in
        while self._durable < wanted:
            if self._failure is not None:
                raise self._failure

            if self._committing:
                await self._news.wait()
            else:
                await self._commit()

    async def flush(self) -> None:
        """Make durable all that was handed in; raises what `append` raises."""
        await self.append()

    async def aclose(self) -> None:
        """Write what is waiting, and let others write. Safe to call twice.

        Raises what `append` raises, but closes all the same.
        """
        with CancelScope(shield=True):
            try:
                if self._failure is None:
                    await self.append()
            finally:
                await to_thread.run_sync(self._close)

    async def _commit(self) -> None:
        self._committing = True
        try:
            # Others wait for this commit as well: it is not one task's to cancel.
            with CancelScope(shield=True):
                await to_thread.run_sync(self._write, limiter=self._threads)
        finally:
            self._committing = False
            news, self._news = self._news, anyio.Event()
            news.set()

    def _write(self) -> None:
        # The lock matters when the host's loop has torn a task out of its wait: the
        # thread it began is then still writing.
        with self._one_thread:
            batch: list[_Handed] = []
            while self._waiting:
                batch.append(self._waiting.popleft())

            if not batch or self._failure is not None:
                return

            try:
                self._insert(batch)
            except Exception as error:  # noqa: BLE001 - all who wait have to be told
                self._failure = JournalUnavailable(str(self.path), str(error))
                self._failure.__cause__ = error
            else:
                self._durable += len(batch)

    def _insert(self, batch: Sequence[_Handed]) -> None:
        last = self._last + len(batch)
        form, stored = pack(self._text(batch))
        digests = [digest for _, named, _ in batch for digest in named]
        mark = mark_of(self._mark, last, stored, digests)
        new = [content for *_, contents in batch for content in contents]
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(_INSERT_CONTENT, rows_of(self._stored + 1, new))
            db.execute(_INSERT_BATCH, (last, form, stored, mark))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")

            raise

        self._last, self._mark = last, mark
        self._stored += len(new)

    def _numbered(
        self, contents: Mapping[str, bytes | Content], listed: Listed
    ) -> tuple[Sequence[bytes], Sequence[Content]]:
        """List the numbers of *contents*; return their digests, and the new ones."""
        numbers: dict[str, int] = {}
        digests: list[bytes] = []
        new: list[Content] = []
        for name, given in contents.items():
            content = given if isinstance(given, Content) else self._scrub.seal(given)
            digest = content.digest
            number = self._numbers.get(digest)
            if number is None:
                self._count += 1
                number = self._numbers[digest] = self._count
                new.append(content)

            numbers[name] = number
            digests.append(digest)

        listed.append(numbers)
        return digests, new

    def _text(self, batch: Sequence[_Handed]) -> bytes:
        text = b"[" + b",".join([text for text, *_ in batch]) + b"]"
        if not self._scrub.finds(text):
            return text

        # Only in the facts: the names of the format stay, whatever is secret.
        change = self._scrub.take_out
        return in_json(
            [[*one[:8], in_texts(one[8], change), *one[9:]] for one in json.loads(text)]
        )

    def _close(self) -> None:
        with self._one_thread:
            if self._closed:
                return

            self._closed = True
            try:
                self._db.close()
            finally:
                self._lock.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A journal's file, open, locked and checked."""

    db: sqlite3.Connection
    lock: WriterLock
    found: Examination
    loss: Loss | None


def open_file(path: Path, run: str = "") -> Opened:
    """Do the work of `JournalWriter.open`, and raise what it raises; blocks."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JournalUnavailable(str(path), str(error.strerror)) from error

    lock = WriterLock(path)
    try:
        return _open_locked(path, lock, run)
    except SQLITE_ERRORS as error:
        lock.release()
        raise _worded(path, error) from error
    except OSError as error:
        lock.release()
        raise JournalUnavailable(str(path), str(error)) from error
    except BaseException:
        lock.release()
        raise


def _open_locked(path: Path, lock: WriterLock, run: str) -> Opened:
    finish_salvage(path)
    committed = committed_frames(path)
    db, found = _examined(path)
    loss = None
    try:
        if found.problem:
            if not found.records:
                raise JournalUnreadable(str(path), found.problem)  # noqa: TRY301 - the file is closed on the way

            loss = salvage(db, path, found)
            db, found = _examined(path)
        else:
            loss = log_loss(db, path, committed, found)

        if run:
            db.execute("INSERT OR IGNORE INTO about VALUES ('run', ?)", (run,))

        (page,) = db.execute("PRAGMA page_size").fetchone()
        lay_out(path, page)
    except BaseException:
        db.close()
        raise

    return Opened(db=db, lock=lock, found=found, loss=loss)


def _examined(path: Path) -> tuple[sqlite3.Connection, Examination]:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    problem = ""
    try:
        try:
            db.execute("PRAGMA cell_size_check = ON")
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            db.execute("PRAGMA journal_mode = WAL")
            # What is acknowledged outlives a loss of power, too; NORMAL lost it.
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
            migrate(db, path)
        except SQLITE_ERRORS as error:
            if _code(error) != sqlite3.SQLITE_CORRUPT:
                raise

            # A file that was cut off is refused as a whole, unless one says this.
            db.execute("PRAGMA writable_schema = ON")
            problem = str(error)

        found = examine(db)
    except BaseException:
        db.close()
        raise

    found.problem = found.problem or problem
    return db, found


def _worded(
    path: Path, error: sqlite3.Error | UnicodeDecodeError
) -> JournalUnavailable | JournalUnreadable:
    if _code(error) in _UNREADABLE:
        return JournalUnreadable(str(path), str(error))

    return JournalUnavailable(str(path), str(error))


def _code(error: sqlite3.Error | UnicodeDecodeError) -> int:
    """Return SQLite's primary code of an error; 0 where it has none."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT

    return getattr(error, "sqlite_errorcode", 0) & 0xFF
