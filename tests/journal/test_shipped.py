"""Journals of the shipped scenarios are replayed: our own code decides as it did."""

from pathlib import Path

import anyio
import pytest
import yaml

from mma_runtime import RunState, Runtime
from mma_runtime.journal import Past
from mma_runtime.outcome import Outcome
from mma_runtime.recording import JOURNAL
from mma_runtime.recording.exporting import export
from tests.journal.shipped import FIXTURES, NAMES, SCENARIOS, unpack

ANEW = "if that is meant: python -m tests.journal.shipped"


@pytest.mark.parametrize("name", NAMES)
async def test_a_shipped_scenario_is_replayed_as_it_was_recorded(
    name: str, tmp_path: Path
) -> None:
    unpack(name, tmp_path / ".mma")

    async with Runtime(home=tmp_path / ".mma", environment={}) as runtime:
        run = await runtime.replay(name, tmp_path / "scratch")
        outcome = await run.outcome()

    assert run.difference == "", ANEW
    assert outcome.state is RunState.COMPLETED
    assert run.reused > 0


async def test_a_change_of_our_code_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack("quickstart", tmp_path / ".mma")
    monkeypatch.setattr("mma_runtime.supervisor.delivery.MAX_RETURNS", 0)

    async with Runtime(home=tmp_path / ".mma", environment={}) as runtime:
        run = await runtime.replay("quickstart", tmp_path / "scratch")
        await run.outcome()

    assert run.difference != ""


@pytest.mark.parametrize(
    ("name", "backend"), [("lint_and_tests", "asyncio"), ("vision_bug_report", "trio")]
)
def test_what_is_exported_runs_for_free_and_ends_the_same(
    name: str, backend: str, tmp_path: Path
) -> None:
    folder = unpack(name, tmp_path / ".mma")
    before = Past.read(folder / JOURNAL)
    file = tmp_path / "again.yaml"
    exported = export(folder, file)
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    given["workspace"]["path"] = str(SCENARIOS / Path(given["workspace"]["path"]).name)
    file.write_text(yaml.safe_dump(given), encoding="utf-8")

    outcome = anyio.run(_play, file, tmp_path / ".again", backend=backend)

    assert exported.replies == outcome.costs.total.calls
    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert outcome.costs.total.usd == before.usd
    assert {one.id for one in outcome.tickets} == before.settled


async def _play(file: Path, home: Path) -> Outcome:
    async with Runtime(home=home, environment={}) as runtime:
        run = await runtime.start(file)
        return await run.outcome()


def test_the_journals_are_small_and_all_there() -> None:
    sizes = {path.name: path.stat().st_size for path in FIXTURES.iterdir()}

    assert set(sizes) == {f"{name}.db.gz" for name in NAMES}
    assert sum(sizes.values()) < 300_000
