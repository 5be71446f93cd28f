import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from mma_runtime.cli.records import error_record, outcome_record, to_json
from mma_runtime.costs.escalation import Escalation
from mma_runtime.costs.report import CostLine, CostReport, Spent
from mma_runtime.errors import ConfigurationError, Problem, ScenarioInvalid
from mma_runtime.firewall import Firewall
from mma_runtime.llm.usage import Usage
from mma_runtime.outcome import Outcome, RunState, TicketOutcome, TicketState


def outcome(**changes: Any) -> Outcome:
    values: dict[str, Any] = {
        "run": "r",
        "name": "demo",
        "state": RunState.COMPLETED,
        "reason": "1 ticket completed",
        "seconds": 1.5,
        "tracks": (),
        "tickets": (),
        "costs": CostReport(),
    }
    return Outcome(**values | changes)


def test_an_outcome_becomes_one_object_with_exact_money() -> None:
    spent = Spent(calls=2, usage=Usage(input=10, output=5), usd=Decimal("0.10"))
    record = outcome_record(
        outcome(
            costs=CostReport(
                lines=(
                    CostLine(
                        tier="worker",
                        ticket="a",
                        model="openai:x",
                        billed=True,
                        spent=spent,
                    ),
                ),
                total=spent,
            ),
            tickets=(
                TicketOutcome(id="a", title="A", track="", state=TicketState.FAILED),
            ),
            tree=Path("/x/tree"),
        ),
        1,
    )

    again = json.loads(to_json(record, indent=2))
    assert again["state"] == "completed"
    assert again["exit_code"] == 1
    assert again["tree"] == "/x/tree"
    assert again["tickets"][0]["state"] == "failed"
    assert again["costs"]["total"]["usd"] == "0.10"
    assert again["costs"]["lines"][0]["spent"]["usage"]["input"] == 10
    assert again["costs"]["lines"][0]["ticket"] == "a"
    assert again["costs"]["lines"][0]["provider"] == "openai"


def test_the_firewall_and_what_climbed_are_in_the_object() -> None:
    climbed = Escalation(
        ticket="a", models=("m:x", "m:y"), spent=Spent(calls=1, unknown_calls=1)
    )
    record = outcome_record(
        outcome(firewall=Firewall(produced=300, passed=100), escalations=(climbed,)), 0
    )

    again = json.loads(to_json(record))
    assert again["firewall"] == {"produced": 300, "passed": 100, "kept_back": 0.6667}
    (one,) = again["escalations"]
    assert (one["ticket"], one["models"]) == ("a", ["m:x", "m:y"])
    assert one["spent"]["usd"] is None


def test_a_share_that_there_is_not_is_null() -> None:
    told = outcome_record(outcome(firewall=Firewall(produced=1, passed=2)), 0)

    assert told["firewall"] == {"produced": 1, "passed": 2, "kept_back": None}


def test_a_price_that_nobody_knows_is_null_and_not_zero() -> None:
    costs = CostReport(total=Spent(calls=2, unknown_calls=2))

    record = outcome_record(outcome(costs=costs), 0)

    assert record["costs"]["total"]["usd"] is None


def test_an_error_becomes_an_object_with_every_problem() -> None:
    error = ScenarioInvalid("a.yaml", [Problem(message="no", path="x", line=1)])

    record = error_record(error, 2)

    assert record["exit_code"] == 2
    assert record["error"]["kind"] == "scenario_invalid"
    assert record["error"]["problems"][0]["path"] == "x"
    assert error_record(ConfigurationError("no"), 2)["error"] == {
        "kind": "configuration_error",
        "message": "no",
    }
