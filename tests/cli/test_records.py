import json
from dataclasses import MISSING, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from mma_runtime import events
from mma_runtime.cli.records import error_record, event_record, outcome_record, to_json
from mma_runtime.cost_report import CostLine, CostReport, Spent
from mma_runtime.errors import ConfigurationError, Problem, ScenarioInvalid
from mma_runtime.events import Event, ModelCallStarted, Origin, RunStarted
from mma_runtime.llm.usage import Usage
from mma_runtime.outcome import Outcome, RunState, TicketOutcome, TicketState

SAMPLES: dict[Any, Any] = {
    str: "text",
    int: 3,
    float: 0.5,
    bool: True,
    dict: {"worker": "openai:x"},
    tuple: ("a", "b"),
    Decimal: Decimal("0.10"),
}

ALL_EVENTS = [
    value
    for value in vars(events).values()
    if isinstance(value, type) and issubclass(value, Event)
]


def sample(kind: type[Event]) -> Event:
    values: dict[str, Any] = {"origin": Origin(run="r", tier="worker", ticket="a")}
    for field in fields(kind):
        if field.init and field.default is MISSING:
            wanted = get_args(field.type) if "|" in str(field.type) else (field.type,)
            values[field.name] = SAMPLES[get_origin(wanted[0]) or wanted[0]]

    return kind(**values)


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


@pytest.mark.parametrize("kind", ALL_EVENTS)
def test_every_event_becomes_one_flat_line_of_json(kind: type[Event]) -> None:
    record = json.loads(to_json(event_record(sample(kind))))

    assert record["kind"].replace("_", "") == kind.__name__.lower()
    assert (record["run"], record["tier"], record["ticket"]) == ("r", "worker", "a")
    own = {field.name for field in fields(kind)} - {"origin"}
    assert own - {"attempt"} <= set(record)
    assert "\n" not in to_json(event_record(sample(kind)))


def test_an_events_place_is_left_out_where_it_has_none() -> None:
    record = event_record(
        RunStarted(name="x", models={}, scripted=(), max_tool_rounds=1)
    )

    assert list(record) == [
        "kind",
        "seq",
        "time",
        "name",
        "models",
        "scripted",
        "max_tool_rounds",
        "priced_as",
    ]


def test_the_attempt_of_a_call_is_not_the_attempt_of_its_ticket() -> None:
    origin = Origin(tier="worker", ticket="a", attempt=2)

    record = event_record(
        ModelCallStarted(origin=origin, call="c", model="m:x", attempt=5)
    )

    assert (record["attempt"], record["call_attempt"]) == (2, 5)


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
