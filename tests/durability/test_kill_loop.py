"""A run is killed until it is done: nothing is paid twice, nothing is lost."""

import json
import multiprocessing
import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
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
LIVES = 80
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
                yield "write", number % 7 + 1
            case "call":
                yield "call", number % 9 * 3
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


@pytest.mark.parametrize("kind", ["write", "call", "seconds"])
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_end(
    kind: str,
    tmp_path: Path,
    server: CountingServer,
    processes: ForkServerContext,
) -> None:
    draw = random.Random(kind)  # noqa: S311 - where to kill
    folder = tmp_path / "killed"
    prepare(folder)
    kills = _kills(kind, draw)
    killed = paid_twice = 0
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

    outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    replies = _recorded(folder)
    print(  # noqa: T201 - the counts are what this is run for
        f"{kind}: {killed} kills, {len(server.asked)} requests, {len(replies)} replies"
        f" recorded, {outcome['unknown']} unknown, {paid_twice} paid twice"
    )
    assert paid_twice == 0
    assert (outcome["state"], outcome["reason"]) == ("completed", "5 tickets completed")
    assert outcome["tickets"] == dict.fromkeys(TICKETS, "completed")
    assert outcome["tree"] == {
        "README.md": "words\n",
        **{f"{name}.txt": f"{name} {name}\n" for name in TICKETS},
    }
    assert Decimal(outcome["usd"]) == len(replies) * Decimal(USD)
    # One that was killed before it could be sent is unknown as well.
    assert len(server.asked) - len(replies) <= outcome["unknown"]
    assert outcome["calls"] == len(replies) + outcome["unknown"]
    assert not [name for name in outcome["left"] if name.startswith(("check", ".mma-"))]
    assert killed >= 5
    # The page quotes one pass; where and how often it was killed differs each time.
    quoted = next(
        one for one in PAGE.read_text().splitlines() if one.startswith(f"{kind}:")
    )
    assert f"{len(replies)} replies recorded" in quoted
    assert f"{paid_twice} paid twice" in quoted
    # However often it was killed, what counts of its record is one history.
    assert anyio.run(_difference, folder) == ""
    shutil.rmtree(folder)


async def _difference(folder: Path) -> str:
    async with Runtime(
        home=folder / ".mma", environment={"OPENAI_API_KEY": KEY}
    ) as one:
        run = await one.replay("last", folder / "scratch")
        await run.outcome()
        return run.difference
