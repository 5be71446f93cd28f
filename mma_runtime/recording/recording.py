"""Where runs are recorded, and how one is begun, resumed or replayed from there."""

import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

from anyio import to_thread

from mma_runtime.arguments import check_text
from mma_runtime.errors import (
    ConfigurationError,
    JournalUnavailable,
    JournalUnreadable,
    RunUnknown,
)
from mma_runtime.journal import (
    Entry,
    Journal,
    JournalReader,
    JournalWriter,
    Loss,
    Past,
    Scrubber,
)
from mma_runtime.journal.batch import in_json
from mma_runtime.journal.kinds import BEGUN, NEVER_BEGAN, RESUMED, WITHOUT_CONTENT
from mma_runtime.journal.record import Content, digest_of
from mma_runtime.journal.scrub import in_texts
from mma_runtime.journal.writer import open_file
from mma_runtime.llm.chat import ChatRequest, Chunk, Completion
from mma_runtime.llm.provider import Capabilities, ModelInfo
from mma_runtime.recording.changes import Changes
from mma_runtime.recording.forking import ForkPoint
from mma_runtime.registry.credentials import SECRET_NAME
from mma_runtime.scenario.schema import Scenario
from mma_runtime.workspace import Workspace
from mma_runtime.workspace.repository import Repository, RepositoryStart
from mma_runtime.workspace.tree import Entry as FileEntry
from mma_runtime.workspace.tree import Snapshot, copy_tree

JOURNAL = "journal.db"
"""The journal's file in a run's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One go at a run: from its start, or from where it was left.

    *is_resumable* tells whether it can be gone on with another time.
    """

    run: str
    scenario: Scenario
    journal: Journal
    workspace: Workspace | None
    is_resumable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a recorded run was begun with.

    *beside* is the folder of the scenario's file, where keys and settings may lie.
    *by_agent* tells that a single agent was asked, whose instructions and tools are in
    the host's program and not in the journal.
    """

    scenario: Scenario
    beside: Path | None = None
    by_agent: bool = False


class Silent:
    """Stands for a provider in a replay, where none is asked."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """The name of the provider that it stands for."""
        return self._name

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion, None]:
        """Fail: a replay has asked for a model."""
        raise AssertionError(f"a replay asks {self._name}:{request.model}")
        yield  # pragma: no cover - makes this a generator

    async def models(self) -> tuple[ModelInfo, ...]:
        """Know none."""
        return ()

    def capabilities(self, model: str) -> Capabilities:  # noqa: ARG002 - as asked
        """Say nothing in particular."""
        return Capabilities()

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        """Name it as it is: what it cost is in the journal."""
        return self._name, model, True

    async def aclose(self) -> None:
        """Do nothing."""


def run_folders(home: Path) -> Iterator[Path]:
    """Yield the folders of the recorded runs in *home*, the oldest first."""
    runs = home / "runs"
    if runs.is_dir():
        # Those with a dot are none any more: they are being removed.
        yield from sorted(
            p
            for p in runs.iterdir()
            if (p / JOURNAL).is_file() and not p.name.startswith(".")
        )


def find_run(home: Path, name: str) -> Path:
    """Return the folder of the run *name*, or of the one that begins so.

    `last` is the newest. Raises `RunUnknown` when there is none, or several.
    """
    check_text("run", name, "a run's name, its beginning, or 'last'")
    folders = list(run_folders(home))
    if name == "last" and folders:
        return folders[-1]

    found = [folder for folder in folders if folder.name == name] or [
        folder for folder in folders if name and folder.name.startswith(name)
    ]
    if len(found) == 1:
        return found[0]

    known = [folder.name for folder in folders]
    raise RunUnknown(str(home), name, known, [folder.name for folder in found])


def recorded_start(folder: Path, scrub: Scrubber | None = None) -> Start:
    """Return what the run in *folder* was begun with; blocks.

    Without *scrub* there is `[secret]` where something secret was. Raises
    `JournalUnreadable`, and `ConfigurationError` for a single agent's run, which only
    the host's program can go on with.
    """
    path = folder / JOURNAL
    with JournalReader(path, scrub) as reader:
        first = next(reader.records(), None)
        if first is not None and not first.facts.get("content", True):
            raise JournalUnreadable(str(path), WITHOUT_CONTENT)

        number = first.contents.get("scenario") if first is not None else None
        if first is None or number is None:
            raise JournalUnreadable(str(path), NEVER_BEGAN)

        if first.facts.get("agent", False):
            raise ConfigurationError(
                f"the run {folder.name!r} is a single agent's: its instructions and"
                " tools are in the program that asked it. Ask again there with"
                f" `Runtime.ask`; `mma show {folder.name}` tells what it did"
            )

        beside = first.facts.get("folder")
        return Start(
            scenario=_scenario(path, reader.content(number)),
            beside=Path(beside) if beside else None,
        )


def mend(folder: Path) -> Loss | None:
    """Cut off what is damaged of the journal in *folder*; blocks.

    Returns what was lost, `None` for a sound one. Raises what `JournalWriter.open`
    raises.
    """
    opened = open_file(folder / JOURNAL, folder.name)
    opened.db.close()
    opened.lock.release()
    return opened.loss


def secrets_of(
    environment: Mapping[str, str], more: Iterable[tuple[str, str]] = ()
) -> Scrubber:
    """Return what takes the values of secret variables, and *more*, out of a text."""
    found = (one for one in environment.items() if SECRET_NAME.search(one[0]))
    return Scrubber((name, value.strip()) for name, value in (*found, *more))


async def begin(
    folder: Path, start: Start, *, content: bool, scrub: Scrubber
) -> Session:
    """Begin to record a run of what *start* says in *folder*, which names it.

    Without *content* nothing is kept that it could go on from. Raises what
    `JournalWriter.open` and `Workspace.open` raise.
    """
    scenario = start.scenario
    try:
        writer = await JournalWriter.open(
            folder / JOURNAL, run=folder.name, scrub=scrub
        )
    except JournalUnavailable as error:
        rmtree(folder, ignore_errors=True)
        raise _not_begun(error) from error

    try:
        workspace = None
        contents: dict[str, bytes | Content] = {"scenario": _sealed(scenario, scrub)}
        if scenario.workspace is not None:
            workspace = await Workspace.open(
                scenario.workspace.path,
                folder,
                dirty=scenario.workspace.dirty,
                branch=scenario.workspace.apply == "branch",
            )
            contents["manifest"] = await to_thread.run_sync(_manifest, workspace, scrub)

        facts = {
            "name": scenario.name,
            "content": content,
            "folder": str(start.beside or ""),
        }
        if start.by_agent:
            facts["agent"] = True

        kept = contents if content else {}
        await writer.append(Entry(kind=BEGUN, facts=facts, contents=kept))
    except BaseException as error:
        await writer.aclose()
        # There was no run: what is left of it would be taken for an interrupted one.
        rmtree(folder, ignore_errors=True)
        if isinstance(error, JournalUnavailable):
            raise _not_begun(error) from error

        raise

    journal = Journal(writer, content=content, scrub=scrub)
    return Session(
        run=folder.name,
        scenario=scenario,
        journal=journal,
        workspace=workspace,
        is_resumable=content and not start.by_agent,
    )


def _not_begun(error: JournalUnavailable) -> JournalUnavailable:
    return JournalUnavailable(error.path, error.problem, has_begun=False)


async def resume(folder: Path, changes: Changes, *, scrub: Scrubber) -> Session:
    """Open the run in *folder* to go on with it.

    Raises:
        JournalInUse: Another process is at work on it.
        JournalError: Its journal cannot be read or written.
        WorkspaceError: Its files are not what they were.
    """
    writer = await JournalWriter.open(folder / JOURNAL, run=folder.name, scrub=scrub)
    try:
        past = await to_thread.run_sync(Past.read, folder / JOURNAL, scrub)
        facts = {"loose": past.retry_failures()}
        scenario = changes.apply(scenario_of(past))
        workspace = await _reopened(scenario, folder, past)
        contents = {"scenario": _sealed(scenario, scrub)}
        await writer.append(Entry(kind=RESUMED, facts=facts, contents=contents))
    except BaseException:
        await writer.aclose()
        raise

    return Session(
        run=folder.name,
        scenario=scenario,
        journal=Journal(writer, past, scrub=scrub),
        workspace=workspace,
        is_resumable=True,
    )


async def fork(
    folder: Path, new: Path, point: ForkPoint, changes: Changes, *, scrub: Scrubber
) -> Session:
    """Copy the past of the run in *folder* up to *point* into the folder *new*.

    The original stays as it is. A fork of a git project has a branch of its own. Raises
    what `resume` raises, and `ConfigurationError` when there is no such point.
    """
    whole = await to_thread.run_sync(Past.read, folder / JOURNAL, scrub)
    scenario = changes.apply(scenario_of(whole))
    entries, loose = await to_thread.run_sync(
        _common_past, folder / JOURNAL, point, scrub
    )
    # The files first: without its journal the folder is no run, should this be cut off.
    if scenario.workspace is not None:
        original, start = _snapshot(whole)
        source = scenario.workspace.path
        if start is not None:
            await to_thread.run_sync(_copy_branch, source, folder, new, start)

        await to_thread.run_sync(_copy_files, folder, new, original)

    workspace = await _reopened(scenario, new, whole)
    facts = {
        "forked": folder.name,
        "kept": len(entries),
        "of": whole.records,
        "loose": loose,
    }
    contents = {"scenario": _sealed(scenario, scrub)}
    writer = await JournalWriter.open(new / JOURNAL, run=new.name, scrub=scrub)
    try:
        await writer.append(
            *entries, Entry(kind=RESUMED, facts=facts, contents=contents)
        )
        read = partial(Past.read, keep=lambda record: record.seq <= len(entries))
        past = await to_thread.run_sync(read, new / JOURNAL, scrub)
        past.retry_failures()
    except BaseException:
        await writer.aclose()
        # There was no fork: what is left of it would be taken for a run.
        rmtree(new, ignore_errors=True)
        raise

    return Session(
        run=new.name,
        scenario=scenario,
        journal=Journal(writer, past, scrub=scrub),
        workspace=workspace,
        is_resumable=True,
    )


async def replay(
    folder: Path, scratch: Path, *, leg: int | None, scrub: Scrubber
) -> Session:
    """Open the run in *folder* to go through it again in the folder *scratch*.

    *leg* says up to where: the run as it was before its scenario changed so often and
    once more; `None` is all of it. The run's own folder stays as it is. Raises what
    `resume` raises, and `ConfigurationError` when there is no such leg.
    """
    past = await to_thread.run_sync(_past_of, folder / JOURNAL, leg, scrub)
    scenario = scenario_of(past)
    if scenario.workspace is not None:
        await to_thread.run_sync(_copy_files, folder, scratch, _snapshot(past)[0])

    return Session(
        run=folder.name,
        scenario=scenario,
        journal=Journal(past=past, strict=True, scrub=scrub),
        workspace=await _reopened(scenario, scratch, past, commits=False),
    )


def scenario_of(past: Past) -> Scenario:
    """Return the scenario that the run was last begun or resumed with."""
    return _scenario(past.path, past.scenario)


def _past_of(path: Path, leg: int | None, scrub: Scrubber) -> Past:
    past = Past.read(path, scrub)
    if leg is None or leg == len(past.legs):
        return past

    if not 0 <= leg < len(past.legs):
        raise ConfigurationError(
            f"there is no leg {leg} in {path}; it has 0 to {len(past.legs)}"
        )

    end = past.legs[leg]
    return Past.read(path, scrub, keep=lambda record: record.seq < end)


def _sealed(scenario: Scenario, scrub: Scrubber) -> Content:
    """Return *scenario* as it is kept: secrets are in its texts, never in its keys."""

    def take_out(text: bytes) -> bytes:
        # As JSON writes it: there it is put back.
        kept: str = json.loads(scrub.take_out(in_json(text.decode())))
        return kept.encode()

    text = in_json(in_texts(scenario.model_dump(mode="json"), take_out))
    return Content(text, digest_of(text))


def _scenario(path: Path, text: bytes) -> Scenario:
    try:
        return Scenario.model_validate_json(text)
    except ValueError as error:
        raise JournalUnreadable(
            str(path), f"its scenario does not suit this version: {error}"
        ) from error


async def _reopened(
    scenario: Scenario, folder: Path, past: Past, *, commits: bool = True
) -> Workspace | None:
    if scenario.workspace is None:
        return None

    original, repository = _snapshot(past)
    return await Workspace.reopen(
        scenario.workspace.path, folder, original, repository if commits else None
    )


def _common_past(
    path: Path, point: ForkPoint, scrub: Scrubber
) -> tuple[list[Entry], list[str]]:
    """Return what a fork at *point* keeps, and the steps of it that are not waited for.

    Raises `ConfigurationError` when there is no such point.
    """
    with JournalReader(path, scrub) as reader:
        records = point.keeps(list(reader.records()))
        entries = [
            Entry(
                kind=record.kind,
                origin=record.origin,
                call=record.call,
                facts=record.facts,
                contents={
                    name: reader.content(number)
                    for name, number in record.contents.items()
                },
                time=record.time,
            )
            for record in records
        ]

    kept = {record.seq for record in records}
    past = Past.read(path, scrub, keep=lambda record: record.seq in kept)
    return entries, past.retry_failures()


def _copy_files(folder: Path, scratch: Path, original: Snapshot) -> None:
    copy_tree(folder / "tree", scratch / "tree", known=original)
    if (folder / "base").is_dir():
        copy_tree(folder / "base", scratch / "base")


def _copy_branch(source: Path, folder: Path, new: Path, start: RepositoryStart) -> None:
    """Give the fork in *new* a branch that begins where that of *folder* began."""
    branch = f"mma/{new.name}"
    repository = Repository.copy(
        source, folder / "repository", new / "repository", branch, start
    )
    repository.attach(new / "tree", integration=True)


def _manifest(workspace: Workspace, scrub: Scrubber) -> Content:
    files = {
        path: [entry.mode, entry.size, entry.digest.hex()]
        for path, entry in workspace.original.items()
    }
    facts: dict[str, object] = {"files": files}
    start = workspace.repository_start()
    if start is not None:
        facts |= {"commit": start.commit, "tracked": sorted(start.tracked)}

    return scrub.seal(json.dumps(facts, separators=(",", ":")).encode())


def _snapshot(past: Past) -> tuple[dict[str, FileEntry], RepositoryStart | None]:
    facts: dict[str, Any] = json.loads(past.manifest)
    files = {
        path: FileEntry(mode, size, bytes.fromhex(digest))
        for path, (mode, size, digest) in facts["files"].items()
    }
    if "commit" not in facts:
        return files, None

    return files, RepositoryStart(facts["commit"], frozenset(facts["tracked"]))
