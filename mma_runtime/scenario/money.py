"""What a scenario says of budgets, prices and limits, in the runtime's own words."""

from mma_runtime.costs.budget import NO_LIMIT, Budget, Budgets
from mma_runtime.llm.pricing import PriceOverride
from mma_runtime.rate_limits import Limits
from mma_runtime.scenario.schema import TIERS, Scenario
from mma_runtime.scenario.spending import LevelBudget


def budgets(scenario: Scenario) -> Budgets:
    """Return the budgets of all levels."""
    run = scenario.budget
    default = scenario.defaults.budget or LevelBudget()
    own: dict[str, LevelBudget | None] = {
        name: getattr(scenario.tiers, name).budget for name in TIERS
    }
    tiers = {name: _level(budget or default) for name, budget in own.items()}
    return Budgets(
        run=_level(run),
        tiers={name: budget for name, budget in tiers.items() if budget != Budget()},
        track=_level(run.track),
        ticket=_level(run.ticket),
        floor=run.min_output_tokens,
    )


def price_overrides(scenario: Scenario) -> tuple[PriceOverride, ...]:
    """Return the scenario's price table."""
    return tuple(
        PriceOverride(**price.model_dump(), source="the scenario")
        for price in scenario.prices
    )


def account_limits(scenario: Scenario) -> dict[str, Limits]:
    """Return the scenario's rate limits by `provider` or `provider:model`."""
    return {
        address: Limits(**limits.model_dump())
        for address, limits in scenario.limits.items()
    }


def _level(level: LevelBudget) -> Budget:
    budget = Budget(
        usd=level.usd, tokens=level.tokens, calls=level.calls, seconds=level.seconds
    )
    # One for all runs without: there may be many at once.
    return budget if budget != NO_LIMIT else NO_LIMIT
