"""Budgets of a scenario, raised when a run goes on."""

from decimal import Decimal
from typing import Any

from mma_runtime.budget import Budget
from mma_runtime.scenario.money import budgets, raised
from tests.team import scenario

LEVELS: dict[str, Any] = {
    "budget": {
        "usd": "0.10",
        "calls": 4,
        "ticket": {"usd": "0.02"},
        "track": {"tokens": 100},
    },
    "tiers": {"worker": {"model": "function:m", "budget": {"usd": "0.05"}}},
}


def test_every_budget_of_that_unit_is_raised_and_no_other() -> None:
    more = budgets(raised(scenario(**LEVELS), Budget(usd=Decimal("0.01"))))

    assert more.run == Budget(usd=Decimal("0.11"), calls=4)
    assert more.ticket == Budget(usd=Decimal("0.03"))
    assert more.track == Budget(tokens=100)
    assert more.tiers == {"worker": Budget(usd=Decimal("0.06"))}


def test_a_default_budget_of_tiers_is_raised_as_well() -> None:
    played = scenario(
        defaults={"model": "function:m", "budget": {"calls": 1}}, track=TRACK
    )

    assert set(budgets(raised(played, Budget(calls=2))).tiers.values()) == {
        Budget(calls=3)
    }


def test_what_has_no_limit_gets_none() -> None:
    played = scenario()

    assert budgets(raised(played, Budget(usd=Decimal(1)))) == budgets(played)


TRACK = {"id": "t", "goal": "g"}
