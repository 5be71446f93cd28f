"""Embedding: a runtime inside somebody else's program, on either backend."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from mma_runtime import Run, RunState, Runtime, Scenario, tool
from mma_runtime.errors import (
    ConfigurationError,
    CredentialsMissing,
    ScenarioInvalid,
    UnknownProvider,
    WorkspaceError,
)
from mma_runtime.events import (
    ActorEvent,
    RunFinished,
    RunStarted,
    TicketFinished,
    ToolCallFinished,
)
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.outcome import TicketState
from mma_runtime.recording.changes import Changes
from mma_runtime.recording.forking import ForkPoint
from mma_runtime.testing import FunctionProvider
from mma_runtime.workspace.integration import Integration
from tests.team import Said, project, scenario, team, use


class Stuck:
    """A model that never answers, and says when it is asked."""

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.provider = FunctionProvider(self._answer)

    async def _answer(self, _request: ChatRequest) -> Said:
        self.asked.set()
        await anyio.sleep_forever()
        return "never"


def kinds(events: list[object]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_a_run_has_events_and_one_outcome(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        run = await runtime.start(scenario())
        events = [event async for event in run.events()]
        outcome = await run.outcome()

    assert outcome.completed
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert await run.outcome() is outcome


async def test_several_runs_at_once_keep_their_events_apart(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        runs = [await runtime.start(scenario(name=f"r{n}")) for n in range(5)]
        read = [[event async for event in run.events()] for run in runs]

    for run, events in zip(runs, read, strict=True):
        assert {event.origin.run for event in events} <= {run.id, ""}
        actors = [event.actor for event in events if isinstance(event, ActorEvent)]
        assert {name.partition("/")[0] for name in actors} == {run.id}


async def test_a_scenario_file_is_run_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "inputs: {what: {required: true}}\n"
        "tiers: {worker: {model: 'openai:gpt-4o-mini'}}\n"
        "tickets: [{id: one, description: 'do ${what}'}]\n"
    )
    models = team()
    async with Runtime(home=tmp_path, providers=[models]) as runtime:
        run = await runtime.start(
            file, inputs={"what": "something"}, models={"worker": "function:m"}
        )
        outcome = await run.outcome()

    assert outcome.completed
    assert outcome.name == "s"
    assert "do something" in str(models.requests[0].turns)


async def test_a_run_can_be_cancelled(tmp_path: Path) -> None:
    stuck = Stuck()
    async with Runtime(home=tmp_path, providers=[stuck.provider]) as runtime:
        run = await runtime.start(scenario())
        with anyio.fail_after(5):
            await stuck.asked.wait()
            outcome = await run.cancel("enough")

        finished = [e async for e in run.events() if isinstance(e, TicketFinished)]

    assert [event.state for event in finished] == ["cancelled"]
    assert (outcome.state, outcome.reason) == (RunState.CANCELLED, "enough")
    assert outcome.tickets[0].state is TicketState.CANCELLED
    assert outcome.costs.total.unknown_calls == 1


async def test_a_cancel_right_after_the_start_is_a_cancel(tmp_path: Path) -> None:
    stuck = Stuck()
    async with Runtime(home=tmp_path, providers=[stuck.provider]) as runtime:
        run = await runtime.start(scenario())
        with anyio.fail_after(5):
            outcome = await run.cancel()

    assert outcome.state is RunState.CANCELLED


async def test_a_cancel_after_the_end_changes_nothing(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        run = await runtime.start(scenario())
        await run.outcome()

        assert (await run.cancel()).completed


async def test_leaving_the_runtime_cancels_its_runs(tmp_path: Path) -> None:
    stuck = Stuck()
    with anyio.fail_after(5):
        async with Runtime(home=tmp_path, providers=[stuck.provider]) as runtime:
            run = await runtime.start(scenario())
            await stuck.asked.wait()

        outcome = await run.outcome()

    assert outcome.state is RunState.CANCELLED
    assert outcome.costs.total.unknown_calls == 1


async def test_cancelling_the_host_ends_the_run_and_the_costs_are_known(
    tmp_path: Path,
) -> None:
    stuck = Stuck()
    run: Run | None = None
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with Runtime(home=tmp_path, providers=[stuck.provider]) as runtime:
            run = await runtime.start(scenario())
            await stuck.asked.wait()
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert run is not None
    outcome = await run.outcome()
    assert outcome.state is RunState.CANCELLED
    assert outcome.costs.total.unknown_calls == 1


async def test_an_error_of_our_own_ends_the_runtime_and_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Run, "_conduct", broken)

    with anyio.fail_after(5), pytest.raises(ZeroDivisionError):
        async with Runtime(home=tmp_path, providers=[team()]) as runtime:
            await runtime.start(scenario())


async def test_an_error_of_the_host_comes_out_as_it_is(tmp_path: Path) -> None:
    stuck = Stuck()
    with pytest.raises(ZeroDivisionError):
        async with Runtime(home=tmp_path, providers=[stuck.provider]) as runtime:
            await runtime.start(scenario())
            raise ZeroDivisionError


async def test_an_error_in_a_reader_of_events_does_not_end_the_run(
    tmp_path: Path,
) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        run = await runtime.start(scenario())
        with pytest.raises(ZeroDivisionError):
            async for _event in run.events():
                raise ZeroDivisionError

        assert (await run.outcome()).completed


async def test_a_hosts_own_tool_is_used_beside_the_native_ones(tmp_path: Path) -> None:
    @tool
    async def weather(city: str) -> str:
        """Tell the weather."""
        return f"rain in {city}"

    def work(request: ChatRequest) -> Said:
        return use("weather", city="Bergen") if request.turn == 1 else "it rains"

    models = team(ticket=work)
    async with Runtime(home=tmp_path, providers=[models], tools=[weather]) as runtime:
        run = await runtime.start(scenario())
        events = [event async for event in run.events()]

    assert "rain in Bergen" in str(models.requests[1].turns)
    assert [e.tool for e in events if isinstance(e, ToolCallFinished)] == ["weather"]


# --- the user's folder ----------------------------------------------------------


def writes(name: str, text: str) -> Callable[[ChatRequest], Said]:
    def work(request: ChatRequest) -> Said:
        if request.turn == 1:
            return use("write_file", path=name, content=text)

        return "done"

    return work


@pytest.mark.parametrize("asked", [True, False])
async def test_changes_are_applied_when_they_are_asked_for(
    tmp_path: Path, asked: bool
) -> None:
    folder = project(tmp_path / "project", a__txt="old\n")
    models = team(ticket=writes("a.txt", "new\n"))
    async with Runtime(home=tmp_path / "home", providers=[models]) as runtime:
        run = await runtime.start(scenario(workspace={"path": folder}), apply=asked)
        outcome = await run.outcome()

    assert outcome.completed
    assert outcome.applied is asked
    assert (folder / "a.txt").read_text() == ("new\n" if asked else "old\n")
    assert outcome.tree is not None
    assert (outcome.tree / "a.txt").read_text() == "new\n"
    assert outcome.patch is not None
    assert "+new" in outcome.patch.read_text()


async def test_a_run_that_failed_applies_nothing(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", a__txt="old\n")
    models = team(ticket=writes("a.txt", "new\n"))
    async with Runtime(home=tmp_path / "home", providers=[models]) as runtime:
        run = await runtime.start(
            scenario(
                workspace={"path": folder, "apply": True},
                expect={"files": ["missing.txt"]},
            )
        )
        outcome = await run.outcome()

    assert outcome.state is RunState.FAILED
    assert "missing.txt" in outcome.reason
    assert not outcome.applied
    assert (folder / "a.txt").read_text() == "old\n"


async def test_a_folder_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", a__txt="old\n")

    def work(request: ChatRequest) -> Said:
        (folder / "a.txt").write_text("by the user\n")
        return writes("a.txt", "new\n")(request)

    async with Runtime(home=tmp_path / "h", providers=[team(ticket=work)]) as runtime:
        run = await runtime.start(scenario(workspace={"path": folder}), apply=True)
        outcome = await run.outcome()

    assert outcome.state is RunState.FAILED
    assert "a.txt" in outcome.reason
    assert (folder / "a.txt").read_text() == "by the user\n"
    assert outcome.tree is not None
    assert (outcome.tree / "a.txt").read_text() == "new\n"


async def test_a_cancelled_run_leaves_no_checkout_and_no_command(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path / "project", a__txt="old\n")
    models = team(ticket=use("run_command", command="sleep 600"))
    async with Runtime(home=tmp_path / "home", providers=[models]) as runtime:
        run = await runtime.start(scenario(workspace={"path": folder}))
        async for event in run.events():
            if type(event).__name__ == "ToolCallStarted":
                break

        with anyio.fail_after(10):
            outcome = await run.cancel()

    assert outcome.state is RunState.CANCELLED
    assert outcome.folder is not None
    assert not (outcome.folder / "checkouts").exists()


# --- what is refused before anything runs ---------------------------------------


async def refused(runtime: Runtime, given: Scenario | str | Path) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        await runtime.start(given)

    return caught.value


async def test_a_runtime_that_is_not_entered_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Runtime().start(scenario())


async def test_a_runtime_that_has_been_left_says_that_it_has() -> None:
    async with Runtime() as runtime:
        pass

    with pytest.raises(RuntimeError, match="the runtime has been left"):
        await runtime.start(scenario())


@pytest.mark.parametrize("journal", [False, True])
async def test_a_run_that_is_refused_leaves_no_copy_of_the_workspace(
    tmp_path: Path, journal: bool
) -> None:
    source = project(tmp_path / "project", a__txt="one\n")
    given = scenario(workspace={"path": str(source)}, rules=["gone.md"])
    home = tmp_path / "home"
    async with Runtime(home=home, providers=[team()], journal=journal) as runtime:
        error = await refused(runtime, given)

    assert "gone.md" in str(error)
    assert list((home / "runs").iterdir()) == []


async def test_a_fork_that_is_refused_leaves_no_run(tmp_path: Path) -> None:
    models = Changes(models={"worker": "openai:gpt-4o-mini"})
    async with Runtime(
        home=tmp_path, providers=[team()], journal=True, environment={}
    ) as runtime:
        run = await runtime.start(scenario())
        await run.outcome()
        with pytest.raises(CredentialsMissing):
            await runtime.fork(run.id, ForkPoint(event=1), models)

    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == [run.id]


async def test_a_runtime_that_is_being_left_starts_nothing_more(
    tmp_path: Path,
) -> None:
    at_work, may_end = anyio.Event(), anyio.Event()

    @tool
    async def linger() -> str:
        """Take long to end."""
        at_work.set()
        with anyio.CancelScope(shield=True):
            await may_end.wait()

        return "ended"

    async def start_late(runtime: Runtime) -> None:
        await anyio.wait_all_tasks_blocked()
        try:
            with pytest.raises(RuntimeError, match="being left"):
                await runtime.start(scenario())
        finally:
            may_end.set()

    models = team(ticket=lambda request: use("linger"))
    with anyio.fail_after(10):
        async with (
            anyio.create_task_group() as tasks,
            Runtime(home=tmp_path, providers=[models], tools=[linger]) as runtime,
        ):
            await runtime.start(scenario())
            await at_work.wait()
            tasks.start_soon(start_late, runtime)

    assert len(models.requests) == 1


async def test_inputs_are_for_files(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        with pytest.raises(ConfigurationError, match="inputs are for scenario files"):
            await runtime.start(scenario(), inputs={"what": "something"})


async def test_a_missing_file_is_a_problem_of_the_scenario(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, environment={}) as runtime:
        error = await refused(runtime, tmp_path / "gone.yaml")

    assert isinstance(error, ScenarioInvalid)


async def test_a_missing_key_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, environment={}) as runtime:
        error = await refused(
            runtime, scenario(tiers={"worker": {"model": "openai:gpt-4o-mini"}})
        )

    assert isinstance(error, CredentialsMissing)
    assert "OPENAI_API_KEY" in str(error)


async def test_an_unknown_provider_is_named_with_a_near_miss(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, environment={}) as runtime:
        error = await refused(
            runtime, scenario(tiers={"worker": {"model": "opanai:gpt-4o-mini"}})
        )

    assert isinstance(error, UnknownProvider)
    assert "'openai'" in str(error) or "`openai`" in str(error)


async def test_a_tier_without_a_model_is_named(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, environment={}) as runtime:
        error = await refused(runtime, scenario(tiers={"worker": {}}))

    assert "tiers.worker.model" in str(error)


async def test_an_unknown_tool_is_named_with_a_near_miss(tmp_path: Path) -> None:
    models = team()
    async with Runtime(home=tmp_path, providers=[models]) as runtime:
        error = await refused(
            runtime,
            scenario(tiers={"worker": {"model": "function:m", "tools": ["read_fil"]}}),
        )

    assert "`read_file`" in str(error)


async def test_a_budget_in_dollars_needs_a_price(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        error = await refused(runtime, scenario(budget={"usd": 1}))

    assert "function:m" in str(error)
    assert "prices" in str(error)


async def test_a_scripted_tier_needs_a_script(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path) as runtime:
        with pytest.raises(ConfigurationError, match="`script`"):
            await runtime.start(scenario(), models={"worker": "scripted:worker"})


async def test_a_bad_bound_in_the_environment_is_named(tmp_path: Path) -> None:
    environment = {"MAX_TOOL_ROUNDS": "many"}
    async with Runtime(
        home=tmp_path, providers=[team()], environment=environment
    ) as runtime:
        error = await refused(runtime, scenario())

    assert "MAX_TOOL_ROUNDS" in str(error)


async def test_a_workspace_that_is_missing_is_named(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        with pytest.raises(WorkspaceError, match="gone"):
            await runtime.start(scenario(workspace={"path": tmp_path / "gone"}))


async def test_a_run_that_could_not_begin_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, folder: Path, repository: object) -> None:
        (folder / "tree").mkdir(parents=True)
        raise WorkspaceError("the disk is full")

    monkeypatch.setattr(Integration, "copied", fail)
    work = project(tmp_path / "work", a__txt="a\n")
    async with Runtime(home=tmp_path / "home", providers=[team()]) as runtime:
        with pytest.raises(WorkspaceError, match="disk is full"):
            await runtime.start(scenario(workspace={"path": work}))

    assert list((tmp_path / "home").glob("runs/*")) == []


def test_two_providers_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two providers are named 'function'"):
        Runtime(providers=[team(), team()])


async def test_a_workspace_inside_the_runs_folder_is_refused(tmp_path: Path) -> None:
    inside = project(tmp_path / "home", a__txt="a\n")
    async with Runtime(home=tmp_path / "home", providers=[team()]) as runtime:
        with pytest.raises(WorkspaceError, match="inside"):
            await runtime.start(scenario(workspace={"path": inside}))
