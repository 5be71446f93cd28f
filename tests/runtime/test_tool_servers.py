"""MCP servers in a run: started before its first call, and ended with it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from mma_runtime import RunState, Runtime
from mma_runtime.errors import ConfigurationError
from mma_runtime.events import (
    ActorRestarted,
    ApprovalAsked,
    Event,
    RunStarted,
    ToolCallStarted,
)
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, ToolCall
from mma_runtime.runtime.run import Run
from mma_runtime.testing import FunctionProvider
from mma_runtime.tools.approval import Approval
from tests.eavesdropping import everything_told
from tests.team import Said, project, scenario, team
from tests.tool_server import STDIO, reached

SECRET = "the-secret-of-the-server"  # noqa: S105 - it is none


def calls(*given: tuple[str, Mapping[str, object]]) -> AssistantTurn:
    return AssistantTurn(
        tuple(
            ToolCall(f"call-{name}-{place}", f"mcp__notes__{name}", dict(arguments))
            for place, (name, arguments) in enumerate(given)
        )
    )


def worker(*said: Said) -> FunctionProvider:
    def answer(request: ChatRequest) -> Said:
        return said[min(request.turn, len(said)) - 1]

    return team(ticket=answer)


async def to_the_end(run: Run) -> list[Event]:
    """Approve whatever is asked."""
    events: list[Event] = []
    with anyio.fail_after(120):
        async for event in run.events():
            events.append(event)
            if isinstance(event, ApprovalAsked):
                await anyio.wait_all_tasks_blocked()
                for question in run.questions:
                    run.answer(question.id, Approval.approve())

    return events


def of(kind: type[Event], events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_workers_use_the_tools_of_a_server(
    transport: str, tmp_path: Path
) -> None:
    models = worker(
        calls(("add", {"a": 1, "b": 2}), ("look", {}), ("flood", {})), "done"
    )
    async with (
        reached(transport) as server,
        Runtime(home=tmp_path / "home", providers=[models], environment={}) as runtime,
    ):
        run = await runtime.start(
            scenario(
                workspace={"path": project(tmp_path / "project", a__txt="a\n")},
                mcp_servers={"notes": {**server, "trusted": True}},
                tiers={"worker": {"model": "function:m", "tools": ["mcp__notes__*"]}},
                approvals={},
            )
        )
        events = await to_the_end(run)
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    (started,) = of(RunStarted, events)
    assert isinstance(started, RunStarted)
    names = [tool.name for tool in models.requests[0].tools]
    assert started.mcp_servers == {"notes": len(names)}
    assert {"mcp__notes__add", "mcp__notes__look"} < set(names)
    assert all(name.startswith("mcp__notes__") for name in names)
    # Asked about as any tool, but for what only reads by a trusted server's word.
    asked = sorted(e.tool for e in events if isinstance(e, ApprovalAsked))
    assert asked == ["mcp__notes__add", "mcp__notes__flood"]
    told = everything_told(models.requests[1])
    assert "3\nseen by" in told
    assert "characters from line 1 on are left out" in told
    assert len(told) < 12_000


async def test_a_server_that_dies_is_back_for_the_next_round(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    models = worker(calls(("die", {})), calls(("look", {})), "done")
    async with Runtime(providers=[models], environment={}) as runtime:
        run = await runtime.start(
            scenario(mcp_servers={"notes": {**STDIO, "env": {"STARTS": str(starts)}}})
        )
        events = await to_the_end(run)
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert "may have been carried out or not" in everything_told(models.requests[1])
    first, second = starts.read_text().split()
    assert f"seen by {second}" in everything_told(models.requests[2])
    assert first != second
    (restarted,) = of(ActorRestarted, events)
    assert isinstance(restarted, ActorRestarted)
    assert restarted.actor == f"{run.id}.mcp/mcp-notes/connection"
    assert not alive(int(first))
    assert not alive(int(second))


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False

    return True


async def test_cancelling_a_run_cancels_the_call_and_ends_the_server(
    tmp_path: Path,
) -> None:
    mark, starts = tmp_path / "mark", tmp_path / "starts"
    models = worker(calls(("slow", {"mark": str(mark)})))
    async with Runtime(providers=[models], environment={}) as runtime:
        run = await runtime.start(
            scenario(mcp_servers={"notes": {**STDIO, "env": {"STARTS": str(starts)}}})
        )
        with anyio.fail_after(60):
            async for event in run.events():
                if isinstance(event, ToolCallStarted):
                    break

            while not mark.exists():  # noqa: ASYNC110 - another process makes it
                await anyio.sleep(0.01)

            outcome = await run.cancel()

    assert outcome.state is RunState.CANCELLED
    assert mark.read_text() == "cancelled"
    assert not alive(int(starts.read_text()))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_replay_starts_no_server(tmp_path: Path) -> None:
    home, starts = tmp_path / "home", tmp_path / "starts"
    (tmp_path / ".env").write_text(f"NOTES_TOKEN={SECRET}\n")
    models = worker(calls(("look", {}), ("surroundings", {})), "done")
    server = {
        **STDIO,
        "env": {"STARTS": str(starts), "TOKEN": "${NOTES_TOKEN}"},
    }
    async with Runtime(
        home=home, providers=[models], environment={}, journal=True
    ) as runtime:
        run = await runtime.start(scenario(mcp_servers={"notes": server}))
        assert (await run.outcome()).state is RunState.COMPLETED
        again = await runtime.replay(run.id, tmp_path / "scratch")
        assert (await again.outcome()).state is RunState.COMPLETED
        resumed = await runtime.resume(run.id)
        assert (await resumed.outcome()).state is RunState.COMPLETED

    assert "TOKEN" in everything_told(models.requests[1])
    assert again.difference == ""
    # The run and its resumption have one each.
    assert len(starts.read_text().split()) == 2
    assert len(models.requests) == 2
    kept = b"".join(p.read_bytes() for p in home.rglob("journal.db*"))
    assert SECRET.encode() not in kept


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ({"command": "no-such-program"}, "No such file or directory"),
        (
            {"command": [sys.executable, "-c", "import sys; sys.exit('no luck')"]},
            "it said: no luck",
        ),
        ({"url": "http://127.0.0.1:1/mcp"}, "'notes' cannot be used"),
        ({**STDIO, "env": {"A": "${NOT_SET_ANYWHERE}"}}, "NOT_SET_ANYWHERE is not set"),
    ],
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_that_cannot_start_ends_the_run_before_it_costs_anything(
    server: dict[str, object], problem: str, tmp_path: Path
) -> None:
    models = worker("done")
    async with Runtime(
        home=tmp_path / "home", providers=[models], environment={}, journal=True
    ) as runtime:
        with pytest.raises(ConfigurationError, match=problem):
            await runtime.start(scenario(mcp_servers={"notes": server}))

    assert models.requests == []
    assert not list((tmp_path / "home").rglob("journal.db"))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_a_server_says_when_it_fails_is_shown_without_its_keys(
    tmp_path: Path,
) -> None:
    shout = "import os, sys; sys.exit('bad key ' + os.environ['TOKEN'])"
    server = {"command": [sys.executable, "-c", shout], "env": {"TOKEN": "${KEY}"}}
    async with Runtime(
        home=tmp_path, providers=[worker("done")], environment={"KEY": SECRET}
    ) as runtime:
        with pytest.raises(ConfigurationError, match=r"bad key \[secret\]") as caught:
            await runtime.start(scenario(mcp_servers={"notes": server}))

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_tool_that_no_server_has_is_told_before_anything_is_spent(
    tmp_path: Path,
) -> None:
    models = worker("done")
    tools = ["mcp__notes__ad"]
    async with Runtime(home=tmp_path, providers=[models], environment={}) as runtime:
        with pytest.raises(ConfigurationError, match="did you mean `mcp__notes__add`"):
            await runtime.start(
                scenario(
                    mcp_servers={"notes": STDIO},
                    tiers={"worker": {"model": "function:m", "tools": tools}},
                )
            )

    assert models.requests == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_servers_of_mma_toml_are_only_started_where_a_worker_may_use_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "mma.toml").write_text(
        'sandbox = "off"\n[mcp_servers.broken]\ncommand = ["no-such-program"]\n'
    )
    models = worker("done")
    folder = project(tmp_path / "project", a__txt="a\n")
    runtime = Runtime(home=tmp_path / "home", providers=[models], environment={})
    async with runtime:
        run = await runtime.start(
            scenario(
                workspace={"path": folder},
                tiers={"worker": {"model": "function:m", "tools": ["read_file"]}},
            )
        )
        outcome = await run.outcome()
        with pytest.raises(ConfigurationError, match="MCP server 'broken'"):
            await runtime.start(scenario())

    assert outcome.state is RunState.COMPLETED
    assert outcome.sandbox == "limits only"
