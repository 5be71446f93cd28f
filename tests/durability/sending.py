"""A run that sends something once for each ticket, and is killed while it does."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from mma_runtime import Runtime, Scenario
from mma_runtime.errors import JournalUnreadable
from mma_runtime.journal.writer import JournalWriter
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, ToolCall, ToolTurn
from mma_runtime.recording import run_folders
from mma_runtime.testing import FunctionProvider
from mma_runtime.tools.tool import tool
from mma_runtime.workspace.tree import remove_tree

TICKETS = tuple(f"t{number}" for number in range(8))
SCENARIO = {
    "name": "sending",
    "once": {"send": True},
    "approvals": {"seconds": 0.01},
    "tiers": {"worker": {"model": "function:m", "count": 2}},
    "tickets": [{"id": name, "description": "Send it."} for name in TICKETS],
}


def live(folder: str, backend: str, where: str, count: int) -> None:
    """Begin or resume the run in *folder*, and be killed.

    *where* is `before` or `after` the sending, or at a `write` of the journal; *count*
    says at which.
    """
    anyio.run(_live, Path(folder), where, count, backend=backend)


async def _live(folder: Path, where: str, count: int) -> None:
    left = [count]

    def pass_by(place: str) -> None:
        if place == where:
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    @tool
    def send(text: str) -> str:
        """Send a text."""
        pass_by("before")
        with (folder / "sent").open("a", encoding="utf-8") as file:
            file.write(text + "\n")

        pass_by("after")
        return "sent"

    _watch_writes(pass_by)
    home = folder / ".mma"
    async with Runtime(
        home=home,
        providers=[FunctionProvider(_work)],
        tools=[send],
        journal=True,
        environment={},
    ) as runtime:
        run = None
        for known in run_folders(home):
            try:
                run = await runtime.resume(known.name)
            except JournalUnreadable:
                remove_tree(known)

        outcome = await (
            run or await runtime.start(Scenario.model_validate(SCENARIO))
        ).outcome()

    told = {one.id: [one.state.value, one.reason] for one in outcome.tickets}
    (folder / "outcome.json").write_text(json.dumps(told), encoding="utf-8")


def _work(request: ChatRequest) -> str | AssistantTurn:
    if isinstance(request.turns[-1], ToolTurn):
        return "done"

    arguments = {"text": request.origin.ticket}
    return AssistantTurn((ToolCall("c", "send", arguments, json.dumps(arguments)),))


def _watch_writes(pass_by: Callable[[str], None]) -> None:
    # In this child only.
    writer: Any = JournalWriter
    insert = writer._insert

    def counted(self: JournalWriter, batch: Sequence[Any]) -> None:
        insert(self, batch)
        pass_by("write")

    writer._insert = counted
