"""Secrets stay out of a journal, and a run that meets one goes on from it all the same.

What was taken out is put back where the run is resumed, replayed or forked: a file that
is set back is byte for byte what it was.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from mma_runtime import Run, RunState, Runtime
from mma_runtime.errors import JournalUnreadable
from mma_runtime.journal.batch import text_of
from mma_runtime.journal.contents import unpack
from mma_runtime.journal.summary import summarise
from mma_runtime.journal.writer import JournalWriter
from mma_runtime.llm.chat import ChatRequest, ToolTurn
from mma_runtime.outcome import Outcome
from mma_runtime.recording import JOURNAL, find_run
from mma_runtime.recording.exporting import export
from mma_runtime.recording.forking import ForkPoint
from mma_runtime.scenario.schema import Scenario
from mma_runtime.testing import FunctionProvider
from tests.team import Said, project, scenario, team, use

SECRET = "postgres"  # noqa: S105 - the word is the point
ORDINARY = ("worker", "tokens", "completed", "digest", "input_tokens", "function")


def a_project(folder: Path, secret: str) -> Scenario:
    """Return a scenario on a project that has *secret* in a file and in its words."""
    text = f"image: {secret}:16\n[secret ] [secret A 0f0f]\n"
    return scenario(
        name=f"about {secret}",
        workspace={"path": project(folder / "work", compose__yml=text)},
        tickets=[
            {
                "id": "one",
                "description": f"Raise {secret}.",
                "acceptance": [f"grep -qF '{secret}:17' compose.yml"],
            }
        ],
    )


def raising(secret: str) -> FunctionProvider:
    """Return a team whose worker raises a version in two rounds, and is done."""

    def answer(request: ChatRequest) -> Said:
        match request.turn:
            case 1:
                old, new = f"{secret}:16", f"{secret}:17"
                return use("edit_file", path="compose.yml", old=old, new=new)
            case 2:
                return use("run_command", command="sh -c 'echo more >> compose.yml'")
            case _:
                assert isinstance(request.turns[-1], ToolTurn)
                return f"{secret} is raised"

    return team(ticket=answer)


def raised(secret: str) -> str:
    return f"image: {secret}:17\n[secret ] [secret A 0f0f]\nmore\n"


class Stage:
    """A home whose runs know one secret."""

    def __init__(self, home: Path, secret: str) -> None:
        self.home = home
        self.secret = secret
        self.environment = {"DB_PASSWORD": secret}

    def runtime(self) -> Runtime:
        return Runtime(
            home=self.home,
            providers=[raising(self.secret)],
            journal=True,
            environment=self.environment,
        )

    async def start(self) -> Outcome:
        async with self.runtime() as runtime:
            run = await runtime.start(a_project(self.home.parent, self.secret))
            return await run.outcome()

    async def resume(self) -> Outcome:
        async with self.runtime() as runtime:
            return await (await runtime.resume("last")).outcome()

    async def replay(self, scratch: Path) -> tuple[Run, Outcome]:
        async with self.runtime() as runtime:
            run = await runtime.replay("last", scratch)
            return run, await run.outcome()

    async def fork(self, event: int) -> Outcome:
        async with self.runtime() as runtime:
            run = await runtime.fork("last", ForkPoint(event=event))
            return await run.outcome()

    @property
    def journal(self) -> Path:
        return find_run(self.home, "last") / JOURNAL

    def stored(self) -> bytes:
        """Return all that is in the journal, unpacked."""
        with closing(sqlite3.connect(self.journal)) as db:
            batches = db.execute("SELECT form, stored FROM batch").fetchall()
            rows = db.execute("SELECT form, stored, digest FROM content").fetchall()

        contents = [text for row in rows for text in unpack(*row)]
        return b"".join([text_of(*batch) for batch in batches] + contents)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / ".mma", SECRET)


def written(outcome: Outcome) -> str:
    assert outcome.tree is not None
    return (outcome.tree / "compose.yml").read_text()


def cut_off_at(monkeypatch: pytest.MonkeyPatch, commit: int) -> None:
    """Let no commit from number *commit* on reach the journal, as if it was killed."""
    made: list[int] = []
    insert = JournalWriter._insert  # pyright: ignore[reportPrivateUsage] - cut off there

    def cut(self: JournalWriter, batch: Sequence[object]) -> None:
        made.append(1)
        if len(made) >= commit:
            raise OSError("killed")

        insert(self, batch)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - as handed in

    monkeypatch.setattr(JournalWriter, "_insert", cut)


@pytest.mark.parametrize("commit", range(2, 9))
@pytest.mark.parametrize("secret", [SECRET, 'pass"wörd\\', "image: ", "worker"])
async def test_a_file_with_a_secret_is_what_it_was_wherever_the_run_was_cut_off(
    tmp_path: Path, secret: str, commit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path / ".mma", secret)
    with monkeypatch.context() as patched:
        cut_off_at(patched, commit)
        assert (await stage.start()).state is RunState.PAUSED

    outcome = await stage.resume()
    run, again = await stage.replay(tmp_path / "scratch")

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert written(outcome) == written(again) == raised(secret)
    assert run.difference == ""


async def test_what_was_taken_out_is_nowhere_in_the_journal(
    tmp_path: Path, stage: Stage
) -> None:
    await stage.start()
    export(stage.journal.parent, tmp_path / "out.yaml")

    stored = stage.stored()
    assert stored.count(b"[secret DB_PASSWORD ") > 6
    assert SECRET.encode() not in stored
    for name in ("out.yaml", "out.script.yaml"):
        told = (tmp_path / name).read_text()
        assert "[secret]" in told
        assert SECRET not in told


@pytest.mark.parametrize("secret", ORDINARY)
async def test_a_secret_that_is_an_ordinary_word_does_no_harm(
    tmp_path: Path, secret: str
) -> None:
    stage = Stage(tmp_path / ".mma", secret)
    first = await stage.start()
    resumed = await stage.resume()
    run, _ = await stage.replay(tmp_path / "scratch")
    export(stage.journal.parent, tmp_path / "out.yaml")

    assert first.state is resumed.state is RunState.COMPLETED
    assert written(resumed) == written(first) == raised(secret)
    assert run.difference == ""
    assert summarise(stage.journal).state == "completed"


@pytest.mark.parametrize("event", range(2, 40, 6))
async def test_a_fork_has_the_secrets_of_its_past(stage: Stage, event: int) -> None:
    await stage.start()

    outcome = await stage.fork(event)

    assert outcome.state is RunState.COMPLETED
    assert written(outcome) == raised(SECRET)
    assert SECRET.encode() not in stage.stored()


@pytest.mark.parametrize("environment", [{}, {"DB_PASSWORD": "another one"}])
async def test_a_run_whose_secret_is_gone_is_refused_and_nothing_is_written(
    tmp_path: Path, stage: Stage, environment: dict[str, str]
) -> None:
    await stage.start()
    stage.environment = environment

    with pytest.raises(JournalUnreadable, match="set DB_PASSWORD to what it was"):
        await stage.resume()

    with pytest.raises(JournalUnreadable, match="set DB_PASSWORD to what it was"):
        await stage.replay(tmp_path / "scratch")

    with pytest.raises(JournalUnreadable, match="set DB_PASSWORD to what it was"):
        await stage.fork(20)


async def test_another_secret_beside_it_changes_nothing(
    tmp_path: Path, stage: Stage
) -> None:
    await stage.start()
    stage.environment = {"A_TOKEN": "of-another-service", **stage.environment}

    run, outcome = await stage.replay(tmp_path / "scratch")

    assert (run.difference, written(outcome)) == ("", raised(SECRET))
