"""Models that end soon are warned of, with the day."""

from datetime import date

import pytest

from mma_runtime.cli.narration import narrate
from mma_runtime.costs.budget import Budgets
from mma_runtime.events import ModelEndsSoon, Origin
from mma_runtime.llm.chat import Completion
from mma_runtime.llm.pricing import PriceList
from mma_runtime.llm.provider import Capabilities
from mma_runtime.plan import Ticket
from mma_runtime.registry import Registry
from mma_runtime.runtime.staffing import Team, tier_settings
from mma_runtime.scenario.schema import Scenario, TierOptions, Tiers
from mma_runtime.testing import FunctionProvider

ORIGIN = Origin(run="r")


class Ending(FunctionProvider):
    """A double whose models end on one day."""

    def __init__(self, day: date | None) -> None:
        super().__init__(_nothing, name="openai")
        self._day = day

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(shutdown=self._day)


def _nothing(_: object) -> Completion:
    raise AssertionError("no model is asked")


def team(day: date | None) -> Team:
    worker = TierOptions(model="openai:gpt-4o-mini")
    scenario = Scenario(
        tiers=Tiers(worker=worker), tickets=(Ticket(id="a", description="x"),)
    )
    return Team(
        tiers=tier_settings(scenario, Registry(), {}),
        providers={"openai": Ending(day)},
        prices=PriceList(),
        limits={},
        budgets=Budgets(),
    )


@pytest.mark.parametrize(
    ("today", "ended"),
    [
        (date(2026, 11, 15), False),
        (date(2027, 1, 13), False),
        (date(2027, 1, 14), True),
    ],
)
def test_a_model_that_ends_within_60_days_is_warned_of(
    today: date, *, ended: bool
) -> None:
    (warning,) = team(date(2027, 1, 14)).ending(today, ORIGIN)

    assert warning == ModelEndsSoon(
        origin=ORIGIN, model="openai:gpt-4o-mini", day="2027-01-14", ended=ended
    )
    assert "openai:gpt-4o-mini" in narrate(warning)
    assert "2027-01-14" in narrate(warning)


@pytest.mark.parametrize("day", [None, date(2027, 1, 14)])
def test_others_are_not(day: date | None) -> None:
    assert team(day).ending(date(2026, 11, 14), ORIGIN) == []
