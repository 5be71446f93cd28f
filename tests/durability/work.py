"""A run that is killed again and again, and what each of its lives does.

`live` is what a child process runs: it begins the run or goes on with it, and kills
itself where it was told to.
"""

import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import anyio
import openai

from mma_providers.openai import OpenAIProvider
from mma_runtime import Runtime
from mma_runtime.errors import JournalUnreadable
from mma_runtime.journal.writer import JournalWriter
from mma_runtime.llm.chat import ChatRequest, Chunk, Completion
from mma_runtime.recording import JOURNAL, run_folders

KEY = "sk-test-not-a-real-key-0123456789"
TICKETS = ("alpha", "beta", "gamma", "delta", "omega")
SCENARIO = """
name: killed
workspace: {path: project}
approvals: {policy: {run_command: auto}}
defaults: {model: "openai:gpt-4o-mini"}
tiers: {worker: {count: 3}}
track: {id: words, goal: A file for each word.}
expect:
  files: [{path: omega.txt, contains: [omega]}]
"""
NEEDS = {"omega": ["alpha", "beta"]}


def prepare(folder: Path) -> Path:
    """Write the scenario and its project into *folder*."""
    project = folder / "project"
    project.mkdir(parents=True)
    (project / "README.md").write_text("words\n", encoding="utf-8")
    (folder / "temporary").mkdir()
    file = folder / "killed.yaml"
    file.write_text(SCENARIO, encoding="utf-8")
    return file


def live(folder: str, url: str, backend: str, kill: tuple[str, float]) -> None:
    """Begin or resume the run in *folder*; write its outcome to `outcome.json`.

    *kill* is what to count (`write`, `call`, or `seconds`) and how far.
    """
    # Named, so that it is loaded once: before the children are forked.
    assert openai.__version__
    os.environ["OPENAI_API_KEY"] = KEY
    os.environ["OPENAI_BASE_URL"] = url
    os.environ["TMPDIR"] = tempfile.tempdir = str(Path(folder) / "temporary")
    _arm(*kill)
    anyio.run(_live, Path(folder), backend=backend)


async def _live(folder: Path) -> None:
    home = folder / ".mma"
    async with Runtime(home=home, journal=True) as runtime:
        run = None
        for known in run_folders(home):
            try:
                run = await runtime.resume(known.name)
            except JournalUnreadable:
                # Killed before it had begun: nothing was done, nothing is lost.
                shutil.rmtree(known)

        _finish_removals(home / "runs")
        if run is None:
            run = await runtime.start(folder / "killed.yaml")

        outcome = await run.outcome()

    told: dict[str, Any] = {
        "state": outcome.state.value,
        "reason": outcome.reason,
        "calls": outcome.costs.total.calls,
        "unknown": outcome.costs.total.unknown_calls,
        "usd": str(outcome.costs.total.usd),
        "tickets": {one.id: one.state.value for one in outcome.tickets},
        "tree": _tree(outcome.tree),
    }
    (folder / "outcome.json").write_text(json.dumps(told), encoding="utf-8")


def _finish_removals(runs: Path) -> None:
    """Remove what was being removed when this was killed."""
    for folder in runs.iterdir() if runs.is_dir() else ():
        if not (folder / JOURNAL).is_file():
            shutil.rmtree(folder)


def _tree(tree: Path | None) -> dict[str, str]:
    if tree is None:
        return {}

    return {
        path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(tree.rglob("*"))
        if path.is_file()
    }


def _arm(what: str, count: float) -> None:
    left = [count]

    def count_down() -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if what == "seconds":
        timer = threading.Timer(count, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()

    if what == "write":
        _kill_at_writes(count_down, after=int(count) % 2 == 1)

    if what == "call":
        _kill_at_calls(count_down)


def _kill_at_writes(count_down: Any, *, after: bool) -> None:
    # In this child only.
    writer: Any = JournalWriter
    insert = writer._insert

    def counted(self: JournalWriter, batch: Sequence[Any]) -> None:
        if not after:
            count_down()
        insert(self, batch)
        if after:
            count_down()

    writer._insert = counted


def _kill_at_calls(count_down: Any) -> None:
    # In this child only.
    provider: Any = OpenAIProvider
    stream = provider.stream

    async def counted(
        self: OpenAIProvider, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion]:
        async for chunk in stream(self, request):
            count_down()
            yield chunk

    provider.stream = counted
