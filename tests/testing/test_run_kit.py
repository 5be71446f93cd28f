"""The kit for tests of whole runs: capture, scripts and assertions."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mma_runtime import Outcome, Runtime, Scenario
from mma_runtime.events import TicketFinished, TicketStarted, ToolCallStarted
from mma_runtime.llm.provider import Provider
from mma_runtime.testing import (
    EventCapture,
    assert_completed,
    assert_cost,
    assert_state,
    assert_ticket,
    scripted_provider,
)

USAGE = {"input": 1_000_000, "output": 1_000_000}


def two_tickets(**keys: object) -> Scenario:
    return Scenario.model_validate(
        {
            "name": "two",
            "tiers": {"worker": {"model": "replies:worker", "attempts": 1}},
            "tickets": [
                {"id": "a", "description": "Say yes."},
                {"id": "b", "description": "Say no."},
            ],
            **keys,
        }
    )


def worker() -> Provider:
    return scripted_provider(
        {"tier": "worker", "ticket": "a", "text": "yes", "usage": USAGE},
        {"tier": "worker", "ticket": "b", "text": "no", "usage": USAGE},
        stands_in_for={"worker": "openai:gpt-4o-mini"},
    )


async def outcome_of(folder: Path, provider: Provider, **keys: object) -> Outcome:
    async with Runtime(home=folder, providers=[provider], environment={}) as runtime:
        run = await runtime.start(two_tickets(**keys))
        return await run.outcome()


async def test_a_run_on_replies_is_asserted_in_a_few_lines(tmp_path: Path) -> None:
    outcome = await outcome_of(tmp_path, worker())

    assert_completed(outcome)
    assert assert_ticket(outcome, "a", attempts=1).answer == "yes"
    spent = assert_cost(outcome, usd="1.50", calls=2, tier="worker")
    assert spent.usage.input == 2_000_000
    assert_cost(outcome.costs, at_most=Decimal("0.75"), ticket="b")


async def test_a_failed_assertion_tells_the_whole_outcome(tmp_path: Path) -> None:
    outcome = await outcome_of(tmp_path, worker(), expect={"max_usd": "0.5"})

    with pytest.raises(AssertionError) as caught:
        assert_completed(outcome)

    assert str(caught.value).splitlines() == [
        "the run is not completed",
        "two ended as failed: not as expected: at most $0.5: $1.50",
        "  expect outcome completed: held",
        "  expect at most $0.5: FAILED",
        "    $1.50",
        "  ticket a: completed, 1 rounds, 1 attempts",
        "  ticket b: completed, 1 rounds, 1 attempts",
        "  cost of worker, replies:worker: 2 calls, $1.50",
        "  cost in all: 2 calls, $1.50",
    ]


@pytest.mark.parametrize(
    ("asserted", "problem"),
    [
        ({"usd": "1"}, "the run cost $1.50, not $1"),
        ({"at_most": "1.49"}, "the run cost $1.50, more than $1.49"),
        ({"calls": 3, "tier": "worker"}, "tier 'worker' cost 2 calls, not 3"),
        ({"calls": 1, "ticket": "c"}, "ticket 'c' cost 0 calls, not 1"),
    ],
)
async def test_another_cost_is_named(
    tmp_path: Path, asserted: dict[str, Any], problem: str
) -> None:
    outcome = await outcome_of(tmp_path, worker())

    with pytest.raises(AssertionError, match=problem.replace("$", r"\$")):
        assert_cost(outcome, **asserted)


async def test_calls_without_a_price_are_not_taken_as_free(tmp_path: Path) -> None:
    provider = scripted_provider({"tier": "worker", "text": "yes"})
    outcome = await outcome_of(tmp_path, provider)

    with pytest.raises(AssertionError, match="2 calls of unknown price"):
        assert_cost(outcome, at_most="1")


async def test_tickets_that_are_missing_or_ended_otherwise_are_named(
    tmp_path: Path,
) -> None:
    outcome = await outcome_of(tmp_path, worker())

    with pytest.raises(AssertionError, match="there is no ticket 'c'"):
        assert_ticket(outcome, "c")
    with pytest.raises(AssertionError, match="ticket 'a' is not failed"):
        assert_ticket(outcome, "a", "failed")
    with pytest.raises(AssertionError, match="took 1 attempts, not 2"):
        assert_ticket(outcome, "a", attempts=2)
    with pytest.raises(ValueError, match="finished"):
        assert_state(outcome, "finished")


async def test_events_are_captured_from_the_first_to_the_last(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[worker()], environment={}) as runtime:
        events = EventCapture(await runtime.start(two_tickets()))
        started = await events.until(TicketStarted, ticket="b")
        ended = await events.until(TicketFinished, ticket="b", state="completed")
        everything = await events.rest()

    assert started.seq < ended.seq
    assert [event.seq for event in everything] == list(range(1, len(everything) + 1))
    assert events.one(TicketFinished, ticket="a").state == "completed"
    assert len(events.of(TicketStarted)) == 2
    assert list(events) == everything


async def test_events_that_did_not_come_are_missed_loudly(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[worker()], environment={}) as runtime:
        events = EventCapture(await runtime.start(two_tickets()))
        with pytest.raises(AssertionError, match=r"no TicketFinished\(ticket='c'\)"):
            await events.until(TicketFinished, ticket="c")

    with pytest.raises(AssertionError, match="there were 1 RunStarted"):
        events.one(ToolCallStarted)
    with pytest.raises(AssertionError, match="2 TicketStarted"):
        events.one(TicketStarted)


def test_a_reply_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="txet"):
        scripted_provider({"tier": "worker", "txet": "yes"})
