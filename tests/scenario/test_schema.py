from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from mma_runtime.errors import ConfigurationError
from mma_runtime.plan import Ticket
from mma_runtime.scenario.project import Workspace
from mma_runtime.scenario.schema import (
    Expect,
    Scenario,
    TierOptions,
    Tiers,
    tier_name,
)
from mma_runtime.scenario.spending import Budget

TICKET = Ticket(id="hello", description="Say hello.")


def test_a_scenario_can_be_built_without_a_file() -> None:
    scenario = Scenario(
        name="hello",
        tickets=(TICKET,),
        tiers=Tiers(worker=TierOptions(model="openai:gpt-4o-mini", count=2)),
        budget=Budget(usd=Decimal("0.5")),
        workspace=Workspace(path=Path("project"), apply=True),
        expect=Expect(commands=("pytest -q",)),
    )

    worker = scenario.tier("worker")
    assert (worker.model, worker.count) == ("openai:gpt-4o-mini", 2)
    assert scenario.tier("orchestrator").model is None


def test_a_scenario_built_in_python_is_checked_as_a_whole() -> None:
    with pytest.raises(ValidationError, match="there is `epic` already"):
        Scenario(epic="x", tickets=(TICKET,))

    with pytest.raises(ValidationError, match="used twice"):
        Scenario(tickets=(TICKET, TICKET))

    with pytest.raises(ValidationError, match="provider:model"):
        Scenario(
            tickets=(TICKET,),
            defaults=TierOptions(model="openai:"),
        )


def test_a_scenario_cannot_be_changed() -> None:
    scenario = Scenario(tickets=(TICKET,))

    with pytest.raises(ValidationError, match="frozen"):
        scenario.name = "other"


def test_models_can_be_replaced_per_tier() -> None:
    scenario = Scenario(
        epic="x", defaults=TierOptions(model="openai:a", temperature=0.5)
    )

    changed = scenario.with_models({"tier3": "openai:b"})

    assert changed.tier("worker").model == "openai:b"
    assert changed.tier("worker").temperature == 0.5
    assert changed.tier("qa").model == "openai:a"
    assert scenario.tier("worker").model == "openai:a"


@pytest.mark.parametrize("text", ["worker", "tier3", "tier_3", "3", "Worker"])
def test_a_tier_has_a_name_and_a_number(text: str) -> None:
    assert tier_name(text) == "worker"


@pytest.mark.parametrize("text", ["wroker", "tier5", "0", "", "tier"])
def test_an_unknown_tier_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigurationError, match="tiers are orchestrator, tech_lead"):
        tier_name(text)


def test_the_json_schema_describes_every_key() -> None:
    schema = Scenario.model_json_schema()

    for table in (schema, *schema["$defs"].values()):
        for name, key in table.get("properties", {}).items():
            assert key.get("description") or "$ref" in key, name

    assert [{"required": [name]} for name in ("epic", "track", "tickets")] == (
        schema["oneOf"]
    )
