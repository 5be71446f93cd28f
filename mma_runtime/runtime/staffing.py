"""From a scenario to a team: which tiers are needed, and who serves them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from anyio import to_thread

from mma_runtime.arguments import (
    check_callable,
    check_members,
    check_text,
    several,
)
from mma_runtime.costs.budget import Budgets
from mma_runtime.errors import ConfigurationError
from mma_runtime.events import Event, ModelEndsSoon, Origin
from mma_runtime.governor import Governor
from mma_runtime.governor.retries import RetryPolicy
from mma_runtime.kernel import Ref
from mma_runtime.llm.pricing import PriceList, Rates, is_loaded, price_list
from mma_runtime.llm.provider import Provider
from mma_runtime.model import Model
from mma_runtime.model.route import Route
from mma_runtime.observing import RunObserver
from mma_runtime.rate_limits import Limits
from mma_runtime.registry import Registry
from mma_runtime.rounds import CONTEXT_TOKENS, PLAIN, Sampling, default_max_rounds
from mma_runtime.runtime.tier_agents import load_agent
from mma_runtime.scenario.checks import ENTRIES, NEEDED, without_model
from mma_runtime.scenario.money import account_limits, budgets, price_overrides
from mma_runtime.scenario.schema import Scenario, TierSetup
from mma_runtime.scenario.settings import NO_SETTINGS, Settings
from mma_runtime.supervisor.job import TierSettings
from mma_runtime.tiers import AgentClass, Tier

NO_AGENTS: Mapping[Tier, AgentClass] = {}
SCRIPTED = "scripted"
_PROVIDERS = "several providers"
_ASKED = ("stream", "models", "capabilities", "priced_as", "aclose")
NOTICE = timedelta(days=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """The tiers that a scenario needs, with the providers of their models."""

    tiers: Mapping[Tier, TierSettings]
    providers: Mapping[str, Provider]
    prices: PriceList
    limits: Mapping[str, Limits]
    budgets: Budgets
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def models(self) -> dict[str, str]:
        """The address of each tier's model."""
        return {str(tier): one.address for tier, one in self.tiers.items()}

    @property
    def scripted(self) -> tuple[str, ...]:
        """The tiers whose replies are scripted, and so are never billed."""
        return tuple(
            str(tier)
            for tier, settings in self.tiers.items()
            if not self._priced(settings.address)[2]
        )

    def open_model(
        self,
        emit: Callable[[Event], None],
        governor: Governor,
        observer: RunObserver | None,
        addresses: tuple[str, ...],
        costs: Ref,
    ) -> Model:
        """Make the model at the first of *addresses*, the others being fallbacks.

        Raises:
            ConfigurationError: a ticket of a plan asks for a provider that is not open.
        """
        for address in addresses:
            name = address.partition(":")[0]
            if name not in self.providers:
                raise ConfigurationError(
                    f"{address!r} is not among the models of this run; its providers"
                    f" are {', '.join(self.providers)}"
                )

        routes = (
            Route(
                self.providers[name],
                model,
                costs=costs,
                emit=emit,
                rates=self._rates(f"{name}:{model}"),
                gate=governor.gate(self.providers[name], model, self.limits),
                breaker=governor.breaker(self.providers[name], model),
                observer=observer,
            )
            for name, _, model in (address.partition(":") for address in addresses)
        )
        return Model(*routes, retry=self.retry)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of all models, fallbacks and ladders included, each once."""
        found = [
            address
            for one in self.tiers.values()
            for address in (one.address, *one.fallbacks, *one.ladder)
        ]
        return tuple(dict.fromkeys(found))

    async def learn_prices(self) -> None:
        """Have prices looked up before they are needed, where they are not loaded yet.

        In a thread: loading them would keep the event loop for 0.3 seconds.
        Cancellation leaves the thread to end by itself.
        """
        if not is_loaded() and any(map(self._is_listed, self.addresses)):
            await to_thread.run_sync(self.without_price, abandon_on_cancel=True)

    def without_price(self) -> list[str]:
        """Return the addresses of models whose price nobody knows."""
        return [address for address in self.addresses if self._rates(address) is None]

    def ending(self, today: date, origin: Origin) -> list[ModelEndsSoon]:
        """Return a warning for each model that ends within `NOTICE` of *today*."""
        warnings: list[ModelEndsSoon] = []
        for address in self.addresses:
            name, _, model = address.partition(":")
            day = self.providers[name].capabilities(model).shutdown
            if day is not None and day - today <= NOTICE:
                warning = ModelEndsSoon(
                    origin=origin,
                    model=address,
                    day=day.isoformat(),
                    ended=day <= today,
                )
                warnings.append(warning)

        return warnings

    @property
    def priced_as(self) -> dict[str, str]:
        """The model that each scripted tier stands in for."""
        prices = {tier: self._priced(one.address) for tier, one in self.tiers.items()}
        return {
            tier.value: f"{provider}:{model}"
            for tier, (provider, model, billed) in prices.items()
            if not billed
        }

    def _rates(self, address: str) -> Rates | None:
        provider, model, billed = self._priced(address)
        if not billed and provider == address.partition(":")[0]:
            # It stands for no model of a service: what it costs only the user can say.
            own = self.prices.overridden(provider, model)
            return own.rates if own is not None else None

        return self.prices.rates(provider, model)

    def _is_listed(self, address: str) -> bool:
        """Whether the price of the model at *address* is the one of genai-prices."""
        provider, model, billed = self._priced(address)
        stands_for_none = not billed and provider == address.partition(":")[0]
        return not stands_for_none and self.prices.overridden(provider, model) is None

    def _priced(self, address: str) -> tuple[str, str, bool]:
        name, _, model = address.partition(":")
        return self.providers[name].priced_as(model)


def needed_tiers(scenario: Scenario) -> tuple[Tier, ...]:
    """Return the tiers that *scenario* cannot do without, and those it has models for.

    An epic needs Tier 1 and 2, a track Tier 2, and all need Tier 3. Tier 4 gives hints
    and Tier 2 reviews wherever they have a model of their own.
    """
    entry = next(one for one in ENTRIES if getattr(scenario, one) is not None)
    needed = {Tier(name) for name in NEEDED[entry]}
    named = {tier for tier in Tier if getattr(scenario.tiers, tier).model is not None}
    if scenario.epic is None:
        named.discard(Tier.ORCHESTRATOR)
    elif scenario.defaults.model is not None:
        named.add(Tier.QA)

    return tuple(tier for tier in Tier if tier in needed | named)


def tier_settings(
    scenario: Scenario,
    registry: Registry,
    environment: Mapping[str, str],
    agents: Mapping[Tier, AgentClass] = NO_AGENTS,
) -> dict[Tier, TierSettings]:
    """Return how each needed tier is manned; opens nothing.

    *agents* go before installed ones and ours.

    Raises:
        ConfigurationError: A tier has no model, an address is unknown, or
            `MAX_TOOL_ROUNDS` in the environment is no number.
    """
    rounds = default_max_rounds(environment)
    settings: dict[Tier, TierSettings] = {}
    for tier in needed_tiers(scenario):
        own = scenario.tier(tier.value)
        if own.model is None:
            raise ConfigurationError(without_model(tier.value))

        settings[tier] = TierSettings(
            agent=agents.get(tier) or load_agent(tier),
            address=str(registry.parse_address(own.model)),
            fallbacks=tuple(str(registry.parse_address(a)) for a in own.fallbacks),
            max_rounds=own.max_tool_rounds or rounds,
            sampling=_sampling(own),
            tools=own.tools,
            ladder=tuple(str(registry.parse_address(a)) for a in own.escalate),
            context_tokens=own.max_context_tokens or CONTEXT_TOKENS,
        )

    return settings


def _sampling(own: TierSetup) -> Sampling:
    wanted = Sampling(
        temperature=own.temperature,
        max_output_tokens=own.max_output_tokens,
        reasoning_effort=own.reasoning_effort,
    )
    return wanted if wanted != PLAIN else PLAIN


class ProviderPool:
    """The providers that a runtime has open; shared by its runs, closed with it.

    *given* belong to the caller and are left open.

    Raises:
        ArgumentInvalid: Something among them is no provider.
        ConfigurationError: Two have the same name.
    """

    def __init__(self, given: Iterable[Provider] = ()) -> None:
        self._given: dict[str, Provider] = {}
        for place, provider in enumerate(several("providers", given, _PROVIDERS)):
            _check_provider(f"providers[{place}]", provider)
            if provider.name in self._given:
                raise ConfigurationError(f"two providers are named {provider.name!r}")

            self._given[provider.name] = provider

        self._open: dict[tuple[object, ...], Provider] = {}

    @property
    def given(self) -> tuple[str, ...]:
        """The names of those that belong to the caller."""
        return tuple(self._given)

    async def load(self, names: Iterable[str], registry: Registry) -> None:
        """Import what providers with these *names* are made of, if it is not yet.

        In a thread: that of an SDK would keep the event loop for a second or more.
        Cancellation leaves the thread to end by itself. Raises what `provide` raises.
        """
        unloaded = [
            name
            for name in dict.fromkeys(names)
            if name not in self._given and not registry.is_loaded(name)
        ]
        if unloaded:
            self._demand_keys(unloaded, registry)
            await to_thread.run_sync(registry.load, unloaded, abandon_on_cancel=True)

    def provide(
        self, names: Iterable[str], registry: Registry, script: Path | None = None
    ) -> dict[str, Provider]:
        """Return the providers with these *names*, opened where they are not yet.

        *script* is the file of replies for scripted models.

        Opens no connection. All keys are looked up before the first is opened.

        Raises:
            UnknownProvider: There is none of that name.
            CredentialsMissing: A provider has no key.
            ScenarioInvalid: The script of replies cannot be used.
        """
        names = tuple(dict.fromkeys(names))
        self._demand_keys(names, registry)
        return {name: self._provider(name, registry, script) for name in names}

    def _demand_keys(self, names: Iterable[str], registry: Registry) -> None:
        for name in names:
            if name not in self._given and name != SCRIPTED:
                registry.credentials_for(name)

    async def aclose(self) -> None:
        """Close what was opened here."""
        for provider in self._open.values():
            await provider.aclose()

        self._open.clear()

    def _provider(self, name: str, registry: Registry, script: Path | None) -> Provider:
        if name in self._given:
            return self._given[name]

        options: dict[str, Any] = {}
        if name == SCRIPTED:
            if script is None:
                raise ConfigurationError(
                    "a tier's model is scripted, but the scenario has no `script`;"
                    " name the file with its replies"
                )

            options["script"] = script

        # Two scenarios may mean different servers or keys by the same name.
        key = (name, repr(registry.spec(name)), registry.credentials_for(name), script)
        if key not in self._open:
            self._open[key] = registry.open_provider(name, **options)

        return self._open[key]


def registry_of(
    scenario: Scenario, known: Registry, folders: Iterable[Path]
) -> Registry:
    """Return *known* with the providers that *scenario* brings itself.

    Keys and settings are looked for in the files of *folders* too.
    """
    own = (entry.spec(name) for name, entry in scenario.providers.items())
    return known.extended(own, folders=folders)


def needed_providers(
    scenario: Scenario, tiers: Mapping[Tier, TierSettings], registry: Registry
) -> list[str]:
    """Return the names of the providers of *tiers* and of tickets' own models."""
    addresses = [
        address
        for one in tiers.values()
        for address in (one.address, *one.fallbacks, *one.ladder)
    ]
    addresses += [
        str(registry.parse_address(ticket.model))
        for ticket in scenario.tickets or ()
        if ticket.model is not None
    ]
    return [address.partition(":")[0] for address in addresses]


def assemble(
    scenario: Scenario,
    tiers: Mapping[Tier, TierSettings],
    registry: Registry,
    pool: ProviderPool,
    settings: Settings = NO_SETTINGS,
) -> Team:
    """Find a provider for each model of *tiers* and of tickets; sends nothing yet.

    The scenario's prices and limits come before those of *settings*.

    Raises what `ProviderPool.provide` raises.
    """
    names = needed_providers(scenario, tiers, registry)
    return Team(
        tiers=tiers,
        providers=pool.provide(names, registry, scenario.script),
        prices=price_list((*price_overrides(scenario), *settings.prices)),
        limits={**settings.limits, **account_limits(scenario)},
        retry=scenario.retries.policy(),
        budgets=budgets(scenario),
    )


def _check_provider(argument: str, given: object) -> None:
    check_members(argument, given, ("name", *_ASKED), "a `Provider`")
    check_text(f"{argument}.name", getattr(given, "name", None), "its name")
    for method in _ASKED:
        called: object = getattr(given, method, None)
        check_callable(f"{argument}.{method}", called, "a method of a `Provider`")
