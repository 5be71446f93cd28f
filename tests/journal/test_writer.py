import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from anyio import CancelScope, create_task_group

from mma_runtime.errors import (
    JournalInUse,
    JournalTooNew,
    JournalUnavailable,
    JournalUnreadable,
)
from mma_runtime.events import Origin
from mma_runtime.journal import Entry, JournalReader, JournalWriter, Scrubber


def _read(path: Path) -> list[tuple[str, str, object, dict[str, bytes]]]:
    with JournalReader(path) as reader:
        return [
            (
                record.kind,
                record.call,
                record.facts,
                {name: reader.content(n) for name, n in record.contents.items()},
            )
            for record in reader.records()
        ]


def _leave_room(writer: JournalWriter, *, pages: int) -> None:
    """Make the disk full for SQLite, which then says what a full disk makes it say."""
    db = writer._db  # pyright: ignore[reportPrivateUsage] - no public way to fill it
    (used,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {used + pages}")


async def test_what_was_appended_is_read_back_in_order(
    path: Path, entries: list[Entry]
) -> None:
    writer = await JournalWriter.open(path, run="r1")
    for entry in entries:
        await writer.append(entry)
    await writer.aclose()

    assert _read(path) == [(e.kind, e.call, e.facts, e.contents) for e in entries]
    with JournalReader(path) as reader:
        first = next(reader.records())
        assert (first.seq, first.origin) == (
            1,
            Origin(run="r1", tier="worker", ticket="t1"),
        )


async def test_an_append_is_durable_before_the_writer_is_closed(
    path: Path, entries: list[Entry]
) -> None:
    writer = await JournalWriter.open(path)
    await writer.append(entries[0])

    assert len(_read(path)) == 1
    await writer.aclose()


async def test_a_note_goes_with_the_next_append(path: Path) -> None:
    writer = await JournalWriter.open(path)
    writer.note(Entry(kind="noted"))
    assert _read(path) == []

    await writer.append(Entry(kind="appended"))
    assert [kind for kind, *_ in _read(path)] == ["noted", "appended"]
    await writer.aclose()


async def test_closing_writes_what_was_only_noted(path: Path) -> None:
    writer = await JournalWriter.open(path)
    writer.note(Entry(kind="noted"))
    await writer.aclose()
    await writer.aclose()

    assert [kind for kind, *_ in _read(path)] == ["noted"]


async def test_a_content_that_recurs_is_stored_once(path: Path) -> None:
    prompt = b"the same prompt " * 100
    writer = await JournalWriter.open(path)
    for _ in range(3):
        await writer.append(Entry(kind="call", contents={"prompt": prompt}))
    await writer.aclose()

    writer = await JournalWriter.open(path)
    await writer.append(Entry(kind="call", contents={"prompt": prompt}))
    await writer.aclose()

    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM content").fetchone() == (1,)
    assert all(contents == {"prompt": prompt} for *_, contents in _read(path))


async def test_those_who_wait_together_share_a_commit(path: Path) -> None:
    writer = await JournalWriter.open(path)
    commits: list[str] = []
    db = writer._db  # pyright: ignore[reportPrivateUsage] - commits are not public
    db.set_trace_callback(commits.append)

    async with create_task_group() as group:
        for number in range(100):
            group.start_soon(writer.append, Entry(kind=f"k{number}"))

    assert len(_read(path)) == 100
    assert commits.count("COMMIT") <= 3
    await writer.aclose()


async def test_a_cancelled_append_leaves_the_writer_usable(path: Path) -> None:
    writer = await JournalWriter.open(path)
    with CancelScope() as scope:
        scope.cancel()
        await writer.append(Entry(kind="cancelled"))

    await writer.append(Entry(kind="after"))
    await writer.aclose()

    assert [kind for kind, *_ in _read(path)] == ["cancelled", "after"]


async def test_a_waiter_that_is_cancelled_takes_nobody_with_it(path: Path) -> None:
    writer = await JournalWriter.open(path)
    async with create_task_group() as group:
        for number in range(10):
            group.start_soon(writer.append, Entry(kind=f"k{number}"))

        with anyio.move_on_after(0):
            await writer.append(Entry(kind="mine"))

    await writer.aclose()
    assert {f"k{n}" for n in range(10)} <= {kind for kind, *_ in _read(path)}


async def test_money_and_paths_are_written_as_text(path: Path, tmp_path: Path) -> None:
    writer = await JournalWriter.open(path)
    await writer.append(Entry(kind="cost", facts={"usd": Decimal("0.10")}))
    await writer.aclose()

    assert _read(path)[0][2] == {"usd": "0.10"}


async def test_secrets_never_reach_the_file(path: Path) -> None:
    secret = 'sk-very"secret\\ß'  # noqa: S105 - not one
    writer = await JournalWriter.open(
        path, scrub=Scrubber([("A_KEY", secret), ("B_KEY", "no")])
    )
    await writer.append(
        Entry(
            kind="call",
            facts={"text": f"key {secret}, no other"},
            contents={"prompt": f"the key is {secret}".encode()},
        )
    )
    await writer.aclose()

    ((_, _, facts, contents),) = _read(path)
    assert facts == {"text": "key [secret], no other"}
    assert contents == {"prompt": b"the key is [secret]"}
    assert b"very" not in path.read_bytes()


async def test_a_second_writer_is_refused_and_told_who_is_first(path: Path) -> None:
    writer = await JournalWriter.open(path)
    with pytest.raises(JournalInUse, match=r"process \d+ on .* since"):
        await JournalWriter.open(path)

    await writer.aclose()
    again = await JournalWriter.open(path)
    await again.aclose()


async def test_the_lock_of_a_process_that_was_killed_is_free(path: Path) -> None:
    code = (
        "import sys, os, signal, anyio, pathlib\n"
        "from mma_runtime.journal import Entry, JournalWriter\n"
        "async def main():\n"
        "    writer = await JournalWriter.open(pathlib.Path(sys.argv[1]))\n"
        "    await writer.append(Entry(kind='acknowledged'))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "anyio.run(main)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    ended = await anyio.run_process(command, check=False)
    assert ended.returncode == -9

    writer = await JournalWriter.open(path)
    assert writer.loss is None
    assert writer.last == 1
    await writer.aclose()


async def test_a_newer_journal_is_refused_and_not_touched(path: Path) -> None:
    writer = await JournalWriter.open(path)
    await writer.aclose()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    before = path.read_bytes()

    with pytest.raises(JournalTooNew, match="format 99, this version knows up to"):
        await JournalWriter.open(path)
    with pytest.raises(JournalTooNew):
        JournalReader(path)

    assert path.read_bytes() == before


async def test_another_database_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (x)")

    with pytest.raises(JournalUnreadable, match="not a journal"):
        await JournalWriter.open(path)


async def test_a_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    path.write_bytes(b"shopping list\n" * 500)

    with pytest.raises(JournalUnreadable, match="not a database"):
        await JournalWriter.open(path)
    with pytest.raises(JournalUnreadable):
        JournalReader(path)

    assert path.read_bytes() == b"shopping list\n" * 500


async def test_a_full_disk_stops_the_writer_and_loses_nothing_acknowledged(
    path: Path,
) -> None:
    writer = await JournalWriter.open(path)
    _leave_room(writer, pages=20)
    draw = random.Random(1)  # noqa: S311 - a test's noise
    acknowledged = 0

    with pytest.raises(
        JournalUnavailable, match=r"full.*Nothing that was acknowledged"
    ):
        for _ in range(1_000):
            noise = draw.randbytes(600).hex()
            await writer.append(Entry(kind="k", facts={"noise": noise}))
            acknowledged += 1

    with pytest.raises(JournalUnavailable):
        await writer.append(Entry(kind="small"))
    await writer.aclose()

    again = await JournalWriter.open(path)
    assert (again.last, again.loss) == (acknowledged, None)
    await again.append(Entry(kind="there is room"))
    await again.aclose()
    assert acknowledged > 0


async def test_all_who_wait_hear_that_the_disk_is_full(path: Path) -> None:
    writer = await JournalWriter.open(path)
    _leave_room(writer, pages=0)
    heard: list[int] = []
    noise = random.Random(1).randbytes(25_000).hex()  # noqa: S311 - a test's noise

    async def append(number: int) -> None:
        try:
            await writer.append(Entry(kind="k", facts={"noise": noise}))
        except JournalUnavailable:
            heard.append(number)

    async with create_task_group() as group:
        for number in range(20):
            group.start_soon(append, number)

    assert sorted(heard) == list(range(20))
    await writer.aclose()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    # Root may write anywhere: a process without rights shows it.
    folder = tmp_path / "readonly"
    folder.mkdir()
    folder.chmod(0o555)
    code = (
        "import os, sys, anyio, pathlib\n"
        "from mma_runtime.errors import JournalUnavailable\n"
        "from mma_runtime.journal import JournalWriter\n"
        "anyio.run(anyio.sleep, 0)\n"
        "if os.getuid() == 0: os.seteuid(65534)\n"
        "try: anyio.run(JournalWriter.open, pathlib.Path(sys.argv[1]))\n"
        "except JournalUnavailable as error: print(error)\n"
    )
    for parent in folder.parents[:3]:
        parent.chmod(0o755)

    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder / "journal.db")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "cannot be written: Permission denied" in ended.stdout, ended.stderr


async def test_a_clock_that_jumps_back_does_not_change_the_order(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([200.0, 100.0, 300.0])
    monkeypatch.setattr("mma_runtime.journal.writer.time.time", lambda: next(moments))
    writer = await JournalWriter.open(path)
    for kind in ("one", "two", "three"):
        await writer.append(Entry(kind=kind))
    await writer.aclose()

    monkeypatch.undo()
    again = await JournalWriter.open(path)
    await again.aclose()
    with JournalReader(path) as reader:
        assert [(r.kind, r.time) for r in reader.records()] == [
            ("one", 200.0),
            ("two", 100.0),
            ("three", 300.0),
        ]
    assert again.loss is None
