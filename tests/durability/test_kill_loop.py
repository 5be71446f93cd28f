"""A run is killed until it is done: nothing is paid twice, nothing is lost."""

import json
import multiprocessing
import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from decimal import Decimal
from multiprocessing.context import ForkServerContext
from pathlib import Path

import anyio
import pytest

from mma_runtime import Runtime
from mma_runtime.errors import JournalUnreadable
from mma_runtime.journal import JournalReader
from mma_runtime.recording import JOURNAL, run_folders
from tests.durability.server import USD, CountingServer
from tests.durability.work import KEY, TICKETS, live, prepare

NEVER = ("never", 0.0)
LIVES = 30
"""How often a run is begun or resumed before it is let alone."""

LEFT = {
    "killed.yaml",
    "outcome.json",
    "project/README.md",
    "temporary/",
    ".mma/.gitignore",
    ".mma/runs/RUN/base/",
    ".mma/runs/RUN/changes.patch",
    ".mma/runs/RUN/journal.db",
    ".mma/runs/RUN/journal.db.lock",
    ".mma/runs/RUN/tree/README.md",
    *(f".mma/runs/RUN/tree/{name}.txt" for name in TICKETS),
}
"""All that a run leaves, whatever has happened to it meanwhile."""

KINDS = ("write", "call", "seconds")
PAGE = Path(__file__).parents[2] / "docs" / "journal.md"


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.durability.work"])
    return context


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


def _kills(kind: str, draw: random.Random) -> Iterator[tuple[str, float]]:
    number = 0
    while True:
        number += 1
        match kind:
            case "write":
                yield "write", number % 5 + 1
            case "call":
                yield "call", number % 5 * 3
            case _:
                # A little later in each life: the fastest machine and the slowest
                # are killed in their start, in their work and near its end.
                yield "seconds", number * draw.uniform(0.008, 0.016)


def _recorded(folder: Path) -> dict[str, str]:
    """Return the request ids of all recorded replies, with their calls."""
    replies: dict[str, str] = {}
    for run in run_folders(folder / ".mma"):
        # One that was killed at its journal's birth has recorded nothing.
        with suppress(JournalUnreadable), JournalReader(run / JOURNAL) as reader:
            replies |= {
                str(record.facts["request_id"]): record.call
                for record in reader.records()
                if record.kind == "reply"
            }

    return replies


def _left(folder: Path) -> set[str]:
    """Return all files and empty folders below *folder*."""
    (run,) = run_folders(folder / ".mma")
    return {
        (place.relative_to(folder).as_posix() + "/" * place.is_dir()).replace(
            run.name, "RUN"
        )
        for place in folder.rglob("*")
        if not place.is_dir() or not any(place.iterdir())
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a run came to that was killed until it was done."""

    kills: int
    requests: int
    replies: int
    unknown: int
    paid_twice: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            **{
                one.name: getattr(self, one.name) + getattr(other, one.name)
                for one in fields(self)
            }
        )

    def __str__(self) -> str:
        return (
            f"{self.kills:,} kills, {self.requests:,} requests,"
            f" {self.replies:,} replies recorded, {self.unknown:,} unknown,"
            f" {self.paid_twice} paid twice"
        )


def _kill_until_done(
    kind: str,
    seed: str,
    folder: Path,
    server: CountingServer,
    processes: ForkServerContext,
) -> Counts:
    """Kill a run until it is done, and check that it came to the one right end."""
    kills = _kills(kind, random.Random(seed))  # noqa: S311 - where to kill
    prepare(folder)
    killed = paid_twice = 0
    first = len(server.asked)
    for number in range(LIVES):
        before = _recorded(folder)
        known = {server.asked[int(one[1:]) - 1] for one in before}
        sent = len(server.asked)
        kill = next(kills) if number < LIVES - 1 else NEVER
        backend = ("asyncio", "trio")[number % 2]
        arguments = (str(folder), server.openai_url, backend, kill)
        child = processes.Process(target=live, args=arguments)
        child.start()
        child.join()
        paid_twice += sum(one in known for one in server.asked[sent:])
        if child.exitcode == 0:
            break

        assert child.exitcode == -9
        killed += 1

    # Before somebody reads the journal: SQLite's readers leave files of their own.
    assert _left(folder) == LEFT
    outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    replies = _recorded(folder)
    assert (outcome["state"], outcome["reason"]) == ("completed", "5 tickets completed")
    assert outcome["tickets"] == dict.fromkeys(TICKETS, "completed")
    assert outcome["tree"] == {
        "README.md": "words\n",
        **{f"{name}.txt": f"{name} {name}\n" for name in TICKETS},
    }
    assert Decimal(outcome["usd"]) == len(replies) * Decimal(USD)
    # One that was killed before it could be sent is unknown as well.
    assert len(server.asked) - first - len(replies) <= outcome["unknown"]
    assert outcome["calls"] == len(replies) + outcome["unknown"]
    # However often it was killed, what counts of its record is one history.
    assert anyio.run(_difference, folder) == ""
    shutil.rmtree(folder)
    return Counts(
        kills=killed,
        requests=len(server.asked) - first,
        replies=len(replies),
        unknown=outcome["unknown"],
        paid_twice=paid_twice,
    )


async def _difference(folder: Path) -> str:
    async with Runtime(
        home=folder / ".mma", environment={"OPENAI_API_KEY": KEY}
    ) as one:
        run = await one.replay("last", folder / "scratch")
        await run.outcome()
        return run.difference


def _quoted(start: str) -> str:
    """Return the line of the page that begins with *start*."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return next(one for one in lines if one.startswith(f"{start}:"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_end(
    kind: str,
    tmp_path: Path,
    server: CountingServer,
    processes: ForkServerContext,
) -> None:
    counts = _kill_until_done(kind, kind, tmp_path / "killed", server, processes)

    print(f"{kind}: {counts}")  # noqa: T201 - the counts are what this is run for
    assert counts.paid_twice == 0
    # At least 60 in all.
    assert counts.kills >= 20
    # The page quotes one pass; where and how often it was killed differs each time.
    quoted = _quoted(kind)
    assert f"{counts.replies} replies recorded" in quoted
    assert f"{counts.paid_twice} paid twice" in quoted


@pytest.mark.soak
def test_runs_that_are_killed_a_thousand_times_come_to_the_same_end(
    tmp_path: Path, server: CountingServer, processes: ForkServerContext
) -> None:
    counts = Counts(kills=0, requests=0, replies=0, unknown=0, paid_twice=0)
    runs = 0
    while counts.kills < 1_000:
        kind = KINDS[runs % len(KINDS)]
        runs += 1
        counts += _kill_until_done(
            kind, f"{kind} {runs}", tmp_path / f"{runs}", server, processes
        )

    print(f"soak: {runs} runs, {counts}")  # noqa: T201 - as above
    assert counts.paid_twice == 0
    assert counts.replies == runs * 31
    assert f"{counts.paid_twice} paid twice" in _quoted("soak")
