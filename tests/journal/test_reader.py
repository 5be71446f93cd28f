import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from mma_runtime.errors import JournalUnreadable
from mma_runtime.journal import Entry, JournalReader, JournalWriter
from mma_runtime.journal.lock import holder


def test_a_journal_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="no such file"):
        JournalReader(path)


async def test_a_journal_that_was_never_begun_is_empty_until_it_is(path: Path) -> None:
    path.touch()
    with JournalReader(path) as reader:
        assert (reader.run, reader.last(), list(reader.records())) == ("", 0, [])

        writer = await JournalWriter.open(path, run="r1")
        await writer.append(Entry(kind="one"))

        assert [record.origin.run for record in reader.records()] == ["r1"]
    await writer.aclose()


async def test_a_reader_sees_what_is_written_after_it_was_opened(path: Path) -> None:
    writer = await JournalWriter.open(path)
    with JournalReader(path) as reader:
        assert (reader.last(), list(reader.records())) == (0, [])

        await writer.append(Entry(kind="one"), Entry(kind="two"))

        assert reader.last() == 2
        assert [r.kind for r in reader.records(after=1)] == ["two"]
    await writer.aclose()


async def test_more_records_than_a_page_are_read(path: Path) -> None:
    writer = await JournalWriter.open(path)
    await writer.append(*(Entry(kind=f"k{number}") for number in range(2_345)))
    await writer.aclose()

    with JournalReader(path) as reader:
        assert [r.seq for r in reader.records()] == list(range(1, 2_346))


async def test_another_process_reads_while_this_one_writes(path: Path) -> None:
    writer = await JournalWriter.open(path)
    await writer.append(Entry(kind="one", contents={"text": b"hello " * 100}))
    code = (
        "import sys, pathlib\n"
        "from mma_runtime.journal import JournalReader\n"
        "with JournalReader(pathlib.Path(sys.argv[1])) as reader:\n"
        "    for record in reader.records():\n"
        "        print(record.kind, len(reader.content(record.contents['text'])))\n"
    )

    read = await anyio.run_process([sys.executable, "-c", code, str(path)])

    assert read.stdout == b"one 600\n"
    await writer.append(Entry(kind="two"))
    await writer.aclose()


async def test_a_changed_content_is_told_when_it_is_asked_for(path: Path) -> None:
    writer = await JournalWriter.open(path)
    await writer.append(Entry(kind="one", contents={"text": b"short"}))
    await writer.aclose()
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE content SET stored = ?", (b"shirt",))
        db.commit()

    with JournalReader(path) as reader:
        (record,) = reader.records()
        with pytest.raises(JournalUnreadable, match="a content was changed"):
            reader.content(record.contents["text"])
        with pytest.raises(JournalUnreadable, match="content 99 is missing"):
            reader.content(99)


async def test_who_writes_can_be_asked_without_disturbing_them(path: Path) -> None:
    assert holder(path) is None
    writer = await JournalWriter.open(path)
    assert "process" in (holder(path) or "")
    await writer.aclose()
    assert holder(path) is None


async def test_a_holder_without_a_name_is_another_process(path: Path) -> None:
    writer = await JournalWriter.open(path)
    path.with_name("journal.db.lock").write_text("{")

    assert holder(path) == "another process"
    await writer.aclose()
