"""What a run finds where it begins: providers and settings, its team, its outfit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from mma_runtime.errors import ConfigurationError
from mma_runtime.journal import Journal, Scrubber
from mma_runtime.llm.pricing import PriceList
from mma_runtime.observing import ObservedRun, Observer, RunObserver, observer_of
from mma_runtime.recording import Session, Silent, Start, secrets_of
from mma_runtime.registry import Registry
from mma_runtime.registry.listing import ListedModel, ListingCache, list_models
from mma_runtime.runtime.home import Home
from mma_runtime.runtime.outfit import Outfit, equip, replayed
from mma_runtime.runtime.staffing import (
    ProviderPool,
    Team,
    assemble,
    needed_providers,
    registry_of,
    tier_settings,
)
from mma_runtime.runtime.tool_servers import Spawn
from mma_runtime.scenario.schema import Scenario
from mma_runtime.scenario.settings import Settings, load_settings
from mma_runtime.scenario.tooling import server_secrets
from mma_runtime.supervisor.job import TierSettings
from mma_runtime.tiers import AgentClass, Tier
from mma_runtime.tools.tool import Tool

GIVEN = "given by the host"
"""Stands where the registry has a target, for providers that are open already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What a runtime was given for all its runs; see `Runtime`."""

    home: Home
    registry: Registry
    pool: ProviderPool
    environment: Mapping[str, str]
    settings: Settings
    tools: tuple[Tool, ...]
    agents: Mapping[Tier, AgentClass]
    content: bool
    telemetry: Observer | None

    def around(self, scenario: Scenario, beside: Path | None = None) -> "Surroundings":
        """Read what there is for a run of *scenario*, as of now.

        *beside* is the folder of its file. Raises `ConfigurationError` for a file that
        cannot be used.
        """
        places = self.home.places(beside)
        return Surroundings(self, registry_of(scenario, self.registry, places))

    def read(
        self,
        path: Path,
        inputs: Mapping[str, str] | None,
        models: Mapping[str, str],
        beside: Path | None,
    ) -> Scenario:
        """Read the scenario in *path*, with *models*; raises `ScenarioInvalid`."""
        places = self.home.places(beside)
        # By name: who builds scenarios in Python does not load what reads YAML.
        room = import_module("mma_runtime.scenario.load")
        scenario: Scenario = room.load(
            path,
            inputs=inputs,
            environ=self.environment,
            tools=[tool.name for tool in self.tools],
            registry=self.registry.extended(folders=places),
            models=models,
        )
        return scenario

    async def models(self, provider: str, *, fresh: bool) -> tuple[ListedModel, ...]:
        """List the models of *provider*; see `Runtime.models`."""
        registry = self.registry.extended(folders=self.home.places())
        await self.pool.load([provider], registry)
        opened = self.pool.provide([provider], registry)[provider]
        kept = None
        if registry.spec(provider).target != GIVEN:
            kept = ListingCache(provider, registry.credentials_for(provider))
            if fresh:
                await kept.forget()

        prices = PriceList(self.settings_for(registry).prices)
        return await list_models(opened, prices, kept)

    def settings_for(self, registry: Registry) -> Settings:
        """Read the settings of the folders of *registry*, after those given."""
        return self.settings.before(load_settings(registry.folders))


class Surroundings:
    """What there is for one run, from a runtime's *stock* and what *registry* reads.

    The files are read once, when this is made: a run is begun with one state of them.
    """

    __slots__ = ("_settings", "_stock", "registry")

    def __init__(self, stock: Stock, registry: Registry) -> None:
        self.registry: Registry = registry
        self._stock = stock
        self._settings = stock.settings_for(registry)

    def tiers(self, scenario: Scenario) -> dict[Tier, TierSettings]:
        """Return how each tier is manned; raises what `tier_settings` raises."""
        stock = self._stock
        return tier_settings(scenario, self.registry, stock.environment, stock.agents)

    async def team(self, scenario: Scenario, check: Callable[[], object]) -> Team:
        """Find who serves the tiers of *scenario*; sends nothing yet.

        *check* raises where that may not be any more. Imports what is needed in a
        thread, if it is not yet; if cancelled, that ends by itself.

        Raises:
            ConfigurationError: A model, provider or key is missing, or a price that
                one of its budgets needs.
        """
        tiers = self.tiers(scenario)
        pool, settings = self._stock.pool, self._settings
        await pool.load(needed_providers(scenario, tiers, self.registry), self.registry)
        # What is opened now has to be closed by somebody.
        check()
        team = assemble(scenario, tiers, self.registry, pool, settings)
        await team.learn_prices()
        if team.budgets.in_dollars and (unpriced := team.without_price()):
            raise ConfigurationError(
                f"a budget in dollars needs the price of {', '.join(unpriced)};"
                " add it to `prices` in the scenario"
            )

        return team

    def silent_team(self, scenario: Scenario) -> Team:
        """Return the team of a replay, whose providers must not be asked."""
        silent = ProviderPool([Silent(name) for name in self.registry.names])
        tiers, settings = self.tiers(scenario), self._stock.settings
        return assemble(scenario, tiers, self.registry, silent, settings)

    async def outfit(self, scenario: Scenario, run: str, spawn: Spawn) -> Outfit:
        """Start what the workers of *run* need; raises what `equip` raises.

        Cancellation ends what was started.
        """
        return await equip(
            scenario,
            self._settings,
            self._stock.tools,
            run=run,
            spawn=spawn,
            look=self.registry.variable,
        )

    def replayed_outfit(self, journal: Journal) -> Outfit:
        """Return what the workers of a recorded run had."""
        return replayed(journal, self._stock.tools)

    def scrubber(self, scenario: Scenario) -> Scrubber:
        """Return what takes all secrets that are known out of a text."""
        look = self.registry.variable
        more = server_secrets(scenario, self._settings, look)
        return secrets_of(self._stock.environment, (*more, *self.registry.secrets()))

    async def recorded(self, start: Start, name: str) -> Session:
        """Begin to record the run *name*; raises what `Home.record` raises."""
        scenario = start.scenario
        return await self._stock.home.record(
            start,
            name,
            content=self._captures(scenario),
            scrub=self.scrubber(scenario),
        )

    def observer(self, session: Session) -> RunObserver | None:
        """Return who looks on at the run of *session*."""
        scenario = session.scenario
        # Mostly nobody looks on, and no secrets need to be looked up.
        scrubber = cache(lambda: self.scrubber(scenario))

        def scrub(text: bytes) -> bytes:
            return scrubber()(text)

        run = ObservedRun(
            id=session.run,
            name=scenario.name,
            resumed=session.journal.past is not None,
            content=self._captures(scenario),
            scrub=scrub,
        )
        # In a replay nothing is called, so there is nothing to trace or to count.
        telemetry = None if session.journal.strict else self._stock.telemetry
        return observer_of(run, telemetry)

    def _captures(self, scenario: Scenario) -> bool:
        """Whether nobody wants prompts and replies to be kept out of records."""
        return all(
            (
                self._stock.content,
                scenario.capture_content,
                self._settings.capture_content,
            )
        )
