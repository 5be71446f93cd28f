"""What workers are given: which tools, and what stands around their commands."""

import json
from pathlib import Path

import pytest

from mma_runtime import RunState, Runtime, tool
from mma_runtime.errors import ConfigurationError
from mma_runtime.events import AcceptanceChecked, AnswerRejected, RunStarted
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.scenario.settings import Settings
from mma_runtime.testing import FunctionProvider
from mma_runtime.tools.native import DEFAULT_TOOLS
from mma_runtime.tools.sandbox import SandboxMode, find_confinement
from tests.team import Said, project, scenario, team, use


@tool(read_only=True)
def stock() -> str:
    """Tell what there is."""
    return "all"


async def first_tools(tmp_path: Path, **keys: object) -> list[str]:
    """Return the names of the tools in the first request of a worker."""
    models = team()
    folder = project(tmp_path / "project", a__txt="a\n")
    async with Runtime(
        home=tmp_path / "home", providers=[models], tools=[stock], environment={}
    ) as runtime:
        run = await runtime.start(scenario(workspace={"path": folder}, **keys))
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    return [one.name for one in models.requests[0].tools]


def worker(*tools: str) -> dict[str, object]:
    return {"worker": {"model": "function:m", "tools": tools}}


async def test_a_worker_has_all_but_what_has_to_be_named(tmp_path: Path) -> None:
    assert await first_tools(tmp_path) == [*DEFAULT_TOOLS, "stock"]


@pytest.mark.parametrize(
    ("tools", "given"),
    [
        (("read_file", "stock"), ["read_file", "stock"]),
        (("get_*",), ["get_skeleton", "get_definition"]),
        (("*",), [*DEFAULT_TOOLS, "stock"]),
        (("read_file", "fetch_url"), ["read_file", "fetch_url"]),
    ],
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_scenario_says_which_by_name_or_pattern(
    tools: tuple[str, ...], given: list[str], tmp_path: Path
) -> None:
    assert await first_tools(tmp_path, tiers=worker(*tools)) == given


async def test_a_ticket_has_tools_of_its_own(tmp_path: Path) -> None:
    ticket = {"id": "one", "description": "d", "tools": ["fetch_url", "sto*"]}

    assert await first_tools(tmp_path, tickets=[ticket]) == ["fetch_url", "stock"]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"tiers": worker("raed_file")}, "tiers.worker: .*did you mean `read_file`"),
        (
            {"tickets": [{"id": "one", "description": "d", "tools": ["stok"]}]},
            "ticket 'one': .*did you mean `stock`",
        ),
    ],
)
async def test_a_tool_that_there_is_not_is_told_before_any_call(
    keys: dict[str, object], problem: str, tmp_path: Path
) -> None:
    models = team()
    async with Runtime(
        home=tmp_path, providers=[models], tools=[stock], environment={}
    ) as runtime:
        with pytest.raises(ConfigurationError, match=problem):
            await runtime.start(scenario(**keys))

    assert models.requests == []


async def test_a_plan_cannot_give_a_ticket_what_workers_do_not_have(
    tmp_path: Path,
) -> None:
    def plan(request: ChatRequest) -> Said:
        tools = ["read_file", "fetch_url"] if request.turn == 1 else ["read_file"]
        ticket = {"id": "one", "description": "d", "tools": tools}
        return json.dumps({"tickets": [ticket]})

    models = team(plan_track=plan)
    folder = project(tmp_path / "project", a__txt="a\n")
    async with Runtime(
        home=tmp_path / "home", providers=[models], environment={}
    ) as runtime:
        run = await runtime.start(
            scenario(workspace={"path": folder}, track={"id": "t", "goal": "g"})
        )
        events = [event async for event in run.events()]
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    (rejected,) = [event for event in events if isinstance(event, AnswerRejected)]
    assert "workers have no tool 'fetch_url'" in rejected.problem


async def test_a_plan_cannot_have_a_denied_command_run_as_acceptance(
    tmp_path: Path,
) -> None:
    def plan(request: ChatRequest) -> Said:
        commands = ["touch denied"] if request.turn == 1 else ["true"]
        ticket = {"id": "one", "description": "d", "acceptance": commands}
        return json.dumps({"tickets": [ticket]})

    models = team(plan_track=plan)
    folder = project(tmp_path / "project", a__txt="a\n")
    async with Runtime(
        home=tmp_path / "home", providers=[models], environment={}
    ) as runtime:
        run = await runtime.start(
            scenario(
                workspace={"path": folder},
                track={"id": "t", "goal": "g"},
                approvals={"policy": {"run_command": {"touch *": "deny"}}},
            )
        )
        events = [event async for event in run.events()]
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    (rejected,) = [event for event in events if isinstance(event, AnswerRejected)]
    assert "'touch denied' is not allowed here" in rejected.problem
    (checked,) = [event for event in events if isinstance(event, AcceptanceChecked)]
    assert checked.command == "true"


# --- walls --------------------------------------------------------------------


async def walls(tmp_path: Path, **keys: object) -> tuple[str, str, str]:
    """Return what is told of the walls: by the event, the outcome, and a command."""

    def work(request: ChatRequest) -> Said:
        write = f"open({str(tmp_path / 'escaped')!r}, 'w').close()"
        command = ["python", "-c", write]
        return use("run_command", command=command) if request.turn == 1 else "done"

    models = FunctionProvider(work)
    folder = project(tmp_path / "project", a__txt="a\n")
    async with Runtime(
        home=tmp_path / "home",
        providers=[models],
        settings=keys.pop("settings", Settings()),  # type: ignore[arg-type] # as given
        environment={},
    ) as runtime:
        run = await runtime.start(scenario(workspace={"path": folder}, **keys))
        events = [event async for event in run.events()]
        outcome = await run.outcome()

    (started,) = [event for event in events if isinstance(event, RunStarted)]
    escaped = "escaped" if (tmp_path / "escaped").exists() else "kept in"
    return started.sandbox, outcome.sandbox, escaped


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, True),
        ({"sandbox": "off"}, False),
        ({"settings": Settings(sandbox="off")}, False),
        ({"sandbox": "auto", "settings": Settings(sandbox="off")}, True),
    ],
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_commands_run_as_the_scenario_says_and_the_report_says_so(
    keys: dict[str, object], expected: bool, tmp_path: Path
) -> None:
    found = await find_confinement(SandboxMode.AUTO)
    walled = expected and found.bubblewrap is not None
    name, fate = ("bubblewrap", "kept in") if walled else ("limits only", "escaped")

    assert await walls(tmp_path, **keys) == (name, name, fate)


async def test_a_strict_sandbox_without_bubblewrap_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    models = team()
    folder = project(tmp_path / "project", a__txt="a\n")
    async with Runtime(
        home=tmp_path / "home", providers=[models], environment={}, journal=True
    ) as runtime:
        with pytest.raises(ConfigurationError, match="apt-get install bubblewrap"):
            await runtime.start(scenario(workspace={"path": folder}, sandbox="strict"))

    assert models.requests == []
    assert not (tmp_path / "home").exists()


async def test_without_a_workspace_nothing_is_said_of_walls(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[team()], environment={}) as runtime:
        run = await runtime.start(scenario(sandbox="strict"))
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert outcome.sandbox == ""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_commands_do_not_see_the_files_that_keys_are_looked_for_in(
    tmp_path: Path,
) -> None:
    if (await find_confinement(SandboxMode.AUTO)).bubblewrap is None:
        pytest.skip("there is no bubblewrap here")

    folder = project(tmp_path / "project", a__txt="a\n", __gitignore=".env\n")
    files = [place / ".env" for place in (folder, tmp_path, tmp_path / "beside")]
    files.append(folder / "credentials.toml")
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
        file.chmod(0o600)
        file.write_text("[x]\n" if file.suffix else "MY_KEY=hidden\n")

    command = f"sh -c 'test -r {folder}/a.txt && ! grep -q . {{}}'"
    commands = [command.format(file) for file in files]
    async with Runtime(home=tmp_path / "home", providers=[team()]) as runtime:
        run = await runtime.start(
            scenario(
                workspace={"path": folder},
                tickets=[{"id": "one", "description": "d", "acceptance": commands}],
                expect={"commands": commands},
            ),
            folder=tmp_path / "beside",
        )
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert all(one.passed for one in outcome.expectations)


@pytest.mark.parametrize("sandbox", ["auto", "off"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_same_walls_stand_around_acceptance_and_expectations(
    sandbox: str, tmp_path: Path
) -> None:
    found = await find_confinement(SandboxMode(sandbox))
    accepted, expected = tmp_path / "by-acceptance", tmp_path / "by-expectation"
    folder = project(tmp_path / "project", a__txt="a\n")
    async with Runtime(
        home=tmp_path / "home", providers=[team()], environment={}
    ) as runtime:
        run = await runtime.start(
            scenario(
                sandbox=sandbox,
                workspace={"path": folder},
                tickets=[
                    {
                        "id": "one",
                        "description": "d",
                        "acceptance": [f"sh -c 'touch {accepted} || true'"],
                    }
                ],
                expect={"commands": [f"sh -c 'touch {expected} || true'"]},
            )
        )
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED, outcome.reason
    escaped = found.bubblewrap is None
    assert (accepted.exists(), expected.exists()) == (escaped, escaped)
