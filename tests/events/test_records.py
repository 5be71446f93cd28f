"""Every event becomes a flat record that the schema describes, and comes back."""

import json
from dataclasses import MISSING, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from click.testing import CliRunner

from mma_runtime import events
from mma_runtime.cli.main import cli
from mma_runtime.errors import RecordInvalid
from mma_runtime.events import (
    ActorCrashed,
    Event,
    ModelCallStarted,
    Origin,
    ReviewGiven,
    RoundStarted,
    RunStarted,
    TicketFinished,
    ToolCallStarted,
    TrackPlanned,
)
from mma_runtime.events.records import fact_names, plain, to_record
from mma_runtime.events.schema import event_kinds, from_record, record_model

ROOT = Path(__file__).parents[2]
SAMPLES: dict[Any, Any] = {
    str: "text",
    int: 3,
    float: 0.5,
    bool: True,
    dict[str, str]: {"worker": "openai:x"},
    dict[str, int]: {"notes": 3},
    tuple: ("a", "b"),
    Decimal: Decimal("0.10"),
}
KINDS = list(event_kinds().values())
WORKER = Origin(run="r", tier="worker", track="t", ticket="a", attempt=2, task="ticket")


def sample(kind: type[Event], *, all_fields: bool = False) -> Event:
    values: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in fact_names(kind) and (field.default is MISSING or all_fields):
            wanted = get_args(field.type) if "|" in str(field.type) else (field.type,)
            found = SAMPLES.get(wanted[0])
            values[field.name] = found or SAMPLES.get(get_origin(wanted[0]))

    if not issubclass(kind, events.ActorEvent):
        values["origin"] = WORKER

    return kind(**values)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("all_fields", [False, True])
def test_every_event_becomes_one_flat_line_of_json_and_comes_back(
    kind: type[Event], all_fields: bool
) -> None:
    event = sample(kind, all_fields=all_fields)
    object.__setattr__(event, "seq", 7)
    object.__setattr__(event, "time", 1.5)

    line = json.dumps(to_record(event))
    record = json.loads(line)
    again = from_record(record)

    assert record["kind"].replace("_", "") == kind.__name__.lower()
    assert (record["version"], record["seq"], record["time"]) == (1, 7, 1.5)
    assert set(record) <= set(record_model(kind).model_fields)
    assert again == event
    assert (type(again), again.seq, again.time) == (kind, 7, 1.5)


def test_an_events_place_is_left_out_where_it_has_none() -> None:
    record = to_record(RunStarted(name="x", models={}, scripted=(), max_tool_rounds=1))

    assert list(record) == [
        "version",
        "kind",
        "seq",
        "time",
        "name",
        "models",
        "scripted",
        "max_tool_rounds",
        "priced_as",
        "sandbox",
        "mcp_servers",
    ]


def test_the_attempt_of_a_call_is_not_the_attempt_of_its_ticket() -> None:
    record = to_record(ModelCallStarted(origin=WORKER, call="c", model="m", attempt=5))

    assert (record["attempt"], record["call_attempt"]) == (2, 5)


def test_records_are_linked_to_a_tree_from_the_tool_call_to_the_run() -> None:
    lead = Origin(run="r", tier="tech_lead", track="t", ticket="a", task="review")
    call = f"{WORKER.call(3)}.1"
    records = [
        to_record(event)
        for event in (
            ToolCallStarted(
                origin=WORKER, call="x", tool="read_file", model_call=WORKER.call(3)
            ),
            ModelCallStarted(origin=WORKER, call=call, model="m", attempt=1),
            RoundStarted(origin=WORKER, round=3, max_rounds=9),
            TicketFinished(
                origin=WORKER, state="completed", reason="", rounds=3, attempts=2
            ),
            TrackPlanned(origin=WORKER, title="", goal=""),
            RunStarted(
                origin=Origin(run="r"),
                name="",
                models={},
                scripted=(),
                max_tool_rounds=1,
            ),
        )
    ]

    abouts = [record["about"] for record in records]
    assert abouts == [
        "r/call/ticket/a/2.3/x",
        "r/call/ticket/a/2.3",
        "r/ticket/a/2",
        "r/ticket/a",
        "r/track/t",
        "r",
    ]
    assert [record.get("parent") for record in records] == [*abouts[1:], None]
    assert {record["agent"] for record in records[:4]} == {"r/worker-a-2"}
    given = to_record(ReviewGiven(origin=lead, accepted=True, remarks=""))
    assert given["agent"] == "r/tech_lead-t"


def test_an_actor_is_linked_to_the_actor_that_spawned_it() -> None:
    record = to_record(ActorCrashed(actor="r/costs/x", message="M", error="no"))

    assert record["run"] == "r"
    assert (record["agent"], record["parent"]) == ("r/costs/x", "r/costs")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "round_startet"}, "did you mean `round_started`"),
        ({"kind": None}, "no kind of event None"),
        ({"version": 2}, "round_started: version"),
        ({"round": "many"}, "round_started: round"),
        ({"seq": -1}, "round_started: seq"),
    ],
)
def test_what_is_no_record_is_refused_in_words(
    change: dict[str, Any], problem: str
) -> None:
    record = to_record(RoundStarted(origin=WORKER, round=3, max_rounds=9))

    with pytest.raises(RecordInvalid, match=problem):
        from_record({**record, **change})


def test_a_record_without_what_its_kind_needs_is_refused() -> None:
    record = to_record(RoundStarted(origin=WORKER, round=3, max_rounds=9))
    del record["round"]

    with pytest.raises(RecordInvalid, match="round: Field required"):
        from_record(record)


def test_keys_of_later_versions_are_passed_over() -> None:
    event = RoundStarted(origin=WORKER, round=3, max_rounds=9)

    assert from_record({**to_record(event), "invented_later": 1}) == event


def test_the_schema_knows_every_kind_and_no_base() -> None:
    result = CliRunner().invoke(cli, ["schema", "events"])

    schema = json.loads(result.stdout)
    kinds = set(schema["discriminator"]["mapping"])
    assert kinds == set(event_kinds())
    assert "round_started" in kinds
    assert not kinds & {"event", "actor_event", "call_event", "tool_event"}
    own = schema["$defs"]["RoundStarted"]["properties"]
    assert {"version", "run", "parent", "round"} <= set(own)


@pytest.mark.parametrize(
    ("options", "name"),
    [([], "events.schema.json"), (["--markdown"], "events.md")],
)
def test_what_is_published_is_current(options: list[str], name: str) -> None:
    result = CliRunner().invoke(cli, ["schema", "events", *options])

    current = (ROOT / "docs" / name).read_text(encoding="utf-8")
    wanted = " ".join(["mma schema events", *options])
    assert current == result.stdout, f"run `{wanted} > docs/{name}`"


def test_every_kind_says_when_it_happens() -> None:
    assert all(len(kind.__doc__ or "") > 15 for kind in KINDS)


def test_there_is_no_schema_of_something_else() -> None:
    result = CliRunner().invoke(cli, ["schema", "event"])

    assert result.exit_code == 2
    assert "'scenario', 'events'" in result.stderr


def test_money_has_no_exponent() -> None:
    assert plain(Decimal("0E-8")) == "0.00000000"
    assert plain((Decimal("1.5E-7"), Decimal("2.50"))) == ["0.00000015", "2.50"]
