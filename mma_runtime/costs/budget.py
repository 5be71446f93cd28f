"""Budgets: what a run, a tier, a track or a ticket may use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

FLOOR = 256
"""The smallest output limit that a call is shrunk to, in tokens, by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that may be used at one level; `None` is no limit.

    *usd* is US dollars, scripted replies counted at the price of the model they stand
    in for; *tokens* is input and output together; *calls* is model calls; *seconds* is
    wall time from the first call.
    """

    usd: Decimal | None = None
    tokens: int | None = None
    calls: int | None = None
    seconds: float | None = None


NO_LIMIT = Budget()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The budgets of a run at all levels; a call counts at each that it belongs to.

    *tiers* maps the name of a tier to what it may use over the whole run; *track* and
    *ticket* hold for each track and each ticket, whichever tier works on it. *floor* is
    the smallest output limit that a call is shrunk to, in tokens.
    """

    run: Budget = NO_LIMIT
    tiers: Mapping[str, Budget] = field(default_factory=dict[str, Budget])
    track: Budget = NO_LIMIT
    ticket: Budget = NO_LIMIT
    floor: int = FLOOR

    @property
    def is_limited(self) -> bool:
        """Whether any level has a limit in dollars, tokens or calls."""
        levels = (self.run, self.track, self.ticket, *self.tiers.values())
        return any(
            limit is not None
            for budget in levels
            for limit in (budget.usd, budget.tokens, budget.calls)
        )

    @property
    def in_dollars(self) -> bool:
        """Whether any level has a limit in dollars."""
        levels = (self.run, self.track, self.ticket, *self.tiers.values())
        return any(budget.usd is not None for budget in levels)

    @property
    def in_seconds(self) -> bool:
        """Whether any level has a limit in seconds."""
        levels = (self.run, self.track, self.ticket, *self.tiers.values())
        return any(budget.seconds is not None for budget in levels)
