"""What a scenario says of budgets, prices and limits, in the runtime's own words."""

from typing import TypeVar

from mma_runtime.budget import Budget, Budgets
from mma_runtime.llm.pricing import PriceOverride
from mma_runtime.rate_limits import Limits
from mma_runtime.scenario.schema import TIERS, LevelBudget, Scenario

LevelT = TypeVar("LevelT", bound=LevelBudget)


def budgets(scenario: Scenario) -> Budgets:
    """Return the budgets of all levels."""
    run = scenario.budget
    tiers = {name: _level(scenario.tier(name).budget) for name in TIERS}
    return Budgets(
        run=_level(run),
        tiers={name: budget for name, budget in tiers.items() if budget != Budget()},
        track=_level(run.track),
        ticket=_level(run.ticket),
        floor=run.min_output_tokens,
    )


def raised(scenario: Scenario, more: Budget) -> Scenario:
    """Return *scenario* with *more* added to each of its budgets, at every level.

    What has no limit gets none.
    """
    budget = _raised(scenario.budget, more)
    below = {name: _raised(getattr(budget, name), more) for name in ("track", "ticket")}
    tiers = {
        name: own.model_copy(update={"budget": _raised(own.budget, more)})
        for name in TIERS
        if (own := getattr(scenario.tiers, name)).budget is not None
    }
    changes = {
        "budget": budget.model_copy(update=below),
        "tiers": scenario.tiers.model_copy(update=tiers),
    }
    if scenario.defaults.budget is not None:
        default = _raised(scenario.defaults.budget, more)
        changes["defaults"] = scenario.defaults.model_copy(update={"budget": default})

    return scenario.model_copy(update=changes)


def _raised(level: LevelT, more: Budget) -> LevelT:
    raised = {
        unit: limit + amount
        for unit in ("usd", "tokens", "calls", "seconds")
        if (limit := getattr(level, unit)) is not None
        and (amount := getattr(more, unit)) is not None
    }
    return level.model_copy(update=raised)


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
    return Budget(
        usd=level.usd, tokens=level.tokens, calls=level.calls, seconds=level.seconds
    )
