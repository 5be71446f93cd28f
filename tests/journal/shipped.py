"""Journals of shipped scenarios, which replays hold our own code to.

A change that is meant to alter what models are told, or in which order things are done,
alters them too: `python -m tests.journal.shipped` makes them anew.
"""

import gzip
import shutil
import sys
import tempfile
from pathlib import Path

import anyio

from mma_runtime import RunState, Runtime
from mma_runtime.journal import JournalReader
from mma_runtime.recording import JOURNAL, recorded_start
from mma_runtime.workspace.tree import remove_tree

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FIXTURES = Path(__file__).parent / "shipped"
NAMES = (
    "quickstart",
    "refactor_across_modules",
    "lint_and_tests",
    "vision_bug_report",
)

# The same on every machine, as far as there can be such a place.
PLACE = Path(tempfile.gettempdir()) / "mma-shipped"


def unpack(name: str, home: Path) -> Path:
    """Lay the journal of scenario *name* into *home* as a run; return its folder."""
    folder = home / "runs" / name
    folder.mkdir(parents=True)
    packed = FIXTURES / f"{name}.db.gz"
    (folder / JOURNAL).write_bytes(gzip.decompress(packed.read_bytes()))
    workspace = recorded_start(folder).scenario.workspace
    if workspace is not None:
        shutil.copytree(
            SCENARIOS / workspace.path.name,
            folder / "tree",
            ignore=shutil.ignore_patterns("__pycache__", ".*_cache"),
        )

    return folder


def _told(path: Path) -> str:
    with JournalReader(path) as reader:
        return "".join(
            f"{record.facts}"
            + "".join(
                reader.content(number).decode(errors="replace")
                for number in record.contents.values()
            )
            for record in reader.records()
        )


async def _make() -> None:
    remove_tree(PLACE)
    shutil.copytree(SCENARIOS, PLACE / "scenarios")
    FIXTURES.mkdir(exist_ok=True)
    async with Runtime(home=PLACE / ".mma", journal=True, environment={}) as runtime:
        for name in NAMES:
            run = await runtime.start(PLACE / "scenarios" / f"{name}.yaml")
            outcome = await run.outcome()
            assert outcome.state is RunState.COMPLETED, outcome.reason
            path = PLACE / ".mma" / "runs" / run.id / JOURNAL
            told = _told(path)
            for ours in (str(Path.home()), sys.prefix, str(SCENARIOS.parent)):
                assert ours not in told, f"{name} tells of {ours}"

            packed = gzip.compress(path.read_bytes(), mtime=0)
            (FIXTURES / f"{name}.db.gz").write_bytes(packed)
            print(f"{name}: {len(packed):,} bytes")  # noqa: T201 - what was made

    remove_tree(PLACE)


if __name__ == "__main__":
    anyio.run(_make)
