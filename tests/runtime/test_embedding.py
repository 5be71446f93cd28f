"""The runtime inside other people's programs: what it touches, and what they bring."""

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, getcontext
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
import structlog

from mma_agents import TierAgent
from mma_runtime import (
    Actor,
    Agent,
    Budget,
    Message,
    Outcome,
    Ref,
    Request,
    Run,
    RunState,
    Runtime,
    Scenario,
    Ticket,
    Tier,
    TierOptions,
    Tiers,
    Usage,
    Workspace,
    handles,
    tool,
)
from mma_runtime.errors import (
    ConfigurationError,
    NameTaken,
    Refused,
    RestartsExhausted,
)
from mma_runtime.events import (
    ActorRestarted,
    ApprovalAsked,
    EventsSkipped,
    ReviewGiven,
    RunFinished,
)
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Text,
    TextDelta,
    ToolSpec,
)
from mma_runtime.llm.provider import Capabilities, ModelInfo
from mma_runtime.runtime import tier_agents
from mma_runtime.scenario.load import loads
from mma_runtime.tiers import Review, ReviewTicket
from mma_runtime.tools.tool import Content
from tests.team import MODELS, Said, project, scenario, team, use

WORKER = Tiers(worker=TierOptions(model="function:m"))


async def one_run(home: Path) -> Outcome:
    async with Runtime(home=home, providers=[team()]) as runtime:
        run = await runtime.start(scenario())
        return await run.outcome()


# --- what it touches ------------------------------------------------------------


def test_it_runs_on_uvloop(tmp_path: Path) -> None:
    outcome = anyio.run(one_run, tmp_path, backend_options={"use_uvloop": True})

    assert outcome.completed


def world() -> dict[str, Any]:
    """Return what a library must leave alone."""
    root = logging.getLogger()
    return {
        "signals": {one: signal.getsignal(one) for one in signal.valid_signals()},
        "logging": (root.level, list(root.handlers), logging.raiseExceptions),
        "loggers": {
            name: (one.level, list(one.handlers), one.propagate, one.disabled)
            for name, one in logging.root.manager.loggerDict.items()
            if isinstance(one, logging.Logger)
        },
        "structlog": (structlog.is_configured(), structlog.get_config()),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "path": list(sys.path),
        "policy": asyncio.get_event_loop_policy(),  # pyright: ignore[reportDeprecated] - until it is gone
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
        "warnings": list(warnings.filters),
        "decimals": repr(getcontext()),
        "asyncgen": sys.get_asyncgen_hooks().firstiter is None,
    }


def command_and_file(request: ChatRequest) -> Said:
    """Answer as a worker that uses both."""
    steps: list[Said] = [
        use("run_command", command="ls"),
        use("write_file", path="b.txt", content="b"),
        "done",
    ]
    return steps[request.turn - 1]


@pytest.fixture(params=["silent", "logged"])
def structlog_of_the_host(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "logged":
        structlog.configure(
            processors=[structlog.processors.JSONRenderer()],
            logger_factory=structlog.ReturnLoggerFactory(),
        )

    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("structlog_of_the_host")
async def test_nothing_global_is_touched(tmp_path: Path) -> None:
    keys = {"workspace": {"path": str(project(tmp_path / "p", a__txt="a"))}}
    import_module("mma_runtime.logs")  # What it makes when it is loaded is its own.
    before = world()
    async with Runtime(
        home=tmp_path / "home", providers=[team(ticket=command_and_file)], journal=True
    ) as runtime:
        run = await runtime.start(scenario(**keys))
        assert (await run.outcome()).completed
        during = world()

    assert during == before
    assert world() == before


@pytest.mark.parametrize("recorded", [False, True], ids=["kept nowhere", "recorded"])
async def test_a_run_that_has_ended_leaves_no_circles_of_its_parts(
    tmp_path: Path, *, recorded: bool
) -> None:
    async with Runtime(
        home=tmp_path / "home",
        providers=[team(ticket=command_and_file)],
        journal=recorded,
    ) as runtime:
        # The first run loads and builds what later ones share.
        for number in range(2):
            folder = project(tmp_path / f"p{number}", a__txt="a")
            gc.collect()
            gc.disable()
            try:
                run = await runtime.start(scenario(workspace={"path": str(folder)}))
                assert (await run.outcome()).completed
                del run
                await anyio.wait_all_tasks_blocked()
                gc.set_debug(gc.DEBUG_SAVEALL)
                gc.collect()
                left: list[object] = gc.garbage
                parts = {
                    part.__class__
                    for part in left
                    if part.__class__.__module__.startswith("mma_")
                }
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()

            assert number == 0 or parts == set()


async def test_no_thread_is_started_for_a_run_without_files(tmp_path: Path) -> None:
    threads: list[set[threading.Thread]] = []

    def work(_request: ChatRequest) -> Said:
        threads.append(set(threading.enumerate()))
        return "done"

    before = set(threading.enumerate())
    async with Runtime(home=tmp_path / "h", providers=[team(ticket=work)]) as runtime:
        run = await runtime.start(scenario())
        assert (await run.outcome()).completed

    # One that an earlier test has left may end meanwhile.
    assert [those - before for those in threads] == [set()]
    assert not (tmp_path / "h").exists()


async def test_many_runs_of_several_runtimes_go_on_at_once(tmp_path: Path) -> None:
    meeting = anyio.Event()
    waiting: list[str] = []

    async def work(request: ChatRequest) -> Said:
        waiting.append(request.origin.run)
        if len(waiting) == 30:
            meeting.set()

        with anyio.fail_after(10):
            await meeting.wait()

        return "done"

    answer = {"ticket": work}
    async with (
        Runtime(home=tmp_path / "a", providers=[team(**answer)]) as first,
        Runtime(home=tmp_path / "b", providers=[team(**answer)]) as second,
    ):
        runs = [await r.start(scenario()) for r in (first, second) for _ in range(15)]
        outcomes = [await run.outcome() for run in runs]
        spent = [(await r.costs()).total.calls for r in (first, second)]

    assert {outcome.state for outcome in outcomes} == {RunState.COMPLETED}
    assert len(set(waiting)) == 30
    assert spent == [15, 15]


async def test_a_slow_reader_is_told_once_and_never_slows_the_run(
    tmp_path: Path,
) -> None:
    tickets = [{"id": f"t{n}", "description": "do it"} for n in range(50)]
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        run = await runtime.start(scenario(tickets=tickets))
        reader = run.events(capacity=10)
        await run.outcome()
        events = [event async for event in reader]

    skipped = [event for event in events if isinstance(event, EventsSkipped)]
    assert len(skipped) == 1
    assert len(events) == 11
    assert isinstance(events[-1], RunFinished)
    assert skipped[0].count == events[1].seq - 1


async def test_costs_of_thousands_of_runs_take_the_room_of_one_thousand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mma_runtime.costs.tally.Tally.__init__.__defaults__", (2,))
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        for _ in range(5):
            run = await runtime.start(scenario())
            await run.outcome()

        report = await runtime.costs()

    assert report.total.calls == 5
    assert len(report.lines) == 3


# --- orders and questions -------------------------------------------------------


ASKING = {"approvals": {"policy": {"*": "ask"}}}


@tool
async def deploy(target: str) -> str:
    """Deploy to a target."""
    return f"deployed to {target}"


async def question_of(run: Run) -> str:
    async for event in run.events():
        if isinstance(event, ApprovalAsked):
            break

    while not run.questions:
        await anyio.lowlevel.checkpoint()

    return run.questions[0].id


def deploys(request: ChatRequest) -> Said:
    return use("deploy", target="here") if request.turn == 1 else "done"


@pytest.mark.parametrize("yes", [True, False])
async def test_a_question_is_answered_by_its_id(tmp_path: Path, yes: bool) -> None:
    models = team(ticket=deploys)
    async with Runtime(home=tmp_path, providers=[models], tools=[deploy]) as runtime:
        run = await runtime.start(scenario(**ASKING))
        with anyio.fail_after(5):
            question = await question_of(run)
            if yes:
                run.approve(question, {"target": "there"})
            else:
                run.reject(question, "not today")

            await run.outcome()

    said = str(models.requests[1].turns[-1])
    assert ("deployed to there" in said) is yes
    assert ("not today" in said) is not yes


async def test_a_question_that_is_not_open_cannot_be_approved(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        run = await runtime.start(scenario())
        with pytest.raises(Refused, match="no open question 'one'"):
            run.approve("one")

        await run.outcome()


# --- from Python objects --------------------------------------------------------


def test_a_scenario_in_python_is_the_same_as_its_file(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    written = loads(
        """
        name: todo
        workspace: {path: project, apply: true}
        budget: {usd: 0.50, ticket: {calls: 5}}
        tiers: {worker: {model: 'openai:gpt-4o-mini', max_tool_rounds: 12}}
        tickets:
          - {id: a, description: Write it., target_file: README.md}
          - {id: b, description: Check it., depends_on: [a]}
        """,
        folder=tmp_path,
    )

    built = Scenario(
        name="todo",
        workspace=Workspace(path=tmp_path / "project", apply=True),
        budget=Budget(usd=Decimal("0.50"), ticket=Budget(calls=5)),
        tiers=Tiers(worker=TierOptions(model="openai:gpt-4o-mini", max_tool_rounds=12)),
        tickets=(
            Ticket(id="a", description="Write it.", target_file="README.md"),
            Ticket(id="b", description="Check it.", depends_on=("a",)),
        ),
    )

    assert built.model_dump() == written.model_dump()


def test_a_scenario_in_python_is_checked_as_a_whole() -> None:
    ticket = Ticket(id="a", description="x", depends_on=("b",))
    with pytest.raises(ValueError, match="'b'"):
        Scenario(tiers=WORKER, tickets=(ticket,))


# --- agents, providers and tools of one's own -----------------------------------


class Strict(TierAgent):
    """A reviewer that needs no model."""

    tier = Tier.TECH_LEAD

    @handles
    async def review(self, request: ReviewTicket) -> Review:
        good = "tested" in request.ticket.description
        return Review(accepted=good, remarks="" if good else "say that it is tested")


REVIEWED = {"tiers": {"tech_lead": MODELS["tech_lead"]}}


async def reviews(runtime: Runtime, description: str) -> list[bool]:
    tickets = [{"id": "one", "description": description}]
    run = await runtime.start(scenario(tickets=tickets, **REVIEWED))
    events = [event async for event in run.events()]
    return [event.accepted for event in events if isinstance(event, ReviewGiven)]


@pytest.mark.parametrize("name", ["tech_lead", "tier2", "2"])
async def test_a_tier_agent_of_ones_own_is_passed_by_its_tiers_name(
    tmp_path: Path, name: str
) -> None:
    async with Runtime(
        home=tmp_path, providers=[team()], agents={name: Strict}
    ) as runtime:
        assert await reviews(runtime, "tested") == [True]
        assert not any(await reviews(runtime, "hurried"))


@pytest.fixture
def nothing_looked_up() -> Iterator[None]:
    """What is installed is looked up once; here that is to be forgotten."""
    tier_agents.installed_agents.cache_clear()
    yield
    tier_agents.installed_agents.cache_clear()


@pytest.mark.usefixtures("nothing_looked_up")
async def test_a_tier_agent_of_ones_own_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("tech_lead", f"{__name__}:Strict", "mma.agents")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Strict.__module__])
    monkeypatch.setattr(tier_agents, "entry_points", Mock(return_value=(point,)))
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        assert await reviews(runtime, "tested") == [True]


@pytest.mark.usefixtures("nothing_looked_up")
async def test_what_is_installed_is_looked_up_once_for_all_tiers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Mock(return_value=())
    monkeypatch.setattr(tier_agents, "entry_points", look)
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        for _ in range(2):
            run = await runtime.start(scenario(epic="do it"))
            await run.outcome()

    assert look.call_count == 1


def test_an_agent_for_a_tier_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="did you mean `tech_lead`"):
        Runtime(agents={"teck_lead": Strict})


class Echo:
    """A provider of one's own: it says what it was asked."""

    name = "echo"

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion, None]:
        text = f"{request.model} heard {len(request.turns)} turns"
        yield TextDelta(text)
        yield Completion(
            turn=AssistantTurn((Text(text),)),
            finish=Finish.STOP,
            usage=Usage(input=3, output=2),
            model=request.model,
        )

    async def models(self) -> tuple[ModelInfo, ...]:
        return ()

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities()

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        return self.name, model, False

    async def aclose(self) -> None:
        raise AssertionError("it belongs to the host")


async def test_a_provider_of_ones_own_serves_addresses_with_its_name(
    tmp_path: Path,
) -> None:
    own = Scenario(
        tiers=Tiers(worker=TierOptions(model="echo:loud")),
        tickets=(Ticket(id="one", description="x"),),
    )
    async with Runtime(home=tmp_path, providers=[Echo()]) as runtime:
        run = await runtime.start(own)
        outcome = await run.outcome()

    assert outcome.tickets[0].answer == "loud heard 1 turns"
    assert outcome.costs.total.usage.input == 3


class Shelf:
    """A set of tools that share what they know."""

    def __init__(self) -> None:
        self.books: list[str] = []

    @tool
    async def add(self, title: str) -> str:
        """Put a book on the shelf."""
        self.books.append(title)
        return "added"


class Clock:
    """A tool without a function."""

    name = "clock"
    read_only = True
    spec = ToolSpec(
        name="clock",
        description="Tell the time.",
        parameters={"type": "object", "properties": {}},
    )

    async def call(self, arguments: Mapping[str, Any]) -> Content:
        return (Text("noon"),)


async def test_tools_of_ones_own_share_an_object_or_have_no_function(
    tmp_path: Path,
) -> None:
    def work(request: ChatRequest) -> Said:
        steps: list[Said] = [use("add", title="Emma"), use("clock"), "done"]
        return steps[request.turn - 1]

    shelf, models = Shelf(), team(ticket=work)
    async with Runtime(
        home=tmp_path, providers=[models], tools=[shelf.add, Clock()]
    ) as runtime:
        run = await runtime.start(scenario())
        assert (await run.outcome()).completed

    assert shelf.books == ["Emma"]
    assert "noon" in str(models.requests[2].turns)


# --- actors of one's own --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Note(Message):
    text: str


@dataclass(frozen=True, slots=True)
class Notes(Request[list[str]]):
    pass


class Notebook(Actor):
    restart = "transient"
    backoff = (0.001, 0.001)

    def __init__(self, *notes: str) -> None:
        self.notes = [*notes]

    @handles
    async def note(self, message: Note) -> None:
        if not message.text:
            raise ValueError("an empty note")

        self.notes.append(message.text)

    @handles
    async def all(self, _request: Notes) -> list[str]:
        return self.notes


def noting(notebook: Ref) -> Any:
    @tool
    async def write_down(text: str) -> str:
        """Write something down."""
        notebook.tell(Note(text))
        return "noted"

    return write_down


def test_what_is_no_tool_is_refused_with_what_was_meant() -> None:
    def weather(city: str) -> str:
        return city

    with pytest.raises(
        TypeError, match=r"`tools\[0\]` must be a tool \(put `@tool` above"
    ):
        Runtime(tools=[weather])  # type: ignore[list-item] # the mistake
    with pytest.raises(TypeError, match="must be a `Tool`, which has `name`, not 3"):
        Agent("openai:gpt-4o-mini", tools=[3])  # type: ignore[list-item] # as above


async def test_an_actor_of_ones_own_lives_beside_runs_and_serves_their_tools(
    tmp_path: Path,
) -> None:
    def work(request: ChatRequest) -> Said:
        return use("write_down", text="hello") if request.turn == 1 else "done"

    async with Runtime(home=tmp_path, providers=[]) as hosting:
        notebook = await hosting.spawn("notebook", Notebook, "first")
        async with Runtime(
            home=tmp_path, providers=[team(ticket=work)], tools=[noting(notebook)]
        ) as runtime:
            run = await runtime.start(scenario())
            assert (await run.outcome()).completed

        assert await notebook.ask(Notes()) == ["first", "hello"]
        with pytest.raises(NameTaken):
            await hosting.spawn("notebook", Notebook)


async def test_an_actor_of_ones_own_is_restarted_and_its_events_are_the_runtimes(
    tmp_path: Path,
) -> None:
    async with Runtime(home=tmp_path) as runtime:
        notebook = await runtime.spawn("notebook", Notebook, "first")
        events = runtime.events()
        notebook.tell(Note("lost by the restart"))
        notebook.tell(Note(""))
        assert await notebook.ask(Notes()) == ["first"]

    restarts = [e async for e in events if isinstance(e, ActorRestarted)]
    assert [(e.actor, e.restarts) for e in restarts] == [("notebook", 1)]
    assert "an empty note" in restarts[0].reason


async def test_an_actor_that_fails_too_often_ends_the_runtime_with_its_runs(
    tmp_path: Path,
) -> None:
    begun = anyio.Event()

    async def stuck(_request: ChatRequest) -> Said:
        begun.set()
        await anyio.sleep_forever()
        return "never"

    run: Run | None = None
    with anyio.fail_after(10):
        with pytest.raises(RestartsExhausted, match="notebook"):
            async with Runtime(
                home=tmp_path, providers=[team(ticket=stuck)]
            ) as runtime:
                run = await runtime.start(scenario())
                await begun.wait()
                notebook = await runtime.spawn("notebook", Notebook)
                for _ in range(10):
                    notebook.tell(Note(""))

                await anyio.sleep_forever()

        assert run is not None
        outcome = await run.outcome()

    assert outcome.state is RunState.CANCELLED
    assert outcome.costs.total.unknown_calls == 1


# --- threads --------------------------------------------------------------------


async def test_a_thread_starts_runs_and_waits_for_them(tmp_path: Path) -> None:
    def work(portal: anyio.from_thread.BlockingPortal, runtime: Runtime) -> Outcome:
        run = portal.call(partial(runtime.start, scenario(), apply=False))
        return portal.call(run.outcome)

    async with (
        Runtime(home=tmp_path, providers=[team()]) as runtime,
        runtime.portal() as portal,
    ):
        outcome = await anyio.to_thread.run_sync(work, portal, runtime)

    assert outcome.completed


async def test_an_error_of_a_start_reaches_the_thread(tmp_path: Path) -> None:
    def work(portal: anyio.from_thread.BlockingPortal, runtime: Runtime) -> str:
        with pytest.raises(ConfigurationError) as caught:
            portal.call(runtime.start, tmp_path / "gone.yaml")

        return str(caught.value)

    async with Runtime(home=tmp_path) as runtime, runtime.portal() as portal:
        assert "gone.yaml" in await anyio.to_thread.run_sync(work, portal, runtime)


async def test_a_recorded_run_leaves_its_folder_and_an_unrecorded_one_none(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path / "project", a__txt="a\n")
    home = tmp_path / "home"
    async with Runtime(home=home, providers=[team()], journal=True) as runtime:
        run = await runtime.start(scenario(workspace={"path": folder}))
        await run.outcome()

    assert [path.name for path in (home / "runs").iterdir()] == [run.id]


def test_a_double_that_stands_for_no_model_loads_no_price_list(tmp_path: Path) -> None:
    code = (
        "import sys, anyio\n"
        "from mma_runtime import Runtime, Scenario, Ticket, TierOptions, Tiers\n"
        "from mma_runtime.testing import FunctionProvider\n"
        "async def main():\n"
        "    own = Scenario(tiers=Tiers(worker=TierOptions(model='function:m')),\n"
        "        tickets=(Ticket(id='a', description='x'),))\n"
        f"    async with Runtime(home={str(tmp_path)!r},\n"
        "        providers=[FunctionProvider(lambda _: 'done')]) as runtime:\n"
        "        run = await runtime.start(own)\n"
        "        assert (await run.outcome()).completed\n"
        "anyio.run(main)\n"
        "print('genai_prices' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"
