"""What the journal costs: appends, bytes, tool rounds, opening, showing.

Run it as `python -m tests.benchmarks.journal`, with `TMPDIR=/dev/shm` for what it costs
without the disk. CPU times are medians; what it is compared with stands in the same
table.
"""

import base64
import gc
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from anyio import create_task_group

from mma_runtime import Runtime, tool
from mma_runtime.events import Origin
from mma_runtime.journal import Entry, JournalReader, JournalWriter, Past
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, ToolCall
from mma_runtime.recording import JOURNAL, find_run
from mma_runtime.testing import FunctionProvider
from tests.team import Said, scenario

EVENT = Entry(
    kind="reply",
    origin=Origin(tier="worker", ticket="t1"),
    facts={"tokens": 100, "note": "n" * 850},
)
ROUNDS = (25, 50, 100, 200)
NEW_BYTES = 2_000
"""What a round adds: half is what the model writes, half what the tool returns."""

# 85 different characters, which JSON writes as they are.
NOISE = base64.b85encode(random.Random(1).randbytes(800_000)).decode()  # noqa: S311 - a benchmark's

TIMES = 7
SHOWN = 100_000


@tool
async def look(text: str) -> str:
    """Return what cannot be compressed to much less.

    Args:
        text: Anything.
    """
    return _noise(random.Random(text))  # noqa: S311 - a benchmark's noise


def _noise(draw: random.Random) -> str:
    start = draw.randrange(len(NOISE) - NEW_BYTES)
    return NOISE[start : start + NEW_BYTES // 2]


def main() -> None:
    """Measure and print everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _bare(folder)
        for backend in ("asyncio", "trio"):
            anyio.run(_appends, folder / backend, backend, backend=backend)

        anyio.run(_bytes, folder / "bytes")
        anyio.run(_rounds, folder / "rounds")
        anyio.run(_opening, folder / "opening")
        anyio.run(_showing, folder / "showing")


def _bare(folder: Path) -> None:
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, facts TEXT)")
    for size in (1, 100):
        began, cpu, count = time.perf_counter(), time.process_time(), 0
        while count < (300 if size == 1 else 20_000):
            db.execute("BEGIN IMMEDIATE")
            db.executemany(
                "INSERT INTO event (facts) VALUES (?)", [("n" * 1_000,)] * size
            )
            db.execute("COMMIT")
            count += size

        _line(f"bare sqlite3 FULL, {size} a commit", count, began, cpu)

    db.close()


def _line(what: str, count: int, began: float, cpu: float) -> None:
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    print(f"{what:<42} {count / wall:>9,.0f}/s  {used / count * 1e6:>6.0f} µs CPU each")


async def _appends(path: Path, backend: str) -> None:
    writer = await JournalWriter.open(path / "journal.db")
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(300):
        await writer.append(EVENT)

    _line(f"journal, 1 writer, {backend}", 300, began, cpu)

    async def write() -> None:
        for _ in range(100):
            await writer.append(EVENT)

    began, cpu = time.perf_counter(), time.process_time()
    async with create_task_group() as group:
        for _ in range(100):
            group.start_soon(write)

    _line(f"journal, 100 writers, {backend}", 10_000, began, cpu)
    await writer.aclose()


def _talk(rounds: int, draw: random.Random) -> Callable[[ChatRequest], Said]:
    def answer(request: ChatRequest) -> Said:
        if request.turn > rounds:
            return "done"

        arguments = {"text": _noise(draw)}
        call = ToolCall(
            f"call-{request.turn}", "look", arguments, json.dumps(arguments)
        )
        return AssistantTurn((call,))

    return answer


async def _run(
    home: Path, rounds: int, *, journal: bool, tickets: int = 1
) -> tuple[str, float]:
    draw = random.Random(1)  # noqa: S311 - a benchmark's noise
    given = scenario(
        tickets=[
            {"id": f"t{number}", "description": "do it"} for number in range(tickets)
        ],
        tiers={
            "worker": {
                "model": "function:m",
                "max_tool_rounds": rounds + 2,
                "count": tickets,
            }
        },
    )
    provider = FunctionProvider(_talk(rounds, draw))
    async with Runtime(
        home=home, providers=[provider], tools=[look], journal=journal
    ) as runtime:
        # What an earlier run has left is not for this one to collect.
        gc.collect()
        cpu = time.process_time()
        run = await runtime.start(given)
        await run.outcome()
        return run.id, time.process_time() - cpu


async def _bytes(home: Path) -> None:
    for rounds in ROUNDS:
        run, _ = await _run(home, rounds, journal=True)
        size, new = (find_run(home, run) / JOURNAL).stat().st_size, rounds * NEW_BYTES
        print(
            f"{rounds:>4} rounds: {new:>9,} bytes of new content,"
            f" {size:>9,} in the journal, {size / new:.2f} each"
        )


async def _rounds(home: Path) -> None:
    """Measure rounds by what more of them cost, which leaves out begin and end."""

    async def measure(few: int, many: int, tickets: int, *, journal: bool) -> float:
        _, less = await _run(home, few, journal=journal, tickets=tickets)
        _, more = await _run(home, many, journal=journal, tickets=tickets)
        return (more - less) / ((many - few) * tickets) * 1e6

    for few, many, tickets in ((20, 220, 1), (4, 24, 50)):
        found = [
            (
                await measure(few, many, tickets, journal=False),
                await measure(few, many, tickets, journal=True),
            )
            for _ in range(TIMES)
        ]
        without, recorded = (statistics.median(one) for one in zip(*found, strict=True))
        print(
            f"a tool round, {tickets:>2} at once: {without:>5.0f} µs CPU without,"
            f" {recorded:>5.0f} with: {recorded - without:>5.0f} more"
        )


async def _opening(home: Path) -> None:
    run, _ = await _run(home, 24, journal=True, tickets=50)
    path = find_run(home, run) / JOURNAL
    await _timed("open for writing, all checked", lambda: _open(path))
    await _timed("read the past", lambda: anyio.to_thread.run_sync(Past.read, path))
    with JournalReader(path) as reader:
        print(f"  of {reader.last():,} records")

    provider = FunctionProvider(_talk(24, random.Random(1)))  # noqa: S311 - as above
    async with Runtime(
        home=home, providers=[provider], tools=[look], journal=True
    ) as runtime:
        began = time.perf_counter()
        again = await runtime.resume(run)
        await again.outcome()
        print(f"{'resume it, to its end':<42} {time.perf_counter() - began:.2f} s")


async def _showing(home: Path) -> None:
    path = home / "runs" / "many" / JOURNAL
    writer = await JournalWriter.open(path, run="many")
    while writer.last < SHOWN:
        for number in range(200):
            for event in _events(f"t{writer.last // 1_000}", number):
                writer.note(event)

        await writer.flush()

    await writer.aclose()
    for options in ([], ["--json"]):
        command = [sys.executable, "-m", "mma_runtime", "show", "many", *options]

        async def show(command: list[str] = command) -> None:
            await anyio.run_process([*command, "--home", str(home)])

        what = " ".join(["mma show", *options, f"of {SHOWN:,} records"])
        await _timed(what, show)


def _events(ticket: str, number: int) -> list[Entry]:
    """Return what one tool round records."""
    origin = Origin(tier="worker", ticket=ticket, task="ticket")
    call = f"ticket/{ticket}/1.{number}"
    attempt: dict[str, object] = {"call": f"{call}.1", "model": "function:m"}
    used: dict[str, object] = {
        "call": f"call-{number}",
        "tool": "look",
        "model_call": call,
    }
    told: list[tuple[str, dict[str, object]]] = [
        ("RoundStarted", {"round": number, "max_rounds": 200}),
        ("intent", {"digest": "d" * 32, **attempt, "reserved": ["0.01", 900]}),
        ("ModelCallStarted", {**attempt, "attempt": 1}),
        ("ModelCallFinished", {**attempt, "finish": "tool_calls", "usd": "0.001"}),
        ("reply", {"digest": "d" * 32, "usage": None, "usd": "0.001"}),
        ("ToolCallStarted", used),
        ("ToolCallFinished", {**used, "is_error": False, "characters": 1_000}),
        ("tools", {"failures": [], "files": []}),
    ]
    return [
        Entry(kind=kind, origin=origin, call=call, facts=facts) for kind, facts in told
    ]


async def _open(path: Path) -> None:
    writer = await JournalWriter.open(path)
    await writer.aclose()


async def _timed(what: str, act: Callable[[], Awaitable[object]]) -> None:
    began = time.perf_counter()
    await act()
    print(f"{what:<42} {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
