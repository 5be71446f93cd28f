"""What is measured: tokens, cost, durations, queues, retries."""

from decimal import Decimal
from typing import Any

import pytest
from anyio import Event as Signal
from anyio import fail_after

from mma_runtime import Runtime, tool
from mma_runtime.errors import ProviderFacts, ProviderOverloaded
from mma_runtime.events import (
    CostCounted,
    ModelCallQueued,
    ModelCallStarted,
    Origin,
    TicketFinished,
    TicketPlanned,
    TicketStarted,
)
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, Completion, Finish, Text
from mma_runtime.llm.usage import Usage
from mma_runtime.observing import ObservedRun
from mma_runtime.outcome import Outcome
from mma_runtime.telemetry import names
from mma_runtime.telemetry.run import RunTelemetry
from tests.team import Said, scenario, team, use
from tests.telemetry.conftest import Seen

PRICED = [{"match": "m", "input": 1, "output": 2}]


def billed(request: ChatRequest) -> Completion:
    last = request.turn > 1
    return Completion(
        turn=AssistantTurn((Text("done"),)) if last else use("peek"),
        finish=Finish.STOP if last else Finish.TOOL_CALLS,
        usage=Usage(input=100, output=20),
        model="m-2026",
    )


@tool
async def peek() -> str:
    """Look."""
    return "seen"


async def run(seen: Seen, ticket: Any = billed, **keys: Any) -> Outcome:
    async with Runtime(
        providers=[team(ticket=ticket)], tools=[peek], telemetry=seen.telemetry()
    ) as runtime:
        return await (await runtime.start(scenario(**keys))).outcome()


def labels(point: Any) -> dict[str, Any]:
    return dict(point.attributes)


async def test_tokens_are_measured_by_kind(seen: Seen) -> None:
    await run(seen)

    points = seen.figures("gen_ai.client.token.usage")
    found = {labels(point)[names.TOKEN_TYPE]: point for point in points}
    assert found["input"].sum == 200
    assert found["output"].sum == 40
    assert labels(found["input"]) == {
        names.OPERATION: "chat",
        names.PROVIDER: "function",
        names.REQUEST_MODEL: "m",
        names.RESPONSE_MODEL: "m-2026",
        names.TIER: "worker",
        names.TOKEN_TYPE: "input",
    }
    assert list(found["input"].explicit_bounds)[:4] == [1, 4, 16, 64]


async def test_durations_are_measured_with_the_advised_buckets(seen: Seen) -> None:
    await run(seen)

    (chats,) = seen.figures("gen_ai.client.operation.duration")
    assert chats.count == 2
    assert [round(bound, 2) for bound in chats.explicit_bounds] == [
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
        *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    ]
    (tools,) = seen.figures("gen_ai.execute_tool.duration")
    assert labels(tools)[names.TOOL] == "peek"
    agents = {
        labels(point)[names.AGENT]: point
        for point in seen.figures("gen_ai.invoke_agent.duration")
    }
    assert set(agents) == {"worker", "test"}
    assert labels(agents["test"])[names.OPERATION] == "invoke_workflow"
    (ticket,) = seen.figures("mma.ticket.duration")
    assert labels(ticket) == {names.TICKET_STATE: "completed"}


async def test_cost_is_measured_exactly_as_it_was_counted(seen: Seen) -> None:
    outcome = await run(seen, prices=PRICED)

    (cost,) = seen.figures("mma.cost")
    assert Decimal(str(round(cost.value, 9))) == outcome.costs.total.usd
    assert labels(cost)[names.BILLED] is False


async def test_a_cost_that_nobody_knows_is_not_measured_as_zero(seen: Seen) -> None:
    await run(seen)

    assert seen.figures("mma.cost") == []


async def test_retries_and_errors_are_measured(seen: Seen) -> None:
    tries: list[int] = []

    def answer(request: ChatRequest) -> Said:
        tries.append(1)
        if len(tries) == 1:
            raise ProviderOverloaded(
                "busy",
                ProviderFacts(provider="function", status=529, retry_after=0.0),
            )

        return billed(request)

    await run(seen, ticket=answer)

    (retries,) = seen.figures("mma.model.retries")
    assert retries.value == 1
    failed = [
        point
        for point in seen.figures("gen_ai.client.operation.duration")
        if names.ERROR_TYPE in labels(point)
    ]
    assert labels(failed[0])[names.ERROR_TYPE] == "ProviderOverloaded"


async def test_a_fallback_is_measured(seen: Seen) -> None:
    def answer(request: ChatRequest) -> Said:
        if request.model == "m":
            raise ProviderOverloaded(
                "busy", ProviderFacts(provider="function", retry_after=999.0)
            )

        return "done"

    await run(
        seen,
        ticket=answer,
        tiers={"worker": {"model": ["function:m", "function:n"]}},
    )

    (fallbacks,) = seen.figures("mma.model.fallbacks")
    assert fallbacks.value == 1


async def test_tickets_that_wait_and_run_are_measured(seen: Seen) -> None:
    begun, go = Signal(), Signal()

    async def answer(request: ChatRequest) -> Said:
        begun.set()
        await go.wait()
        return "done"

    slow: Any = answer
    one = [{"id": name, "description": "do it"} for name in ("a", "b", "c")]
    with fail_after(10):
        async with Runtime(
            providers=[team(ticket=slow)], telemetry=seen.telemetry()
        ) as runtime:
            started = await runtime.start(
                scenario(
                    tickets=one, tiers={"worker": {"model": "function:m", "count": 1}}
                )
            )
            await begun.wait()
            during = depths(seen)
            go.set()
            await started.outcome()

    assert during == (2, 1)
    assert depths(seen) == (0, 0)


def depths(seen: Seen) -> tuple[int, int]:
    (waiting,) = seen.figures("mma.ticket.queue.depth")
    (running,) = seen.figures("mma.ticket.running")
    return waiting.value, running.value


def observer(seen: Seen) -> RunTelemetry:
    return seen.telemetry().observe(
        ObservedRun(
            id="r", name="n", resumed=False, content=False, scrub=lambda text: text
        )
    )


HERE = Origin(run="r", tier="worker", ticket="a")


def queued(call: str, reason: str = "budget") -> ModelCallQueued:
    return ModelCallQueued(origin=HERE, call=call, model="p:m", reason=reason)


def waiting(seen: Seen) -> int:
    return sum(point.value for point in seen.figures("mma.model.queue.depth"))


def test_calls_that_wait_are_measured_until_they_are_sent(seen: Seen) -> None:
    telemetry = observer(seen)
    telemetry.note(queued("one"))
    telemetry.note(queued("two"))
    telemetry.note(queued("two", "rate limit"))
    assert waiting(seen) == 2

    telemetry.note(ModelCallStarted(origin=HERE, call="two", model="p:m", attempt=1))
    assert waiting(seen) == 1


async def test_calls_that_were_cancelled_do_not_wait_for_ever(seen: Seen) -> None:
    telemetry = observer(seen)
    with telemetry.run():
        telemetry.note(TicketPlanned(origin=HERE, title="", depends_on=()))
        telemetry.note(TicketStarted(origin=HERE, model="p:m", max_tool_rounds=3))
        telemetry.note(queued("one"))
        telemetry.note(
            TicketFinished(
                origin=HERE, state="cancelled", reason="", rounds=0, attempts=1
            )
        )
        assert waiting(seen) == 0
        telemetry.note(queued("two"))
        telemetry.note(TicketPlanned(origin=HERE, title="", depends_on=()))

    assert waiting(seen) == 0
    assert depths(seen) == (0, 0)


def test_what_a_broken_off_call_cost_is_measured(seen: Seen) -> None:
    telemetry = observer(seen)
    telemetry.note(
        CostCounted(
            origin=HERE,
            call="c",
            model="p:m",
            state="estimated",
            input_tokens=1,
            output_tokens=1,
            usd=Decimal("0.25"),
            billed=True,
        )
    )

    (cost,) = seen.figures("mma.cost")
    assert cost.value == 0.25
    assert labels(cost)[names.COUNTED] == "estimated"


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("gen_ai.client.token.usage", "{token}"),
        ("gen_ai.client.operation.duration", "s"),
        ("gen_ai.invoke_agent.duration", "s"),
        ("gen_ai.execute_tool.duration", "s"),
        ("mma.ticket.duration", "s"),
        ("mma.cost", "{USD}"),
        ("mma.ticket.queue.depth", "{ticket}"),
        ("mma.ticket.running", "{ticket}"),
    ],
)
async def test_units_are_told(seen: Seen, name: str, unit: str) -> None:
    await run(seen, prices=PRICED)

    assert seen.units()[name] == unit
