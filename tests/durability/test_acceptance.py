"""A ticket's acceptance, diff and merge are one thing, wherever a run is killed.

The run's folder is copied before and after each write of the journal: that is what a
kill at that moment leaves.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mma_runtime import RunState, Runtime
from mma_runtime.errors import JournalUnreadable
from mma_runtime.journal import JournalReader, JournalWriter
from mma_runtime.journal.kinds import MERGE
from mma_runtime.llm.chat import ChatRequest, ToolTurn
from mma_runtime.recording import JOURNAL, run_folders
from mma_runtime.testing import FunctionProvider
from tests.team import Said, accepted, project, scenario, team, use

TICKETS = ("one", "two")


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a kill has left: merged files, and what the journal says of acceptance."""

    home: Path
    merged: set[str]
    accepted: set[str]
    completed: set[str]


class Killer:
    """Copies what there is whenever something is written."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = folder / "home"
        self._copies = folder / "copies"
        # A write, as the disk sees it.
        writer: Any = JournalWriter
        insert = writer._insert

        def watched(one: JournalWriter, batch: Sequence[Any]) -> None:
            self._copy()
            insert(one, batch)
            self._copy()

        monkeypatch.setattr(JournalWriter, "_insert", watched)
        self._monkeypatch = monkeypatch

    def _copy(self) -> None:
        copies = list(self._copies.glob("*"))
        shutil.copytree(
            self.home, self._copies / f"{len(copies):03}", ignore=_is_no_result
        )

    def left(self) -> list[Left]:
        """Return what each kill has left; nothing is copied any more."""
        self._monkeypatch.undo()
        return [_look(home) for home in sorted(self._copies.iterdir())]


def _is_no_result(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "checkouts"]


def _look(home: Path) -> Left:
    found = Left(home=home, merged=set(), accepted=set(), completed=set())
    for folder in run_folders(home):
        found.merged.update(path.stem for path in (folder / "tree").glob("*.new"))
        reviewed = set[str]()
        try:
            with JournalReader(folder / JOURNAL) as reader:
                for record in reader.records():
                    ticket = record.origin.ticket
                    if record.kind == "ReviewGiven" and record.facts["accepted"]:
                        reviewed.add(ticket)
                    elif record.kind == MERGE:
                        assert record.facts["commands"] == [f"test -e {ticket}.new"]
                        assert record.facts["review"] == f"{ticket} is there"
                        assert f"{ticket}.new" in _text(reader, record.contents)
                        # What it was accepted by stands before it, or in it.
                        assert ticket in reviewed
                        found.accepted.add(ticket)
                    elif record.kind == "TicketFinished":
                        found.completed.add(ticket)
        except JournalUnreadable:
            # Killed when it was born.
            assert not found.merged

    return found


def _text(reader: JournalReader, contents: Any) -> str:
    return reader.content(contents["patch"]).decode()


def _work(request: ChatRequest) -> Said:
    if isinstance(request.turns[-1], ToolTurn):
        return "done"

    name = request.origin.ticket
    return use("write_file", path=f"{name}.new", content=f"{name}\n")


def _review(request: ChatRequest) -> Said:
    said = json.loads(accepted())
    return json.dumps({**said, "remarks": f"{request.origin.ticket} is there"})


def _team() -> FunctionProvider:
    plan = [
        {"id": name, "description": "d", "acceptance": [f"test -e {name}.new"]}
        for name in TICKETS
    ]
    return team(plan_track=json.dumps({"tickets": plan}), ticket=_work, review=_review)


async def test_there_is_never_a_merge_without_acceptance_nor_the_reverse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path / "project", a__txt="a\n")
    killer = Killer(tmp_path, monkeypatch)
    given = scenario(
        workspace={"path": folder},
        sandbox="off",
        track={"id": "track", "goal": "a goal"},
    )
    async with Runtime(
        home=killer.home, providers=[_team()], journal=True, environment={}
    ) as runtime:
        outcome = await (await runtime.start(given)).outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    kills = killer.left()
    for left in kills:
        # The merge comes after the acceptance is durable, which has its diff.
        assert left.merged <= left.accepted
        assert left.completed <= left.merged

    between = [left for left in kills if left.merged < left.accepted]
    assert between
    assert kills[-1].completed == set(TICKETS)
    for left in (between[0], between[-1], *kills[-4::2]):
        await _goes_on(left)


async def _goes_on(left: Left) -> None:
    """Resume what a kill left: what was accepted is merged, and not judged again."""
    provider = _team()
    async with Runtime(
        home=left.home, providers=[provider], journal=True, environment={}
    ) as runtime:
        outcome = await (await runtime.resume("last")).outcome()

    judged = {r.origin.ticket for r in provider.requests if r.origin.task == "review"}
    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert judged.isdisjoint(left.accepted)
    assert _look(left.home).merged == set(TICKETS)
