"""What a run is charged with that goes on after it was cut off."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mma_runtime.costs.reservations import Amount
from mma_runtime.events import Origin
from mma_runtime.journal import Entry, JournalWriter, Past
from mma_runtime.journal.summary import summarise

WORKER = Origin(tier="worker", ticket="one", task="ticket")
CALL = "ticket/one/1.1"
RESERVED = Amount(Decimal("0.02"), 700, 1)

BEGUN = Entry(kind="run", facts={"name": "test"}, contents={"scenario": b"{}"})
INTENT = Entry(
    kind="intent", origin=WORKER, call=CALL, facts={"reserved": ["0.02", 700]}
)
FAILED: dict[str, Any] = {
    "call": f"{CALL}.1",
    "model": "m",
    "state": "unknown",
    "input_tokens": 0,
    "output_tokens": 0,
    "usd": None,
    "billed": True,
    "charged_usd": "0.02",
}
COUNTED = [
    Entry(kind="ModelCallFailed", origin=WORKER, facts={"call": f"{CALL}.1"}),
    Entry(kind="CostCounted", origin=WORKER, facts=FAILED),
]
UNCOUNTED = Entry(
    kind="reply", origin=WORKER, call=CALL, facts={"usage": None, "usd": None}
)


async def test_a_runs_time_is_that_of_its_sessions_from_their_first_calls_on(
    tmp_path: Path,
) -> None:
    def at(entry: Entry, time: float) -> Entry:
        return entry._replace(time=time)

    path = tmp_path / "journal.db"
    writer = await JournalWriter.open(path, run="run")
    await writer.append(
        at(BEGUN, 100),
        at(INTENT, 110),
        at(UNCOUNTED, 113),
        at(INTENT, 112),  # The clock was put back.
        at(UNCOUNTED, 114),
        at(Entry(kind="RunFinished", facts={"state": "over_budget"}), 200),
        at(Entry(kind="resumed", contents={"scenario": b"{}"}), 1_000),
        at(Entry(kind="TicketStarted", origin=WORKER), 1_010),
        at(INTENT, 1_020),
        at(UNCOUNTED, 1_021),
    )
    await writer.aclose()

    assert Past.read(path).seconds == 3 + 2 + 1


@pytest.mark.parametrize(
    "end", [[], COUNTED, [UNCOUNTED]], ids=["killed", "broken off", "without usage"]
)
async def test_what_was_reserved_for_a_call_of_unknown_cost_stays_charged(
    end: list[Entry], tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    writer = await JournalWriter.open(path, run="run")
    await writer.append(BEGUN, INTENT, *end)
    await writer.aclose()

    past = Past.read(path)

    assert [(one.usd, one.worst) for one in past.costs] == [(None, RESERVED)]
    assert summarise(path).costs.total.unknown_usd == RESERVED.usd
