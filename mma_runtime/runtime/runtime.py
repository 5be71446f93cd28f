"""The embedding API: a runtime inside a running async program."""

import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec

from anyio import AsyncContextManagerMixin, CancelScope, to_thread
from anyio.from_thread import BlockingPortal

from mma_runtime.arguments import (
    check_flag,
    check_kind,
    check_members,
    check_path,
    check_text,
    check_texts,
)
from mma_runtime.bus import HISTORY, Subscription
from mma_runtime.costs.report import CostReport
from mma_runtime.errors import ConfigurationError
from mma_runtime.governor import Governor, shared_governor
from mma_runtime.journal import Scrubber
from mma_runtime.kernel import Actor, Ref
from mma_runtime.llm.provider import Provider
from mma_runtime.observing import Observer
from mma_runtime.recording import (
    Session,
    Start,
    find_run,
    fork,
    recorded_start,
    replay,
    resume,
)
from mma_runtime.recording.changes import NO_CHANGES, Changes
from mma_runtime.recording.forking import ForkPoint
from mma_runtime.registry import Registry
from mma_runtime.registry.listing import ListedModel
from mma_runtime.registry.table import ProviderSpec
from mma_runtime.runtime.agent import Agent, Answer, OutputT, answer_of
from mma_runtime.runtime.home import Home, beside_of, new_run
from mma_runtime.runtime.household import Household
from mma_runtime.runtime.launch import handed_over, make_run
from mma_runtime.runtime.outfit import Outfit
from mma_runtime.runtime.run import Run
from mma_runtime.runtime.staffing import ProviderPool, Team
from mma_runtime.runtime.surroundings import GIVEN, Stock, Surroundings
from mma_runtime.runtime.tier_agents import checked_agents
from mma_runtime.scenario.project import Apply, check_apply
from mma_runtime.scenario.schema import Scenario
from mma_runtime.scenario.settings import NO_SETTINGS, Settings
from mma_runtime.tiers import AgentClass
from mma_runtime.tools.tool import Tool, checked_tools

P = ParamSpec("P")

_STARTED = "a `Scenario` (`Scenario.model_validate` makes one of a table) or its path"


class Runtime(AsyncContextManagerMixin):
    """Runs scenarios inside a running asyncio or trio program.

    Use it as `async with Runtime() as runtime:`. Leaving the block cancels the runs
    that are still going, in order: their tools and model calls end, their costs are
    counted, their outcome is set. So does cancelling the scope around the block.
    Nothing global is touched.

    *home* is the folder under which each run with a workspace gets a folder of its own.
    *providers* are used for addresses with their name, before any that the registry
    knows; they are left open. *tools* are given to workers beside the native ones.
    *environment* is where keys and settings are read from, `os.environ` by default;
    then `.env`, `credentials.toml` and `mma.toml` beside the scenario and beside
    *home* are. *settings* holds prices and rate limits for all runs. *governor* keeps
    to the rate limits; by default all runtimes of an event loop share one.
    *agents* are classes of one's own for tiers, by name, as `{"tech_lead": Reviewer}`.
    With *journal* each run is recorded in its folder and can be resumed and replayed;
    without *capture_content* prompts, replies and outputs are kept out of it, and it
    can only be looked at. *telemetry* looks on at the runs: `mma_runtime.telemetry`
    has one for OpenTelemetry. What happens is logged where structlog is configured.

    Raises:
        ConfigurationError: Two providers or two tools have one name, or there is no
            tier of a name.
        ArgumentInvalid: Something given is of the wrong kind; says what is wanted.
    """

    def __init__(
        self,
        *,
        home: str | os.PathLike[str] = ".mma",
        providers: Iterable[Provider] = (),
        tools: Iterable[Tool] = (),
        environment: Mapping[str, str] | None = None,
        settings: Settings = NO_SETTINGS,
        governor: Governor | None = None,
        journal: bool = False,
        capture_content: bool = True,
        telemetry: Observer | None = None,
        agents: Mapping[str, AgentClass] | None = None,
    ) -> None:
        check_path("home", home, "the path of a folder")
        check_kind("settings", settings, Settings, "`Settings`")
        check_flag("journal", journal)
        check_flag("capture_content", capture_content)
        if governor is not None:
            check_kind("governor", governor, Governor, "a `Governor`")

        if telemetry is not None:
            check_members("telemetry", telemetry, ("observe",), "an `Observer`")

        self._pool = ProviderPool(providers)
        environment = os.environ if environment is None else environment
        check_kind("environment", environment, Mapping, "a table of variables")
        self._home = Home(Path(home))
        self._journal = journal
        self._stock = Stock(
            home=self._home,
            registry=Registry(
                [ProviderSpec(name=name, target=GIVEN) for name in self._pool.given],
                environment=environment,
            ),
            pool=self._pool,
            environment=environment,
            settings=settings,
            tools=checked_tools(tools),
            agents=checked_agents({} if agents is None else agents),
            content=capture_content,
            telemetry=telemetry,
        )
        self._governor = governor
        self._household = Household(self._pool)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator["Runtime"]:
        """Open the runtime for the length of an `async with` block."""
        async with self._household.open():
            yield self

    async def start(
        self,
        scenario: Scenario | str | os.PathLike[str],
        *,
        inputs: Mapping[str, str] | None = None,
        models: Mapping[str, str] | None = None,
        apply: Apply | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> Run:
        """Start *scenario* and return its run, which goes on in the background.

        *scenario* is a `Scenario` or the path of a file. *folder* is where keys and
        settings are looked for beside the runtime's home; the file's own by default.
        *inputs* are values for the inputs that a file declares. *models* sets the model
        of tiers by name, before what the scenario says. *apply* says whether a
        completed run's changes are written to the user's folder, or as `"branch"`
        become a branch of the user's git repository; `None` that the scenario does. If
        cancelled, no run has begun.

        Raises:
            ArgumentInvalid: Something given is of the wrong kind; says what is wanted.
            ScenarioInvalid: The file cannot be used; holds every problem.
            ConfigurationError: A model, provider, tool, key or bubblewrap is missing,
                an MCP server cannot be used, a tool has the name of a native one, or a
                built scenario is given inputs.
            RuntimeError: The runtime was not entered, is being left, or has been.
            WorkspaceError: The folder cannot be copied, or cannot have a branch.
        """
        system = self._household.in_use()
        check_kind("scenario", scenario, (Scenario, str, os.PathLike), _STARTED)
        check_apply(apply)
        if folder is not None:
            check_path("folder", folder, "the path of a folder")

        beside = beside_of(scenario, folder)
        if inputs is not None:
            check_texts("inputs", inputs, "a table of names and texts")

        if not isinstance(scenario, Scenario):
            scenario = self._stock.read(Path(scenario), inputs, models or {}, beside)
        elif inputs:
            raise ConfigurationError(
                "inputs are for scenario files; this scenario has been built"
            )
        elif models:
            scenario = scenario.with_models(models)

        around = self._stock.around(scenario, beside)
        team = await around.team(scenario, self._household.in_use)
        scenario = handed_over(scenario, apply)
        name = new_run()
        outfit = await around.outfit(scenario, name, system.spawn)
        try:
            start = Start(scenario=scenario, beside=beside)
            async with self._home.making(name):
                session = await self._begin(start, name, around)
                return await self._launch(session, team, around, outfit)
        except BaseException:
            outfit.servers.stop()
            raise

    async def resume(
        self, run: str, changes: Changes = NO_CHANGES, *, apply: Apply | None = None
    ) -> Run:
        """Go on with a recorded *run*: what was done and paid for is not done again.

        *run* is its name, the beginning of its name, or `last`. Calls that were sent
        and whose reply was not recorded are sent again; the run's costs count both. If
        cancelled, nothing has been done.

        Raises:
            JournalInUse: Another process is at work on it.
            JournalError: Its journal cannot be read or written.
            ConfigurationError: As `start`.
            WorkspaceError: The files in the run's folder are not what they were.
        """
        check_kind("changes", changes, Changes, "`Changes`")
        check_apply(apply)
        folder = find_run(self._home.path, run)
        around, scrub = await self._surroundings(folder)
        session = await resume(folder, changes, scrub=scrub)
        return await self._go_on(session, around, apply)

    async def replay(
        self, run: str, scratch: str | os.PathLike[str], *, leg: int | None = None
    ) -> Run:
        """Go through a recorded *run* again: no model is called, no tool is run.

        Works in the folder *scratch*. The outcome is that of the run when everything
        was as recorded; `difference` of the run returned tells the first thing that was
        not. A run that was resumed with other bounds or models has several legs: *leg*
        counts them from 0, which is what it was with its first scenario; all of it by
        default. If cancelled, nothing goes on. Raises what `resume` raises.
        """
        check_path("scratch", scratch, "the path of a folder")
        folder = find_run(self._home.path, run)
        around, scrub = await self._surroundings(folder)
        session = await replay(folder, Path(scratch), leg=leg, scrub=scrub)
        team = around.silent_team(session.scenario)
        outfit = around.replayed_outfit(session.journal)
        return await self._launch(session, team, around, outfit, apply=False)

    async def fork(
        self,
        run: str,
        point: ForkPoint,
        changes: Changes = NO_CHANGES,
        *,
        apply: Apply = False,
    ) -> Run:
        """Begin a new run with the past of *run* up to *point*, and another future.

        What was paid for in the common past counts in its costs. *apply* says what
        becomes of its changes, as in `start`; nothing by default. Raises what `resume`
        raises, and `ConfigurationError` when there is no such point. If cancelled, no
        run has begun.
        """
        check_kind("point", point, ForkPoint, "a `ForkPoint`")
        check_kind("changes", changes, Changes, "`Changes`")
        check_apply(apply)
        folder = find_run(self._home.path, run)
        name = new_run()
        around, scrub = await self._surroundings(folder)
        async with self._home.making(name):
            new = self._home.run_folder(name)
            session = await fork(folder, new, point, changes, scrub=scrub)
            return await self._go_on(session, around, apply)

    async def _go_on(
        self, session: Session, around: Surroundings, apply: Apply | None
    ) -> Run:
        """Begin the rest of a recorded run."""
        outfit = Outfit()
        try:
            system, scenario = self._household.in_use(), session.scenario
            team = await around.team(scenario, self._household.in_use)
            outfit = await around.outfit(scenario, session.run, system.spawn)
            return await self._launch(session, team, around, outfit, apply=apply)
        except BaseException:
            outfit.servers.stop()
            await session.journal.aclose()
            raise

    async def _surroundings(self, folder: Path) -> tuple[Surroundings, Scrubber]:
        """Return what there is for a recorded run, as of now, and its secrets."""
        start = await to_thread.run_sync(recorded_start, folder)
        around = self._stock.around(start.scenario, start.beside)
        scrub = around.scrubber(start.scenario)
        # Once more, now that it is known what its secrets are.
        start = await to_thread.run_sync(recorded_start, folder, scrub)
        return self._stock.around(start.scenario, start.beside), scrub

    async def _begin(self, start: Start, name: str, around: Surroundings) -> Session:
        if self._journal:
            return await around.recorded(start, name)

        return await self._home.begin(start.scenario, name)

    async def _launch(
        self,
        session: Session,
        team: Team,
        around: Surroundings,
        outfit: Outfit,
        *,
        apply: Apply | None = None,
    ) -> Run:
        try:
            run = await make_run(
                session,
                team,
                outfit,
                around.registry,
                governor=self._governor or shared_governor(),
                observer=around.observer(session),
                apply=apply,
                home=self._home.path,
            )
            self._household.begin(run)
        except BaseException:
            await session.journal.aclose()
            raise

        return run

    async def ask(self, agent: Agent[OutputT], question: str) -> Answer[OutputT]:
        """Ask a single *agent* and return its answer.

        Cancelling this ends the run of the question: its model call and tools are
        cancelled, and when it returns what it spent is in `costs`. It waits for a
        plain function that is at work as a tool, which nobody can cancel.

        Raises:
            AnswerMissing: The agent failed, or its rounds or its budget were used up;
                its `__cause__` is the error of a provider, tier agent or check.
            ConfigurationError: A model, provider, tool or key is missing.
            RuntimeError: The runtime is not entered, or is being left.
        """
        run = await self.start_agent(agent, question)
        try:
            outcome = await run.outcome()
        except BaseException:
            run.stop("the question was cancelled")
            with CancelScope(shield=True):
                await run._ended.wait()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - ours

            raise

        failure = run._failure  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - ours
        return answer_of(agent, outcome, failure)

    async def start_agent(self, agent: Agent[Any], question: str) -> Run:
        """Ask a single *agent* and return the run of its question, to follow it.

        `ask` is shorter where only the answer matters. In the outcome it is the answer
        of the one ticket, as text. Such a run is recorded like any other, but cannot be
        resumed, replayed or forked: the agent's tools are not in the record.

        Raises what `start` raises; cancellation is as there.
        """
        self._household.in_use()
        check_kind("agent", agent, Agent, "an `Agent`")
        scenario = agent.scenario(question)
        around = self._stock.around(scenario)
        team = await around.team(scenario, self._household.in_use)
        outfit = Outfit(
            own=agent.tools, prompts=agent.prompts, answer_check=agent.check
        )
        start, name = Start(scenario=scenario, by_agent=True), new_run()
        async with self._home.making(name):
            session = await self._begin(start, name, around)
            return await self._launch(session, team, around, outfit)

    async def spawn(
        self, name: str, kind: Callable[P, Actor], *args: P.args, **kwargs: P.kwargs
    ) -> Ref:
        """Start an actor of the host's own; it lives until the runtime is left.

        Returns once it has entered its lifespan. It is supervised as ours are:
        restarted as its class says, and when it fails too often the runtime is left
        with that error, its runs ended in order. Runs end before it does, so tools may
        ask it. What happens to it is in `events`. If cancelled, the actor has ended
        before this returns.

        Raises:
            ActorStartFailed: The constructor or the entry of the lifespan raised.
            ArgumentInvalid: *kind* is no class of actors, or *name* no text without /.
            ActorStopped: The runtime is being left, or was not entered.
            NameTaken: Another live actor of the host has that name.
        """
        return await self._household.guests.spawn(name, kind, *args, **kwargs)

    def events(self, *, replay: bool = True, capacity: int = HISTORY) -> Subscription:
        """Return the events of the host's own actors, to iterate over; as `Run.events`.

        *capacity* is how many events may wait for their reader. What happens in a run
        is in its own events. The iteration ends with the runtime.
        """
        return self._household.bus.subscribe(replay=replay, capacity=capacity)

    @asynccontextmanager
    async def portal(self) -> AsyncGenerator[BlockingPortal]:
        """Let threads use this runtime for the length of an `async with` block.

        In a thread, `portal.call(runtime.start, scenario)` starts a run and
        `portal.call(run.outcome)` waits for its end; whatever else is async goes the
        same way, keywords by `functools.partial`. Leaving the block waits for the calls
        of threads that are under way; cancelling it cancels them, and the threads see
        that as `concurrent.futures.CancelledError`.
        """
        async with BlockingPortal() as portal:
            yield portal

    async def costs(self) -> CostReport:
        """Return what all runs have spent so far, those that have ended included.

        What runs that have ended spent on each track and ticket is in their outcomes;
        only the last thousand of them are told apart. Waits for nothing, so there is
        nothing to cancel; it is async, as all that a runtime does, so that a thread
        may ask for it through `portal`. `Run.costs` is not.
        """
        return self._household.costs()

    async def models(
        self, provider: str, *, fresh: bool = False
    ) -> tuple[ListedModel, ...]:
        """List the models of *provider* that its key can use, with prices.

        The list is kept for a day in the user's cache folder; *fresh* asks again.
        Cancellation ends the request.

        Raises:
            ConfigurationError: There is no such provider, or no key for it.
            ProviderError: The provider did not answer.
        """
        check_text("provider", provider, "a provider's name")
        return await self._stock.models(provider, fresh=fresh)
