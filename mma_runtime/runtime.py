"""The embedding API: a runtime inside a running async program."""

import os
import secrets
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import AsyncContextManagerMixin, to_thread
from anyio.abc import TaskGroup, TaskStatus

from mma_runtime.cost_report import CostReport
from mma_runtime.errors import ConfigurationError
from mma_runtime.events import ActorEvent, Event
from mma_runtime.forking import ForkPoint
from mma_runtime.governor import Governor, shared_governor
from mma_runtime.journal import Journal, Scrubber
from mma_runtime.kernel import ActorSystem
from mma_runtime.launch import handed_over, make_run
from mma_runtime.listing import ListedModel, ListingCache, list_models
from mma_runtime.llm.pricing import PriceList
from mma_runtime.llm.provider import Provider
from mma_runtime.observing import ObservedRun, Observer, RunObserver, observer_of
from mma_runtime.outfit import Outfit, equip, replayed
from mma_runtime.provider_table import ProviderSpec
from mma_runtime.recording import (
    NO_CHANGES,
    Changes,
    Session,
    Silent,
    begin,
    find_run,
    fork,
    recorded_scenario,
    replay,
    resume,
    secrets_of,
)
from mma_runtime.registry import Registry
from mma_runtime.run import Run
from mma_runtime.scenario.load import load
from mma_runtime.scenario.money import budgets
from mma_runtime.scenario.project import Apply
from mma_runtime.scenario.schema import Scenario
from mma_runtime.scenario.tooling import server_secrets
from mma_runtime.settings import NO_SETTINGS, Settings, load_settings
from mma_runtime.staffing import (
    ProviderPool,
    Team,
    assemble,
    registry_of,
    tier_settings,
)
from mma_runtime.tool_servers import SUFFIX
from mma_runtime.tools.tool import Tool
from mma_runtime.workspace import Workspace

GIVEN = "given by the host"
"""Stands where the registry has a target, for providers that are open already."""


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
    With *journal* each run is recorded in its folder and can be resumed and replayed;
    without *capture_content* prompts, replies and outputs are kept out of it, and it
    can only be looked at. *telemetry* looks on at the runs: `mma_runtime.telemetry`
    has one for OpenTelemetry. What happens is logged where structlog is configured.
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
    ) -> None:
        self._home = Path(home)
        self._journal = journal
        self._content = capture_content
        self._telemetry = telemetry
        self._tools = tuple(tools)
        self._environment = os.environ if environment is None else environment
        given = tuple(providers)
        self._registry = Registry(
            [ProviderSpec(name=one.name, target=GIVEN) for one in given],
            environment=self._environment,
        )
        self._pool = ProviderPool(given)
        self._settings = settings
        self._governor = governor
        self._runs: dict[str, Run] = {}
        self._spent: list[CostReport] = []
        self._system: ActorSystem | None = None
        self._tasks: TaskGroup
        self._closing: anyio.Event

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator["Runtime"]:
        """Open the runtime for the length of an `async with` block."""
        self._closing = anyio.Event()
        error: Exception | None = None
        async with anyio.create_task_group() as group:
            await group.start(self._serve)
            try:
                yield self
            except Exception as caught:  # noqa: BLE001 - raised below, unwrapped
                error = caught
            finally:
                self._closing.set()

        # Outside of the group, which would wrap it: a host catches what it raised.
        if error is not None:
            raise error

    async def start(
        self,
        scenario: Scenario | str | os.PathLike[str],
        *,
        inputs: Mapping[str, str] | None = None,
        models: Mapping[str, str] | None = None,
        apply: Apply | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> "Run":
        """Start *scenario* and return its run, which goes on in the background.

        *scenario* is a `Scenario` or the path of a file. *folder* is where keys and
        settings are looked for beside the runtime's home; the file's own by default.
        *inputs* are values for the inputs that it declares. *models* sets the model of
        tiers by name, before what the scenario says. *apply* says whether a completed
        run's changes are written to the user's folder, or as `"branch"` become a branch
        of the user's git repository; `None` that the scenario does.

        Raises:
            ScenarioInvalid: The file cannot be used; holds every problem.
            ConfigurationError: A model, provider, tool, key or bubblewrap is missing,
                or an MCP server cannot be used.
            WorkspaceError: The folder cannot be copied, or cannot have a branch.
        """
        if self._system is None:
            raise RuntimeError("use the runtime inside `async with`")

        folders = self._folders(scenario, folder)
        if not isinstance(scenario, Scenario):
            scenario = load(
                Path(scenario),
                inputs=inputs,
                environ=self._environment,
                tools=[tool.name for tool in self._tools],
                registry=self._registry.extended(folders=folders),
            )

        if models:
            scenario = scenario.with_models(models)

        registry = registry_of(scenario, self._registry, folders)
        team = self._assemble(scenario, registry)
        scenario = handed_over(scenario, apply)
        name = _run_id()
        outfit = await self._equip(scenario, registry, name)
        try:
            session = await self._begin(scenario, name, self._scrub(scenario, registry))
            return await self._launch(session, team, registry, outfit)
        except BaseException:
            outfit.servers.stop()
            raise

    async def resume(
        self, run: str, changes: Changes = NO_CHANGES, *, apply: Apply | None = None
    ) -> "Run":
        """Go on with a recorded *run*: what was done and paid for is not done again.

        *run* is its name, the beginning of its name, or `last`. Calls that were sent
        and whose reply was not recorded are sent again; the run's costs count both.

        Raises:
            JournalInUse: Another process is at work on it.
            JournalError: Its journal cannot be read or written.
            ConfigurationError: As `start`.
            WorkspaceError: The files in the run's folder are not what they were.
        """
        folder = find_run(self._home, run)
        session = await resume(folder, changes, scrub=await self._scrub_of(folder))
        return await self._go_on(session, apply)

    async def replay(self, run: str, scratch: Path, *, leg: int | None = None) -> "Run":
        """Go through a recorded *run* again: no model is called, no tool is run.

        Works in the folder *scratch*. The outcome is that of the run when everything
        was as recorded; `difference` of the run returned tells the first thing that was
        not. A run that was resumed with other bounds or models has several legs: *leg*
        0 is what it was with its first scenario; all of it by default. Raises what
        `resume` raises.
        """
        folder = find_run(self._home, run)
        scrub = await self._scrub_of(folder)
        session = await replay(folder, scratch, leg=leg, scrub=scrub)
        registry = self._registry_of(session.scenario)
        silent = ProviderPool([Silent(name) for name in registry.names])
        tiers = tier_settings(session.scenario, registry, self._environment)
        team = assemble(session.scenario, tiers, registry, silent, self._settings)
        outfit = replayed(session.journal, self._tools)
        return await self._launch(session, team, registry, outfit, apply=False)

    async def fork(
        self, run: str, point: ForkPoint, changes: Changes = NO_CHANGES
    ) -> "Run":
        """Begin a new run with the past of *run* up to *point*, and another future.

        What was paid for in the common past counts in its costs. Raises what `resume`
        raises, and `ConfigurationError` when there is no such point.
        """
        folder = find_run(self._home, run)
        new = self._home.absolute() / "runs" / _run_id()
        scrub = await self._scrub_of(folder)
        session = await fork(folder, new, point, changes, scrub=scrub)
        return await self._go_on(session, apply=False)

    async def _go_on(self, session: Session, apply: Apply | None) -> "Run":
        """Begin the rest of a recorded run."""
        outfit = Outfit()
        try:
            registry = self._registry_of(session.scenario)
            team = self._assemble(session.scenario, registry)
            outfit = await self._equip(session.scenario, registry, session.run)
            return await self._launch(session, team, registry, outfit, apply=apply)
        except BaseException:
            outfit.servers.stop()
            await session.journal.aclose()
            raise

    async def _equip(self, scenario: Scenario, registry: Registry, run: str) -> Outfit:
        if self._system is None:
            raise RuntimeError("use the runtime inside `async with`")

        return await equip(
            scenario,
            self._all_settings(registry),
            self._tools,
            run=run,
            spawn=self._system.spawn,
            look=registry.variable,
        )

    def _registry_of(self, scenario: Scenario) -> Registry:
        return registry_of(scenario, self._registry, self._folders(scenario))

    def _scrub(self, scenario: Scenario, registry: Registry) -> Scrubber:
        settings = self._all_settings(registry)
        more = server_secrets(scenario, settings, registry.variable)
        return secrets_of(self._environment, more)

    async def _scrub_of(self, folder: Path) -> Scrubber:
        scenario = await to_thread.run_sync(recorded_scenario, folder)
        return self._scrub(scenario, self._registry_of(scenario))

    def _all_settings(self, registry: Registry) -> Settings:
        return self._settings.before(load_settings(registry.folders))

    async def _launch(
        self,
        session: Session,
        team: Team,
        registry: Registry,
        outfit: Outfit,
        *,
        apply: Apply | None = None,
    ) -> "Run":
        try:
            run = await make_run(
                session,
                team,
                outfit,
                registry,
                governor=self._governor or shared_governor(),
                observer=self._observer(
                    session, self._scrub(session.scenario, registry)
                ),
                apply=apply,
            )
        except BaseException:
            await session.journal.aclose()
            raise

        self._runs[run.id] = run
        self._tasks.start_soon(self._conduct, run)
        return run

    async def costs(self) -> CostReport:
        """Return what all runs have spent so far, those that have ended included.

        What runs that have ended spent on each track and ticket is in their outcomes.
        """
        reports = [*self._spent, *(run.costs() for run in self._runs.values())]
        return CostReport.of(line for report in reports for line in report.lines)

    async def models(
        self, provider: str, *, fresh: bool = False
    ) -> tuple[ListedModel, ...]:
        """List the models of *provider* that its key can use, with prices.

        The list is kept for a day in the user's cache folder; *fresh* asks again.

        Raises:
            ConfigurationError: There is no such provider, or no key for it.
            ProviderError: The provider did not answer.
        """
        registry = self._registry.extended(folders=self._folders(None))
        opened = self._pool.provide([provider], registry)[provider]
        cache = None
        if registry.spec(provider).target != GIVEN:
            cache = ListingCache(provider, registry.credentials_for(provider))
            if fresh:
                await cache.forget()

        settings = self._all_settings(registry)
        return await list_models(opened, PriceList(settings.prices), cache)

    async def _serve(self, *, task_status: TaskStatus[None]) -> None:
        # Shielded from the host's cancellation, which ends the runs in order instead:
        # their workers and tools are cancelled, then their costs are counted.
        with anyio.CancelScope(shield=True):
            async with (
                ActorSystem(emit=self._route) as self._system,
                anyio.create_task_group() as self._tasks,
            ):
                task_status.started()
                await self._closing.wait()
                for run in self._runs.values():
                    run.stop("the runtime was closed")

            self._system = None
            await self._pool.aclose()

    def _folders(
        self,
        scenario: Scenario | str | os.PathLike[str] | None,
        folder: str | os.PathLike[str] | None = None,
    ) -> tuple[Path, ...]:
        """Return where files with keys may lie: beside the scenario, then the run."""
        run = self._home.absolute().parent
        if folder is not None:
            return (Path(folder).absolute(), run)

        if scenario is None or isinstance(scenario, Scenario):
            return (run,)

        return (Path(scenario).absolute().parent, run)

    def _assemble(self, scenario: Scenario, registry: Registry) -> Team:
        tiers = tier_settings(scenario, registry, self._environment)
        settings = self._all_settings(registry)
        team = assemble(scenario, tiers, registry, self._pool, settings)
        if budgets(scenario).in_dollars and (unpriced := team.without_price()):
            raise ConfigurationError(
                f"a budget in dollars needs the price of {', '.join(unpriced)};"
                " add it to `prices` in the scenario"
            )

        return team

    async def _begin(self, scenario: Scenario, name: str, scrub: Scrubber) -> Session:
        if not self._journal:
            workspace = await self._workspace(scenario, name)
            return Session(
                run=name, scenario=scenario, journal=Journal(), workspace=workspace
            )

        self._make_home()
        folder = self._home.absolute() / "runs" / name
        return await begin(folder, scenario, content=self._content, scrub=scrub)

    def _observer(self, session: Session, scrub: Scrubber) -> RunObserver | None:
        run = ObservedRun(
            id=session.run,
            name=session.scenario.name,
            resumed=session.journal.past is not None,
            content=self._content,
            scrub=scrub,
        )
        # In a replay nothing is called, so there is nothing to trace or to count.
        telemetry = None if session.journal.strict else self._telemetry
        return observer_of(run, telemetry)

    async def _workspace(self, scenario: Scenario, run: str) -> Workspace | None:
        if scenario.workspace is None:
            return None

        self._make_home()
        folder = self._home.absolute() / "runs" / run
        return await Workspace.open(
            scenario.workspace.path,
            folder,
            dirty=scenario.workspace.dirty,
            branch=scenario.workspace.apply == "branch",
        )

    def _make_home(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        ignore = self._home / ".gitignore"
        if not ignore.exists():
            # What runs leave here is nobody's source.
            ignore.write_text("*\n", encoding="utf-8")

    async def _conduct(self, run: Run) -> None:
        if self._system is None:
            return

        try:
            await run.conduct(self._system)
        finally:
            # Without its tickets: those of thousands are not kept for good.
            lines = run.costs().by("run", "tier", "model")
            self._spent.append(CostReport.of(lines))
            del self._runs[run.id]

    def _route(self, event: Event) -> None:
        """Hand a kernel event to the run that the actor belongs to."""
        if isinstance(event, ActorEvent):
            run = self._runs.get(event.actor.partition("/")[0].removesuffix(SUFFIX))
            if run is not None:
                run.bus.emit(event)


def _run_id() -> str:
    """Name a run so that names sort by time and do not meet."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3)
