import random
import shutil
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from errno import ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mma_runtime.errors import JournalTooNew, JournalUnavailable, JournalUnreadable
from mma_runtime.journal import Entry, JournalReader, JournalWriter, Loss
from mma_runtime.journal.batch import pack
from mma_runtime.journal.recovery import finish_salvage
from mma_runtime.journal.schema import MIGRATIONS
from mma_runtime.journal.wal import PAGE_BYTES
from mma_runtime.journal.writer import open_file
from tests.journal.conftest import used

Said = Sequence[tuple[str, Mapping[str, object]]]
MEMORY = Path("/dev/shm")  # noqa: S108 - only if it is there


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder in memory where there is one: thousands of journals are made."""
    where = MEMORY if MEMORY.is_dir() else None
    with TemporaryDirectory(dir=where) as folder:
        yield Path(folder)


@pytest.fixture
def noise() -> list[Entry]:
    """Return few entries that make a large file, since they cannot be compressed."""
    draw = random.Random(1)  # noqa: S311 - a test's noise
    return [
        Entry(kind="k", call=f"{number}", contents={"it": draw.randbytes(2_500)})
        for number in range(40)
    ]


async def _write(path: Path, entries: list[Entry]) -> JournalWriter:
    writer = await JournalWriter.open(path, run="r1")
    for number in range(0, len(entries), 4):
        await writer.append(*entries[number : number + 4])
    return writer


def _recover(path: Path) -> tuple[Said, Loss | None]:
    """Open for writing, close, and return what is left and what was lost."""
    opened = open_file(path)
    opened.db.close()
    opened.lock.release()
    with JournalReader(path) as reader:
        left = [
            (r.call, {name: reader.content(n) for name, n in r.contents.items()})
            for r in reader.records()
        ]
    return left, opened.loss


def _said(entries: list[Entry]) -> Said:
    return [(entry.call, dict(entry.contents)) for entry in entries]


def _check(path: Path, whole: Said) -> tuple[int, bool]:
    """Recover a damaged journal and hold it against what had been written."""
    try:
        left, loss = _recover(path)
    except (JournalUnreadable, JournalTooNew):
        return 0, True

    assert left == whole[: len(left)]
    if len(left) < len(whole) and loss is not None:
        assert loss.kept == len(left)
        assert loss.damaged.exists()
        assert "are kept" in str(loss)
        assert _recover(path) == (left, None)
    return len(left), loss is not None


def _copies(place: Path, source: Path, count: int) -> Iterator[Path]:
    for number in range(count):
        folder = place / f"{number}"
        folder.mkdir()
        for end in ("", "-wal"):
            whole = source.with_name(source.name + end)
            if whole.exists():
                shutil.copyfile(whole, folder / ("journal.db" + end))
        yield folder / "journal.db"
        shutil.rmtree(folder)


def _cuts(size: int) -> list[int]:
    """Return every page's end, and every 64 bytes of the last 64 kB."""
    return sorted(
        {*range(0, size, PAGE_BYTES), *range(max(0, size - 65_536), size, 64)}
    )


def _numbering(content: bytes) -> list[tuple[int, int]]:
    """Return the bits of SQLite's table leaves that hold each row's size and number.

    A leaf is a page that begins with 13, then, from its byte 3, the count of rows, and
    from byte 8 where in the page each of them is: https://sqlite.org/fileformat2.html
    """
    bits: list[tuple[int, int]] = []
    for page in range(PAGE_BYTES, len(content), PAGE_BYTES):
        if content[page] == 13:
            (rows,) = struct.unpack_from(">H", content, page + 3)
            for begin in struct.unpack_from(f">{rows}H", content, page + 8):
                bits += [
                    (page + begin + byte, 1 << bit)
                    for byte in range(4)
                    for bit in range(8)
                ]

    return bits


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_journal_cut_off_anywhere_keeps_its_longest_beginning(
    place: Path, noise: list[Entry]
) -> None:
    path = place / "journal.db"
    writer = await _write(path, noise)
    await writer.aclose()
    whole = _said(noise)
    size = path.stat().st_size
    cuts = _cuts(size)

    kept: list[int] = []
    for cut, copy in zip(cuts, _copies(place, path, len(cuts)), strict=True):
        with copy.open("r+b") as file:
            file.truncate(cut)
        count, told = _check(copy, whole)
        # A file cut to nothing is a new journal.
        assert told or count == len(whole) or cut == 0
        kept.append(count)

    assert kept == sorted(kept)
    assert 0 < kept[len(kept) // 2] < len(whole)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_log_cut_off_anywhere_keeps_its_longest_beginning(
    place: Path, noise: list[Entry]
) -> None:
    path = place / "journal.db"
    writer = await _write(path, noise)
    whole = _said(noise)
    log = path.with_name("journal.db-wal")
    cuts = _cuts(used(log.read_bytes()))

    kept: list[int] = []
    for cut, copy in zip(cuts, _copies(place, path, len(cuts)), strict=True):
        with copy.with_name("journal.db-wal").open("r+b") as file:
            file.truncate(cut)
        kept.append(_check(copy, whole)[0])

    await writer.aclose()
    assert kept == sorted(kept)
    # The writes of four records each: no cut leaves a part of one.
    assert {count % 4 for count in kept} == {0}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_flipped_bytes_never_change_what_is_read(
    place: Path, entries: list[Entry]
) -> None:
    path = place / "journal.db"
    writer = await _write(path, entries)
    await writer.aclose()
    whole = _said(entries)
    draw = random.Random(3)  # noqa: S311 - a test\'s noise
    size = path.stat().st_size
    counts: list[int] = []

    for copy in _copies(place, path, 300):
        content = bytearray(copy.read_bytes())
        for _ in range(draw.choice((1, 1, 1, 8))):
            content[draw.randrange(size)] ^= 1 << draw.randrange(8)
        copy.write_bytes(content)
        count, told = _check(copy, whole)
        assert told or count == len(whole)
        counts.append(count)

    assert sum(counts) > 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_flipped_bits_where_rows_are_numbered_never_change_what_is_read(
    place: Path, entries: list[Entry]
) -> None:
    path = place / "journal.db"
    whole = _said(entries[:40])
    writer = await _write(path, entries[:40])
    await writer.aclose()
    bits = _numbering(path.read_bytes())

    for (where, bit), copy in zip(bits, _copies(place, path, len(bits)), strict=True):
        content = bytearray(copy.read_bytes())
        content[where] ^= bit
        copy.write_bytes(content)
        count, told = _check(copy, whole)
        assert told or count == len(whole)


@pytest.mark.parametrize("by", [-2, -1, 1, 1_000])
async def test_contents_with_a_wrong_number_are_not_taken_for_others(
    path: Path, entries: list[Entry], by: int
) -> None:
    whole = _said(entries[:40])
    writer = await _write(path, entries[:40])
    await writer.aclose()
    with closing(sqlite3.connect(path)) as db:
        rows = [number for (number,) in db.execute("SELECT number FROM content")]
        db.execute(
            "UPDATE content SET number = ? WHERE number = ?",
            (sorted(rows)[5] + by, sorted(rows)[5]),
        )
        db.commit()

    count, told = _check(path, whole)
    assert told
    assert count == 20


@pytest.mark.parametrize("bit", [2, 4, 128])
async def test_a_flipped_version_is_told(
    path: Path, entries: list[Entry], bit: int
) -> None:
    writer = await _write(path, entries[:8])
    await writer.aclose()
    content = bytearray(path.read_bytes())
    # SQLite's header ends its 4 bytes for the user's version with byte 63.
    content[63] ^= bit
    path.write_bytes(content)

    with pytest.raises((JournalUnreadable, JournalTooNew)):
        await JournalWriter.open(path)

    assert path.read_bytes() == content


async def test_a_version_that_is_flipped_to_the_one_before_loses_nothing(
    path: Path, entries: list[Entry]
) -> None:
    writer = await _write(path, entries[:8])
    await writer.aclose()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) - 1}")

    assert _recover(path) == (_said(entries[:8]), None)


async def test_a_damaged_table_whose_name_is_no_text_is_told(
    path: Path, entries: list[Entry]
) -> None:
    writer = await _write(path, entries[:8])
    await writer.aclose()
    content = path.read_bytes()
    assert content.count(b"tablecontentcontent") == 1
    path.write_bytes(content.replace(b"tablecont", b"tablec\xc5nt"))

    with JournalReader(path) as reader:
        assert reader.last() == 8
    assert _check(path, _said(entries[:8])) == (8, True)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_flipped_byte_in_the_log_is_told(
    place: Path, entries: list[Entry]
) -> None:
    path = place / "journal.db"
    writer = await _write(path, entries)
    whole = _said(entries)
    draw = random.Random(5)  # noqa: S311 - a test\'s noise
    size = used(path.with_name("journal.db-wal").read_bytes())

    for copy in _copies(place, path, 60):
        log = copy.with_name("journal.db-wal")
        content = bytearray(log.read_bytes())
        content[draw.randrange(32, size)] ^= 1 << draw.randrange(8)
        log.write_bytes(content)
        count, told = _check(copy, whole)
        assert count % 4 == 0
        assert told or count == len(whole)

    await writer.aclose()


async def test_a_write_that_a_kill_tore_is_no_damage(
    path: Path, entries: list[Entry], tmp_path: Path
) -> None:
    writer = await _write(path, entries[:8])
    after = tmp_path / "after" / "journal.db"
    after.parent.mkdir()
    shutil.copyfile(path, after)
    log = bytearray(path.with_name("journal.db-wal").read_bytes())
    # The last frame's header was written, its page was not.
    end = used(bytes(log))
    log[end - PAGE_BYTES : end] = bytes(PAGE_BYTES)
    after.with_name("journal.db-wal").write_bytes(log)
    await writer.aclose()

    assert _recover(after) == (_said(entries[:4]), None)


async def test_a_deleted_content_cuts_off_what_needed_it(
    path: Path, entries: list[Entry]
) -> None:
    writer = await _write(path, entries)
    await writer.aclose()
    with JournalReader(path) as reader:
        victim = list(reader.records())[49].contents["reply"]
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "DELETE FROM content WHERE number ="
            " (SELECT max(number) FROM content WHERE number <= ?)",
            (victim,),
        )
        db.commit()

    left, loss = _recover(path)

    # The whole write that it was in is gone: its four records came together.
    assert left == _said(entries)[:48]
    assert loss is not None
    assert (loss.kept, loss.lost) == (48, 72)
    assert "record 49: one of its contents is missing" in str(loss)


async def test_a_record_that_was_taken_out_is_noticed(
    path: Path, entries: list[Entry]
) -> None:
    writer = await _write(path, entries)
    await writer.aclose()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM batch WHERE last = 32")
        db.commit()

    left, loss = _recover(path)

    assert left == _said(entries)[:28]
    assert "record 29: it is missing" in str(loss)


async def test_a_record_that_was_changed_is_noticed(
    path: Path, entries: list[Entry]
) -> None:
    writer = await _write(path, entries[:28])
    await writer.append(entries[28])
    await writer.append(*entries[29:])
    await writer.aclose()
    with closing(sqlite3.connect(path)) as db:
        _, changed = pack(b'[[1.0,"k","","","",1,"","",{}]]')
        db.execute("UPDATE batch SET stored = ? WHERE last = 29", (changed,))
        db.commit()

    left, loss = _recover(path)

    assert left == _said(entries)[:28]
    assert "record 29: it was changed" in str(loss)


async def test_a_recovered_journal_can_be_written_on(
    path: Path, entries: list[Entry]
) -> None:
    writer = await _write(path, entries)
    await writer.aclose()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM batch WHERE last > 100 AND last < 110")
        db.commit()

    writer = await JournalWriter.open(path)
    assert writer.loss is not None
    assert (writer.last, writer.loss.lost) == (100, 20)
    await writer.append(*entries[100:])
    await writer.aclose()

    assert _recover(path) == (_said(entries), None)


async def test_a_salvage_that_was_interrupted_is_completed(
    path: Path, entries: list[Entry]
) -> None:
    writer = await _write(path, entries[:8])
    await writer.aclose()
    path.rename(path.with_name("journal.db.salvage"))
    path.write_bytes(b"damaged")
    path.with_name("journal.db-wal").write_bytes(b"of the damaged one")

    finish_salvage(path)

    assert _recover(path) == (_said(entries[:8]), None)


async def test_a_salvage_without_room_leaves_everything_as_it_is(
    path: Path, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await _write(path, entries)
    await writer.aclose()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM batch WHERE last = 32")
        db.commit()
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("mma_runtime.journal.recovery.shutil.copyfile", full)
    with pytest.raises(JournalUnavailable, match="No space left"):
        await JournalWriter.open(path)

    assert path.read_bytes() == before


async def test_a_damaged_journal_says_so_to_readers(
    path: Path, entries: list[Entry]
) -> None:
    writer = await _write(path, entries)
    await writer.aclose()
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 2, len(content)):
        content[at] ^= 0xFF
    path.write_bytes(content)

    with JournalReader(path) as reader, pytest.raises(JournalUnreadable):
        for record in reader.records():
            for number in record.contents.values():
                reader.content(number)


async def test_nothing_but_noise_is_refused(path: Path) -> None:
    writer = await JournalWriter.open(path)
    await writer.append(Entry(kind="one"))
    await writer.aclose()
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))

    with pytest.raises(JournalUnreadable):
        await JournalWriter.open(path)


async def test_bytes_of_a_frame_that_was_never_committed_are_no_loss(
    path: Path, entries: list[Entry]
) -> None:
    writer = await _write(path, entries[:4])
    await writer.aclose()
    opened = open_file(path)
    log = path.with_name(path.name + "-wal")
    laid_out = log.read_bytes()
    opened.db.close()
    opened.lock.release()
    end = used(laid_out)
    torn = struct.pack(">7I", 1, 1, 5, 6, 7, 8, 9)

    log.write_bytes(laid_out[:end] + torn + laid_out[end + len(torn) :])

    assert _recover(path) == (_said(entries[:4]), None)
