"""Whatever happens to a journal, each command tells it in our words, and ends.

Takes long: `pytest -m soak tests/journal/test_damage.py`.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from mma_runtime import Runtime
from mma_runtime.errors import MMAError
from mma_runtime.journal import JournalReader, Past
from mma_runtime.journal.summary import summarise
from mma_runtime.journal.wal import PAGE_BYTES
from mma_runtime.llm.chat import ChatRequest, ToolTurn
from mma_runtime.recording import JOURNAL, find_run, mend
from mma_runtime.recording.exporting import export
from mma_runtime.testing import FunctionProvider
from tests.journal.conftest import used
from tests.team import Said, accepted, project, scenario, team, use

CASES = 40

Damage = Callable[[bytearray, random.Random], None]


def flip(text: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 1, 5, 100])):
        text[draw.randrange(len(text))] ^= 1 << draw.randrange(8)


def cut(text: bytearray, draw: random.Random) -> None:
    del text[draw.randrange(len(text)) :]


def zero(text: bytearray, draw: random.Random) -> None:
    place = _page(text, draw)
    text[place] = bytes(len(text[place]))


def swap(text: bytearray, draw: random.Random) -> None:
    one, other = _page(text, draw), _page(text, draw)
    text[one], text[other] = text[other], text[one]


def double(text: bytearray, draw: random.Random) -> None:
    text[_page(text, draw)] = text[_page(text, draw)]


def add(text: bytearray, draw: random.Random) -> None:
    text += draw.randbytes(draw.randrange(1, 5_000))


def _page(text: bytearray, draw: random.Random) -> slice:
    start = draw.randrange(len(text) // PAGE_BYTES) * PAGE_BYTES
    return slice(start, start + PAGE_BYTES)


def write_own_file(request: ChatRequest) -> Said:
    if isinstance(request.turns[-1], ToolTurn):
        return "done"

    return use("write_file", path=f"{request.origin.ticket}.txt", content="mine\n")


def a_team() -> FunctionProvider:
    return team(ticket=write_own_file)


@pytest.fixture
async def sound(tmp_path: Path) -> Path:
    """Return the home of a run as a kill in the middle would have left it."""
    home, killed = tmp_path / "home", tmp_path / "sound"
    ids = [{"id": name, "description": "do it"} for name in ("one", "two", "three")]
    work = project(tmp_path / "work", a__txt="a\n")
    lead = {"tech_lead": {"model": "function:m"}}
    given = scenario(tickets=ids, tiers=lead, workspace={"path": work})

    def review(_: ChatRequest) -> Said:
        shutil.rmtree(killed, ignore_errors=True)
        shutil.copytree(home, killed, symlinks=True)
        return accepted()

    provider = team(ticket=write_own_file, review=review)
    async with Runtime(home=home, providers=[provider], journal=True) as runtime:
        await (await runtime.start(given)).outcome()

    (find_run(killed, "last") / f"{JOURNAL}-shm").unlink()
    return killed


def _records(path: Path) -> list[str]:
    with JournalReader(path) as reader:
        return [
            f"{record.seq} {record.kind} {record.facts}" for record in reader.records()
        ]


def _told(do: Callable[[Path], object], path: Path) -> str:
    """Do it with *path*; return the error in our words, if there is one."""
    try:
        do(path)
    except MMAError as error:
        return str(error)

    return ""


def _export(folder: Path) -> None:
    export(folder, folder / "out.yaml")


async def _gone_through(home: Path, scratch: Path, *, replay: bool) -> str:
    """Resume or replay the last run; return the error in our words, if there is one."""
    try:
        with anyio.fail_after(60):
            async with Runtime(
                home=home, providers=[a_team()], journal=True
            ) as runtime:
                run = await (
                    runtime.replay("last", scratch)
                    if replay
                    else runtime.resume("last")
                )
                await run.outcome()
                return run.difference
    except MMAError as error:
        return str(error)


@pytest.mark.soak
@pytest.mark.parametrize("place", ["", "-wal"])
@pytest.mark.parametrize("damage", [flip, cut, zero, swap, double, add])
async def test_a_damaged_journal_is_told_of_and_its_beginning_is_kept(
    sound: Path, tmp_path: Path, damage: Damage, place: str
) -> None:
    draw = random.Random(f"{damage.__name__}{place}")  # noqa: S311 - a test's noise
    name = find_run(sound, "last").name
    before = _records(sound / "runs" / name / JOURNAL)
    for number in range(CASES):
        home = tmp_path / f"damaged-{number}"
        shutil.copytree(sound, home, symlinks=True)
        folder = home / "runs" / name
        path = folder / JOURNAL
        damaged = path.with_name(path.name + place)
        text = bytearray(damaged.read_bytes())
        text = text[: used(bytes(text))] if place else text
        damage(text, draw)
        damaged.write_bytes(text)

        summarise(path)
        _told(_records, path)
        _told(_export, folder)
        await _gone_through(home, home / "scratch-1", replay=True)
        if not _told(mend, folder):
            kept = _records(path)
            assert kept == before[: len(kept)], number
            if not _told(Past.read, path):
                assert not await _gone_through(home, home, replay=False), number
                again = await _gone_through(home, home / "scratch-2", replay=True)
                assert not again, number

        shutil.rmtree(home)
