"""Calls that must not happen twice happen once, however a run goes on."""

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from anyio import to_thread, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from mma_runtime import Run, Runtime, Scenario
from mma_runtime.errors import NotRepeated, Refused, ScenarioInvalid
from mma_runtime.events import Origin
from mma_runtime.llm.chat import ChatRequest, ToolTurn
from mma_runtime.outcome import Outcome, RunState
from mma_runtime.recording.forking import ForkPoint
from mma_runtime.scenario.load import loads
from mma_runtime.supervisor.once import Once
from mma_runtime.testing import FunctionProvider
from mma_runtime.tools.approval import Approval
from mma_runtime.tools.command import CommandResult
from mma_runtime.tools.tool import FunctionTool, tool
from tests.team import Said, project, scenario, team, use


class World:
    """What a tool changes outside of the run; it can be stopped in the middle."""

    def __init__(self, folder: Path) -> None:
        self.sent: list[str] = []
        self.hangs = False
        self.fails = False
        self.reached = anyio.Event()
        self.home = folder / ".mma"
        self.folder = folder
        self.work = project(folder / "work", a__txt="a\n")

    def tool(self) -> FunctionTool:
        @tool
        async def send(text: str) -> str:
            """Send a text to somebody."""
            self.sent.append(text)
            if self.hangs:
                self.reached.set()
                await anyio.sleep_forever()

            if self.fails:
                raise RuntimeError("the line is dead")

            return f"sent {text}"

        return send

    def scenario(self, **keys: object) -> Scenario:
        keys.setdefault("once", {"send": True})
        return scenario(workspace={"path": self.work}, **keys)

    async def play(
        self,
        begin: Callable[[Runtime], Awaitable[Run]],
        provider: FunctionProvider | None = None,
        act: Callable[[Run], Awaitable[object]] | None = None,
    ) -> tuple[Run, Outcome]:
        async with Runtime(
            home=self.home,
            providers=[provider or team(ticket=sends)],
            tools=[self.tool()],
            journal=True,
            environment={},
        ) as runtime:
            run = await begin(runtime)
            if act is not None:
                await act(run)

            return run, await run.outcome()

    async def cut_off(self, given: Scenario) -> None:
        """Begin a run and cancel it while its call is under way."""
        self.hangs = True

        async def cancel(run: Run) -> None:
            await self.reached.wait()
            await run.cancel()

        await self.play(lambda runtime: runtime.start(given), act=cancel)
        self.hangs = False


def sends(request: ChatRequest) -> Said:
    """Send a text, then be done."""
    if isinstance(request.turns[-1], ToolTurn):
        return "done"

    return use("send", text="hello")


def last_result(provider: FunctionProvider) -> str:
    turn = provider.requests[-1].turns[-1]
    assert isinstance(turn, ToolTurn)
    return str(turn.results[0].content)


async def answer(run: Run, approval: Approval) -> None:
    with anyio.fail_after(10):
        while not run.questions:
            await checkpoint()

    (question,) = run.questions
    assert "nobody knows how it ended" in question.why
    run.answer(question.id, approval)


async def test_a_call_that_was_cut_off_runs_again_if_somebody_says_so(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    await world.cut_off(world.scenario())

    _, outcome = await world.play(
        lambda runtime: runtime.resume("last"),
        act=lambda run: answer(run, Approval.approve()),
    )

    assert outcome.state is RunState.COMPLETED
    assert world.sent == ["hello", "hello"]


async def test_a_call_that_was_cut_off_fails_its_ticket_if_nobody_wants_it_again(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    await world.cut_off(world.scenario())

    _, outcome = await world.play(
        lambda runtime: runtime.resume("last"),
        act=lambda run: answer(run, Approval.reject("it has arrived")),
    )
    replayed, _ = await world.play(
        lambda runtime: runtime.replay("last", tmp_path / "scratch")
    )

    assert outcome.state is RunState.FAILED
    assert "to run once" in outcome.tickets[0].reason
    assert "it has arrived" in outcome.tickets[0].reason
    assert outcome.tickets[0].attempts == 1
    assert world.sent == ["hello"]
    assert replayed.difference == ""


async def test_a_call_that_was_cut_off_counts_as_made_if_somebody_says_so(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    await world.cut_off(world.scenario())

    def twice(request: ChatRequest) -> Said:
        return "done" if request.turn == 3 else use("send", text="hello")

    provider = team(ticket=twice)
    _, outcome = await world.play(
        lambda runtime: runtime.resume("last"),
        provider,
        act=lambda run: answer(run, Approval.happened("it has arrived")),
    )
    replayed, _ = await world.play(
        lambda runtime: runtime.replay("last", tmp_path / "scratch")
    )

    assert outcome.state is RunState.COMPLETED
    assert world.sent == ["hello"]
    # Whoever asks for it once more hears the same, and nobody is asked again.
    assert "it has arrived" in last_result(provider)
    assert replayed.difference == ""


async def test_without_an_answer_it_is_not_run_and_asked_about_once_more(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    approvals = {"policy": {"*": "auto"}, "seconds": 0.01}
    await world.cut_off(world.scenario(approvals=approvals))

    for _ in range(2):
        _, outcome = await world.play(lambda runtime: runtime.resume("last"))
        assert outcome.state is RunState.FAILED
        assert "nobody answered" in outcome.tickets[0].reason

    assert world.sent == ["hello"]


async def test_what_succeeded_is_the_answer_to_the_same_call(tmp_path: Path) -> None:
    world = World(tmp_path)

    def twice(request: ChatRequest) -> Said:
        return "done" if request.turn == 3 else use("send", text="hello")

    provider = team(ticket=twice)
    _, outcome = await world.play(
        lambda runtime: runtime.start(world.scenario()), provider
    )

    assert outcome.state is RunState.COMPLETED
    assert world.sent == ["hello"]
    assert "has run before" in last_result(provider)
    assert "sent hello" in last_result(provider)


async def test_other_calls_of_the_same_tool_are_not_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)

    def two(request: ChatRequest) -> Said:
        texts = {1: "hello", 2: "bye"}
        found = texts.get(request.turn)
        return use("send", text=found) if found else "done"

    await world.play(lambda runtime: runtime.start(world.scenario()), team(ticket=two))

    assert world.sent == ["hello", "bye"]


async def test_what_failed_is_asked_about(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.fails = True
    approvals = {"policy": {"*": "auto"}, "seconds": 0.01}

    def stubborn(request: ChatRequest) -> Said:
        return "done" if request.turn == 3 else use("send", text="hello")

    _, outcome = await world.play(
        lambda runtime: runtime.start(world.scenario(approvals=approvals)),
        team(ticket=stubborn),
    )

    assert outcome.state is RunState.FAILED
    assert "it failed before" in outcome.tickets[0].reason
    assert world.sent == ["hello"]


async def test_what_succeeded_stays_done_where_a_ticket_is_lived_anew(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    first, _ = await world.play(lambda runtime: runtime.start(world.scenario()))

    provider = team(ticket=sends)
    forked, outcome = await world.play(
        lambda runtime: runtime.fork(first.id, ForkPoint(event=4)), provider
    )
    replayed, _ = await world.play(
        lambda runtime: runtime.replay(forked.id, tmp_path / "scratch")
    )

    assert outcome.state is RunState.COMPLETED
    assert world.sent == ["hello"]
    assert "sent hello" in last_result(provider)
    assert replayed.difference == ""


async def test_a_fork_asks_about_what_nobody_knows_the_end_of(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.cut_off(world.scenario())

    await world.play(
        lambda runtime: runtime.fork("last", ForkPoint(event=4)),
        act=lambda run: answer(run, Approval.reject("it may have arrived")),
    )

    assert world.sent == ["hello"]


async def test_an_acceptance_command_runs_once_though_the_work_is_returned(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    deploy = "python -c \"open('deployed','a').write('x')\""
    given = scenario(
        workspace={"path": world.work},
        tickets=[
            {"id": "one", "description": "do it", "acceptance": [deploy, "test -e b"]}
        ],
        once={"run_command": ["python -c *"]},
    )

    def late(request: ChatRequest) -> Said:
        if request.turn == 2:
            return use("write_file", path="b", content="b\n")

        return "done"

    _, outcome = await world.play(
        lambda runtime: runtime.start(given), team(ticket=late)
    )

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert outcome.tree is not None
    assert (outcome.tree / "deployed").read_text() == "x"


class Deployment:
    """A command that notes each of its runs outside of them, and waits in the first."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.gate = folder / "gate"
        os.mkfifo(self.gate)
        # It counts as begun when it opens the gate; the second time it is open.
        code = (
            f"open('{self.log}','a').write('x');"
            f" len(open('{self.log}').read()) > 1 or open('{self.gate}').read()"
        )
        self.command = f'python -c "{code}"'

    @property
    def runs(self) -> int:
        return len(self.log.read_text()) if self.log.exists() else 0

    async def cut_off(self, run: Run) -> None:
        """Cancel *run* while the command is under way."""
        gate = await to_thread.run_sync(os.open, self.gate, os.O_WRONLY)
        try:
            await run.cancel()
        finally:
            os.close(gate)


ANSWERS = pytest.mark.parametrize(
    ("said", "runs", "state"),
    [
        (Approval.approve(), 2, RunState.COMPLETED),
        (Approval.happened(), 1, RunState.COMPLETED),
        (Approval.reject("it is half done"), 1, RunState.FAILED),
    ],
    ids=["again", "happened", "fail"],
)


@ANSWERS
async def test_an_acceptance_command_may_be_marked_where_a_plan_writes_it(
    tmp_path: Path, said: Approval, runs: int, state: RunState
) -> None:
    world, deployment = World(tmp_path), Deployment(tmp_path)
    plan = {
        "id": "one",
        "description": "do it",
        "acceptance": ["true", {"run": deployment.command, "once": True}],
    }
    given = scenario(
        workspace={"path": world.work},
        sandbox="off",
        track={"id": "track", "goal": "a goal"},
    )
    lead = team(plan_track=json.dumps({"tickets": [plan]}))

    await world.play(lambda runtime: runtime.start(given), lead, act=deployment.cut_off)
    _, outcome = await world.play(
        lambda runtime: runtime.resume("last"),
        lead,
        act=lambda run: answer(run, said),
    )
    replayed, _ = await world.play(
        lambda runtime: runtime.replay("last", tmp_path / "scratch")
    )

    assert outcome.state is state, outcome.reason
    assert deployment.runs == runs
    assert replayed.difference == ""


@ANSWERS
async def test_an_expected_command_may_be_marked_as_well(
    tmp_path: Path, said: Approval, runs: int, state: RunState
) -> None:
    world, deployment = World(tmp_path), Deployment(tmp_path)
    given = scenario(
        workspace={"path": world.work},
        sandbox="off",
        expect={"commands": [{"run": deployment.command, "once": True}]},
    )

    await world.play(lambda runtime: runtime.start(given), act=deployment.cut_off)
    _, outcome = await world.play(
        lambda runtime: runtime.resume("last"), act=lambda run: answer(run, said)
    )

    assert outcome.state is state, outcome.reason
    assert deployment.runs == runs


async def test_a_marked_command_runs_once_whoever_asks_for_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    log = tmp_path / "log"
    deploy = f"python -c \"open('{log}','a').write('x')\""

    def eager(request: ChatRequest) -> Said:
        return use("run_command", command=deploy) if request.turn == 1 else "done"

    given = scenario(
        workspace={"path": world.work},
        sandbox="off",
        tickets=[
            {
                "id": "one",
                "description": "do it",
                "acceptance": [{"run": deploy, "once": True}],
            }
        ],
        expect={"commands": [{"run": deploy, "once": True}]},
    )
    provider = team(ticket=eager)
    _, outcome = await world.play(lambda runtime: runtime.start(given), provider)

    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert log.read_text() == "x"
    assert "is run once, when you are done" in str(provider.requests[0].turns)


async def test_a_yes_to_all_alike_is_none_to_what_may_have_happened(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    await world.cut_off(world.scenario())

    async def say(run: Run) -> None:
        question = await anext(run.asked())
        for unfit in (
            Approval.approve(all_alike=True),
            Approval.approve({"text": "something else"}),
        ):
            with pytest.raises(Refused, match="this one alone"):
                run.answer(question.id, unfit)

        run.answer(question.id, Approval.reject("no"))

    await world.play(lambda runtime: runtime.resume("last"), act=say)

    assert world.sent == ["hello"]


async def test_only_what_is_to_happen_once_can_have_happened(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def say(run: Run) -> None:
        question = await anext(run.asked())
        with pytest.raises(Refused, match="may have happened already"):
            run.answer(question.id, Approval.happened())

        run.answer(question.id, Approval.approve())

    given = world.scenario(once={}, approvals={"policy": {"send": "ask"}})
    await world.play(lambda runtime: runtime.start(given), act=say)

    assert world.sent == ["hello"]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{run: ./deploy.sh, onec: true}", "unknown key; did you mean `once`?"),
        ("{once: true}", "acceptance[0].run: is missing"),
        ("{run: ./deploy.sh, once: 3}", "should be true or false"),
        ('{run: "", once: true}', "an empty command"),
        ("[./deploy.sh]", "should be text, not a list"),
    ],
)
def test_a_command_that_is_not_written_as_one_is_one_problem(
    entry: str, problem: str
) -> None:
    text = f"""
tickets: [{{id: a, description: b, acceptance: [{entry}]}}]
tiers: {{worker: {{model: "openai:gpt-4o-mini"}}}}
"""
    with pytest.raises(ScenarioInvalid) as caught:
        loads(text, file="x.yaml", folder=Path())

    (found,) = caught.value.problems
    assert problem in f"{found.path}: {found.message}"


@pytest.mark.parametrize(
    ("once", "problem"),
    [
        ("{run_comand: true}", "run_command"),
        ("{run_command: 3}", "once"),
        ("[run_command]", "once"),
    ],
)
def test_a_table_that_protects_nothing_is_a_problem(once: str, problem: str) -> None:
    text = f"""
tickets: [{{id: a, description: b}}]
tiers: {{worker: {{model: "scripted:worker"}}}}
script: x.yaml
once: {once}
"""
    with pytest.raises(ScenarioInvalid) as caught:
        loads(text, file="x.yaml", folder=Path())

    assert problem in str(caught.value)


@pytest.mark.parametrize("ending", ["done", "failed", "cancelled"])
async def test_who_wants_a_call_that_is_under_way_waits_for_what_it_comes_to(
    ending: str,
) -> None:
    once = Once()
    once.mark(["./deploy"])
    began: list[str] = []
    said: list[str] = []
    go_on = anyio.Event()

    async def ticket(name: str) -> None:
        async def run() -> CommandResult:
            began.append(name)
            await go_on.wait()
            return CommandResult(exit_code=int(ending == "failed"), output="deployed")

        try:
            result = await once.run_command("./deploy", Origin(ticket=name), run)
        except NotRepeated as error:
            said.append(f"{name}: {error}")
        else:
            said.append(f"{name}: {result.output}")

    async with anyio.create_task_group() as group, anyio.create_task_group() as first:
        first.start_soon(ticket, "a")
        await wait_all_tasks_blocked()
        group.start_soon(ticket, "b")
        await wait_all_tasks_blocked()
        assert said == []
        if ending == "cancelled":
            first.cancel_scope.cancel()
        go_on.set()

    assert began == ["a"]
    if ending == "done":
        assert said == ["a: deployed", "b: deployed"]
    else:
        why = {"failed": "it failed before", "cancelled": "nobody knows how it ended"}
        assert why[ending] in said[-1]
