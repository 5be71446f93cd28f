"""A run becomes log records where structlog is configured, and only there."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from mma_runtime import Runtime, tool
from mma_runtime.errors import ProviderFacts, RequestRejected
from mma_runtime.events import (
    ActorCrashed,
    BudgetWarning,
    Event,
    ExpectationChecked,
    ModelCallFailed,
    RunFinished,
    TicketFinished,
    ToolCallFinished,
)
from mma_runtime.events.schema import event_kinds
from mma_runtime.llm.chat import ChatRequest, ToolCall
from mma_runtime.logs import LEVELS, LogObserver, level_of
from mma_runtime.observing import ObservedRun
from mma_runtime.outcome import Outcome
from tests.team import Said, scenario, team, use

SECRET = "sk-very-secret-0123456789"  # noqa: S105 - nobody's
ENVIRONMENT = {"OPENAI_API_KEY": SECRET}
PROMPT = "the description that is a prompt"

Records = list[dict[str, Any]]


class Capture:
    """Keeps what is logged; *level* is the lowest that is wanted."""

    def __init__(self) -> None:
        self.records: Records = []

    def __call__(
        self, _logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> Any:
        self.records.append({"level": method, **event})
        raise structlog.DropEvent

    def at(self, level: int) -> "Capture":
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, self],
            wrapper_class=structlog.make_filtering_bound_logger(level),
        )
        return self

    def of(self, event: str) -> Records:
        return [one for one in self.records if one["event"] == event]


@pytest.fixture
def captured() -> Iterator[Capture]:
    yield Capture()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@tool
async def peek(path: str) -> str:
    """Look at a file, and log as hosts do."""
    structlog.get_logger("host").info("peeked")
    return f"content of {path}, {SECRET}"


def once(request: ChatRequest) -> Said:
    """Use the tool in the first round, then conclude."""
    if request.turn == 1:
        return use("peek", path="a/private/place")

    return f"done, and {SECRET}"


async def run(
    captured: Capture, level: int, *, ticket: Any = once, **options: Any
) -> Outcome:
    captured.at(level)
    provider = team(ticket=ticket)
    keys = options.pop("keys", {})
    async with Runtime(
        providers=[provider], tools=[peek], environment=ENVIRONMENT, **options
    ) as runtime:
        started = await runtime.start(
            scenario(tickets=[{"id": "one", "description": PROMPT}], **keys)
        )
        return await started.outcome()


async def test_events_become_records_with_their_place(captured: Capture) -> None:
    outcome = await run(captured, logging.INFO)

    (finished,) = captured.of("ticket_finished")
    assert finished["level"] == "info"
    assert finished["run"] == outcome.run
    assert finished["ticket"] == "one"
    assert finished["state"] == "completed"
    (call, _) = captured.of("model_call_finished")
    assert (call["tier"], call["model"]) == ("worker", "function:m")
    assert captured.records[-1]["event"] == "run_finished"


async def test_what_a_level_does_not_want_is_not_logged(captured: Capture) -> None:
    await run(captured, logging.WARNING)

    assert captured.records == []


async def test_details_come_at_debug(captured: Capture) -> None:
    await run(captured, logging.DEBUG, capture_content=False)

    assert captured.of("round_started")
    assert captured.of("tool_call_started")


async def test_content_is_not_logged_above_debug(captured: Capture) -> None:
    await run(captured, logging.INFO)

    told = json.dumps(captured.records)
    assert PROMPT not in told
    assert "private" not in told
    assert "done, and" not in told


@pytest.mark.parametrize(
    "options", [{"capture_content": False}, {"keys": {"capture_content": False}}]
)
async def test_content_is_not_logged_where_it_must_not_be(
    captured: Capture, options: dict[str, Any]
) -> None:
    await run(captured, logging.DEBUG, **options)

    told = json.dumps(captured.records)
    assert PROMPT not in told
    assert "private" not in told
    assert "done, and" not in told


async def test_content_is_logged_at_debug_and_only_what_is_new(
    captured: Capture,
) -> None:
    await run(captured, logging.DEBUG)

    first, second = captured.of("model_request")
    assert PROMPT in json.dumps(first["messages"])
    assert first["system"]
    assert PROMPT not in json.dumps(second)
    assert captured.of("tool_arguments")[0]["arguments"] == {"path": "a/private/place"}
    assert "content of" in captured.of("tool_result")[0]["result"]
    assert captured.of("model_reply")[-1]["message"]["finish_reason"] == "stop"


async def test_no_secret_is_logged_at_any_level(captured: Capture) -> None:
    def fail(request: ChatRequest) -> Said:
        raise RequestRejected(
            f"no way to {SECRET}", ProviderFacts(provider="function", sent=False)
        )

    await run(captured, logging.DEBUG)
    await run(captured, logging.DEBUG, ticket=fail)

    told = json.dumps(captured.records)
    assert SECRET not in told
    assert "[secret]" in told


async def test_what_tools_log_tells_where_in_the_run(captured: Capture) -> None:
    outcome = await run(captured, logging.INFO)

    (peeked,) = captured.of("peeked")
    assert peeked["run"] == outcome.run
    assert (peeked["tier"], peeked["ticket"]) == ("worker", "one")


async def test_nothing_is_logged_without_a_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    structlog.reset_defaults()
    async with Runtime(providers=[team()]) as runtime:
        await (await runtime.start(scenario())).outcome()

    assert capsys.readouterr() == ("", "")
    assert not structlog.is_configured()


async def test_a_broken_log_ends_the_logging_and_not_the_run(
    captured: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("the disk is full")

    captured.at(logging.INFO)
    structlog.configure(processors=[broken])
    async with Runtime(providers=[team()]) as runtime:
        outcome = await (await runtime.start(scenario())).outcome()

    assert outcome.completed
    (said,) = caplog.records
    assert "is not logged any more" in said.message


def test_only_levels_other_than_info_are_named() -> None:
    assert set(LEVELS) <= set(event_kinds().values())
    assert logging.INFO not in LEVELS.values()


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (RunFinished(state="completed", reason=""), logging.INFO),
        (RunFinished(state="cancelled", reason=""), logging.WARNING),
        (RunFinished(state="over_budget", reason=""), logging.ERROR),
        (
            TicketFinished(state="stuck", reason="", rounds=1, attempts=1),
            logging.WARNING,
        ),
        (ExpectationChecked(name="f", passed=True, detail=""), logging.INFO),
        (ExpectationChecked(name="f", passed=False, detail=""), logging.WARNING),
        (
            ModelCallFailed(call="c", model="m", error="x", retry_in=1.5),
            logging.WARNING,
        ),
        (
            ModelCallFailed(call="c", model="m", error="x", retry_in=None),
            logging.ERROR,
        ),
        (
            ModelCallFailed(call="c", model="m", error="cancelled", retry_in=None),
            logging.INFO,
        ),
        (
            ToolCallFinished(
                call="c", tool="t", is_error=True, characters=1, seconds=0.0
            ),
            logging.INFO,
        ),
        (
            ToolCallFinished(
                call="c", tool="t", is_error=False, characters=1, seconds=0.0
            ),
            logging.DEBUG,
        ),
    ],
)
def test_a_level_may_depend_on_what_happened(event: Event, level: int) -> None:
    assert level_of(event) == level
    assert LEVELS.get(type(event), logging.INFO) >= level


def observer(captured: Capture, level: int, *, content: bool) -> LogObserver:
    captured.at(level)
    return LogObserver(
        ObservedRun(
            id="r", name="n", resumed=False, content=content, scrub=lambda text: text
        )
    )


def test_keys_that_mean_something_else_to_structlog_are_renamed(
    captured: Capture,
) -> None:
    log = observer(captured, logging.INFO, content=False)

    log.note(
        BudgetWarning(
            level="ticket", name="a", unit="usd", per_cent=80, limit="1", spent="0.8"
        )
    )

    (record,) = captured.records
    assert (record["level"], record["budget_level"]) == ("warning", "ticket")


def test_an_actor_is_named(captured: Capture) -> None:
    log = observer(captured, logging.INFO, content=False)

    log.note(ActorCrashed(actor="r/worker-a-1", message="DoTicket", error="bug"))

    (record,) = captured.records
    assert (record["level"], record["agent"]) == ("error", "r/worker-a-1")


@pytest.mark.parametrize(
    ("state", "is_told"), [("failed", False), ("provider_failed", True)]
)
def test_a_runs_reason_is_told_where_no_model_worded_it(
    captured: Capture, *, state: str, is_told: bool
) -> None:
    log = observer(captured, logging.INFO, content=False)

    log.note(RunFinished(state=state, reason="because"))

    assert ("reason" in captured.records[0]) is is_told


def test_arguments_that_are_no_json_are_logged_as_they_are(captured: Capture) -> None:
    log = observer(captured, logging.DEBUG, content=True)
    call = ToolCall("c", "peek", None, raw="{broken")

    with log.tool(call, RunFinished(state="", reason="").origin):
        pass

    assert captured.of("tool_arguments")[0]["arguments"] == "{broken"


def test_structlog_is_not_loaded_for_a_run() -> None:
    program = (
        "import sys, anyio\n"
        "from mma_runtime import Runtime\n"
        "from tests.team import scenario, team\n"
        "async def main():\n"
        "    async with Runtime(providers=[team()]) as runtime:\n"
        "        assert (await (await runtime.start(scenario())).outcome()).completed\n"
        "anyio.run(main)\n"
        "print('structlog' in sys.modules, 'opentelemetry' in sys.modules)\n"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, check=True
    )

    assert done.stdout.split() == [b"False", b"False"]
