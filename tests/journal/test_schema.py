import gzip
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from mma_runtime.errors import JournalUnreadable
from mma_runtime.journal import Entry, JournalReader, JournalWriter, Past
from mma_runtime.journal.schema import MIGRATIONS, migrate
from mma_runtime.llm.chat import AssistantTurn

FIRST = Path(__file__).with_name("version_1.db.gz")
"""A run of two tickets of three tool rounds, as the first format recorded it."""

SECOND = FIRST.with_name("version_2.db.gz")
"""The shipped scenario `lint_and_tests`, as the second format recorded it."""


@pytest.fixture
def older(path: Path) -> Path:
    path.write_bytes(gzip.decompress(FIRST.read_bytes()))
    return path


def _kinds(path: Path) -> Counter[str]:
    with JournalReader(path) as reader:
        return Counter(record.kind for record in reader.records())


def test_a_journal_of_the_first_format_is_read_and_left_as_it_is(older: Path) -> None:
    before = older.read_bytes()

    with JournalReader(older) as reader:
        records = list(reader.records())
        assert (reader.run, reader.last(), len(records)) == (
            "20261122-191553-4f6ed0",
            79,
            79,
        )
        reply = records[18]
        assert (reply.kind, reply.call) == ("reply", "ticket/t0/1.1")
        assert reply.origin.ticket == "t0"
        assert reply.facts["usage"]["input"] == 10
        assert b"call-1" in reader.content(reply.contents["turn"])

    assert older.read_bytes() == before


async def test_a_journal_of_the_first_format_can_be_written_on(older: Path) -> None:
    kinds = _kinds(older)
    writer = await JournalWriter.open(older)
    assert (writer.last, writer.loss) == (79, None)
    await writer.append(Entry(kind="new"))
    await writer.aclose()

    assert _kinds(older) == kinds + Counter(["new"])
    again = await JournalWriter.open(older)
    assert (again.last, again.loss) == (80, None)
    await again.aclose()


def test_what_a_journal_of_the_first_format_holds_can_be_used_again(
    older: Path,
) -> None:
    past = Past.read(older)

    assert (past.ended, past.settled, past.unknown) == (
        "completed",
        {"t0", "t1"},
        0,
    )
    assert Counter(kind for kind, _ in past.done)["reply"] == 8
    assert (
        AssistantTurn.__name__.encode()
        in past.done["reply", "ticket/t1/1.2"].contents["turn"]
    )


async def test_a_journal_of_the_second_format_is_read_and_written_on(
    path: Path,
) -> None:
    path.write_bytes(gzip.decompress(SECOND.read_bytes()))
    with JournalReader(path) as reader:
        before = _contents(reader)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)

    writer = await JournalWriter.open(path)
    assert writer.loss is None
    recurs, new = before[-1], b"something new " * 20
    await writer.append(Entry(kind="new", contents={"new": new, "old": recurs}))
    await writer.aclose()

    with JournalReader(path) as reader:
        assert _contents(reader) == [*before, new, recurs]
    again = await JournalWriter.open(path)
    assert again.loss is None
    await again.aclose()


def _contents(reader: JournalReader) -> list[bytes]:
    return [
        reader.content(number)
        for record in reader.records()
        for number in record.contents.values()
    ]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE event SET facts = '{}' WHERE seq = 30", "record 30 was changed"),
        ("DELETE FROM event WHERE seq = 30", "record 30 was changed"),
        ("DELETE FROM content WHERE number = 4", "the content 4 is missing"),
    ],
)
async def test_a_damaged_journal_of_the_first_format_is_refused_and_kept(
    older: Path, damage: str, problem: str
) -> None:
    with closing(sqlite3.connect(older)) as db:
        db.execute(damage)
        db.commit()
        count = db.execute("SELECT count(*) FROM event").fetchone()

    with pytest.raises(JournalUnreadable, match=problem):
        await JournalWriter.open(older)
    with pytest.raises(JournalUnreadable, match=problem):
        JournalReader(older)

    with closing(sqlite3.connect(older)) as db:
        assert db.execute("SELECT count(*) FROM event").fetchone() == count


async def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    writer = await JournalWriter.open(path)
    await writer.aclose()

    def broken(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE more (x)")
        db.execute("not sql")

    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        with pytest.raises(sqlite3.OperationalError):
            migrate(db, path, (*MIGRATIONS, broken))
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        more = db.execute("SELECT name FROM sqlite_schema WHERE name = 'more'")
        assert more.fetchall() == []


async def test_an_older_journal_takes_only_the_steps_that_it_lacks(path: Path) -> None:
    writer = await JournalWriter.open(path)
    await writer.append(Entry(kind="old"))
    await writer.aclose()

    def more(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE more (x)")

    newer = (*MIGRATIONS, more)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, path, newer)
        migrate(db, path, newer)
        assert db.execute("SELECT last FROM batch").fetchall() == [(1,)]
        assert db.execute("PRAGMA user_version").fetchone() == (len(newer),)
