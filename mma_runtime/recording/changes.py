"""What is to be other than before when a run is resumed or forked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from mma_runtime.arguments import check_kind, check_texts
from mma_runtime.errors import ConfigurationError
from mma_runtime.rounds import MAX_TOOL_ROUNDS
from mma_runtime.scenario.schema import TIERS, Scenario, TierOptions
from mma_runtime.scenario.spending import LevelBudget
from mma_runtime.scenario.table import MOST

UNITS = ("usd", "tokens", "calls", "seconds")
"""What a budget limits."""

LEVELS = ("run", "track", "ticket", *TIERS)
"""Where there are budgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be other than before.

    *budget* and *rounds* are added to what was allowed. *budget* is by unit (`usd`,
    `tokens`, `calls`, `seconds`), or by level and unit, as in `ticket.tokens` or
    `worker.usd`. *models* sets the model of tiers by name.

    Raises:
        ArgumentInvalid: One of them is of another kind.
    """

    budget: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    rounds: int = 0
    models: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        check_kind("budget", self.budget, Mapping, "a table of limits and amounts")
        for name, more in self.budget.items():
            check_kind(f"budget[{name!r}]", more, Decimal, "a `Decimal`")

        check_kind("rounds", self.rounds, int, "a number of rounds")
        if self.models is not None:
            check_texts("models", self.models, "a table of tiers and models")

    def apply(self, scenario: Scenario) -> Scenario:
        """Return *scenario* with the changes.

        Raises:
            ConfigurationError: There is no such limit to be raised; names those that
                there are. Or what is to be added is no number above 0.
        """
        for name, more in self.budget.items():
            if not more.is_finite() or not 0 < more <= MOST:
                raise ConfigurationError(f"{more} cannot be added to {name!r}")

        if not 0 <= self.rounds <= MOST:
            raise ConfigurationError(f"{self.rounds} rounds cannot be added")

        if self.models:
            scenario = scenario.with_models(self.models)

        for name, amount in self.budget.items():
            scenario = _raised(scenario, name, amount)

        if self.rounds:
            worker = scenario.tiers.worker
            bound = scenario.tier("worker").max_tool_rounds or MAX_TOOL_ROUNDS
            worker = worker.model_copy(update={"max_tool_rounds": bound + self.rounds})
            scenario = _with_tier(scenario, "worker", worker)

        return scenario


NO_CHANGES = Changes()


def limit_of(name: str) -> tuple[str, str]:
    """Split a limit's *name* into level and unit.

    Raises `ConfigurationError` when there are none such.
    """
    level, separator, unit = name.strip().lower().rpartition(".")
    level = level if separator else "run"
    if unit not in UNITS or level not in LEVELS:
        raise ConfigurationError(
            f"there is no budget {name!r}; it is one of {', '.join(UNITS)}, for one"
            f" level as in 'ticket.tokens' (levels are {', '.join(LEVELS)})"
        )

    return level, unit


def _raised(scenario: Scenario, name: str, amount: Decimal) -> Scenario:
    level, unit = limit_of(name)
    budget = _budget_of(scenario, level)
    limit: Decimal | float | None = getattr(budget, unit)
    if limit is None:
        known = ", ".join(_limits(scenario)) or "none"
        raise ConfigurationError(
            f"the {level} has no limit in {unit} that {amount} could be added to; the"
            f" scenario's limits are: {known}"
        )

    raised = Decimal(str(limit)) + amount
    value = raised if unit == "usd" else float(raised)
    if unit in ("tokens", "calls"):
        value = int(raised)

    return _with_budget(scenario, level, budget.model_copy(update={unit: value}))


def _budget_of(scenario: Scenario, level: str) -> LevelBudget:
    match level:
        case "run":
            return scenario.budget
        case "track":
            return scenario.budget.track
        case "ticket":
            return scenario.budget.ticket
        case tier:
            return scenario.tier(tier).budget


def _with_budget(scenario: Scenario, level: str, budget: LevelBudget) -> Scenario:
    if level == "run":
        return scenario.model_copy(update={"budget": budget})

    if level in TIERS:
        own: TierOptions = getattr(scenario.tiers, level)
        return _with_tier(scenario, level, own.model_copy(update={"budget": budget}))

    whole = scenario.budget.model_copy(update={level: budget})
    return scenario.model_copy(update={"budget": whole})


def _with_tier(scenario: Scenario, tier: str, options: TierOptions) -> Scenario:
    tiers = scenario.tiers.model_copy(update={tier: options})
    return scenario.model_copy(update={"tiers": tiers})


def _limits(scenario: Scenario) -> list[str]:
    return [
        f"{level}.{unit} {value}".removeprefix("run.")
        for level in LEVELS
        for unit in UNITS
        if (value := getattr(_budget_of(scenario, level), unit)) is not None
    ]
