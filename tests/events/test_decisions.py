"""Whatever is decided in a run is told by an event, with the reason."""

import json
import sys
from pathlib import Path
from typing import Any, TypeVar

import anyio

from mma_runtime import Outcome, Runtime, tool
from mma_runtime.errors import AuthenticationFailed, ProviderFacts, RateLimited
from mma_runtime.events import (
    AcceptanceChecked,
    AccountRested,
    AnswerRejected,
    ApprovalGiven,
    BudgetReached,
    CallShrunk,
    ConclusionAsked,
    CostCounted,
    Event,
    LimitLearnt,
    MergeConflicted,
    ModelCallFailed,
    TicketChosen,
    TicketDropped,
    TicketEscalated,
    TicketMerged,
    ToolCallDenied,
    TrackReviewed,
)
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, Completion, Finish, Text
from mma_runtime.llm.usage import Usage
from mma_runtime.rate_limits import RateLimit, RateLimits
from mma_runtime.testing import FunctionProvider
from tests.team import MODELS, Said, accepted, project, scenario, team, tickets, use

EventT = TypeVar("EventT", bound=Event)

FACTS = ProviderFacts(provider="function", model="m", status=429, retry_after=0.01)
PRICES = [{"match": ".*", "input": 1, "output": 1}]
WORKER = {"worker": {"model": "function:m"}}


@tool
async def deploy(target: str) -> str:
    """Deploy to a target."""
    return f"deployed to {target}"


async def play(
    models: FunctionProvider, home: Path, **keys: Any
) -> tuple[Outcome, list[Event]]:
    async with Runtime(home=home, providers=[models], tools=[deploy]) as runtime:
        run = await runtime.start(scenario(**keys))
        with anyio.fail_after(20):
            events = [event async for event in run.events()]

        return await run.outcome(), events


def of(kind: type[EventT], events: list[Event]) -> list[EventT]:
    return [event for event in events if isinstance(event, kind)]


async def test_the_order_of_tickets_is_told_with_what_decides_it(
    tmp_path: Path,
) -> None:
    planned = [
        {"id": "low", "description": "d", "priority": "low"},
        {"id": "base", "description": "d"},
        {"id": "high", "description": "d", "priority": "high"},
        {"id": "top", "description": "d", "depends_on": ["base"]},
    ]
    one = {"worker": {"model": "function:m", "count": 1}}

    _, events = await play(team(), tmp_path, tickets=planned, tiers=one)

    chosen = of(TicketChosen, events)
    assert [e.origin.ticket for e in chosen] == ["high", "base", "top", "low"]
    assert [e.priority for e in chosen] == ["high", "medium", "medium", "low"]
    assert [e.dependants for e in chosen] == [0, 1, 0, 0]


async def test_commands_merges_and_the_track_are_judged_in_the_open(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path / "project", a__txt="old\n")
    command = f"{sys.executable} -c \"open('b.txt')\""

    def work(request: ChatRequest) -> Said:
        name = "a.txt" if len(request.turns) == 1 else "b.txt"
        if request.turn in (1, 3):
            return use("write_file", path=name, content="new\n")

        return "done"

    plan = json.loads(tickets(x=[]))
    plan["tickets"][0]["acceptance"] = [command]
    epic = json.dumps({"tracks": [{"id": "t", "goal": "g"}]})
    models = team(plan_epic=epic, plan_track=json.dumps(plan), ticket=work)

    outcome, events = await play(
        models, tmp_path / "home", epic="do", workspace={"path": folder}
    )

    assert outcome.completed, outcome.reason
    checked = of(AcceptanceChecked, events)
    assert [(e.passed, e.exit_code) for e in checked] == [(False, 1), (True, 0)]
    assert [e.files for e in of(TicketMerged, events)] == [("a.txt", "b.txt")]
    assert [e.accepted for e in of(TrackReviewed, events)] == [True]


async def test_a_conflict_names_its_files(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", a__txt="old\n")
    first_read = anyio.Event()

    async def work(request: ChatRequest) -> Said:
        name, attempt = request.origin.ticket, request.origin.attempt
        if request.turn == 1 and attempt == 1:
            if name == "first":
                first_read.set()
            else:
                await first_read.wait()

        if request.turn == 1:
            return use("write_file", path="a.txt", content=f"{name} {attempt}\n")

        return "done"

    both = [{"id": name, "description": "d"} for name in ("first", "second")]
    _, events = await play(
        FunctionProvider(work), tmp_path, workspace={"path": folder}, tickets=both
    )

    assert [e.files for e in of(MergeConflicted, events)] == [("a.txt",)]


async def test_a_refusal_rests_the_account_and_a_final_error_says_why(
    tmp_path: Path,
) -> None:
    def work(_request: ChatRequest) -> Said:
        if len(models.requests) == 1:
            raise RateLimited("slow down", FACTS)

        raise AuthenticationFailed("no such key", FACTS)

    models = team(ticket=work)
    _, events = await play(models, tmp_path)

    (rested,) = of(AccountRested, events)
    assert "slow down" in rested.error
    assert 0 < rested.seconds <= 0.01
    first, second = of(ModelCallFailed, events)
    assert (first.final, second.final) == ("", "it would fail again")
    assert first.retry_in is not None
    assert second.retry_in is None


async def test_a_limit_that_an_answer_tells_is_told_once(tmp_path: Path) -> None:
    limits = RateLimits(requests=RateLimit(limit=500, remaining=499, reset=1.0))

    def work(request: ChatRequest) -> Said:
        return Completion(
            turn=AssistantTurn((Text("done"),)),
            finish=Finish.STOP,
            usage=Usage(input=1, output=1),
            model=request.model,
            limits=limits,
        )

    two = [{"id": name, "description": "d"} for name in ("a", "b")]
    _, events = await play(team(ticket=work), tmp_path, tickets=two)

    learnt = [(event.unit, event.limit) for event in of(LimitLearnt, events)]
    assert learnt == [("requests", 500)]


async def test_a_budget_that_shrinks_or_refuses_a_call_names_it(tmp_path: Path) -> None:
    tiers = {"worker": {"model": "function:m", "max_output_tokens": 90_000}}

    _, shrunk = await play(team(), tmp_path, tiers=tiers, budget={"tokens": 16_000})
    _, refused = await play(team(), tmp_path, tiers=tiers, budget={"tokens": 10})

    (call,) = of(CallShrunk, shrunk)
    assert call.wanted == 90_000
    assert 256 <= call.allowed < 16_000
    (reached,) = of(BudgetReached, refused)
    assert (reached.call, reached.model) == (call.call, "function:m")


async def test_what_an_unknown_call_is_charged_with_is_told(tmp_path: Path) -> None:
    asked = anyio.Event()

    async def never(_request: ChatRequest) -> Said:
        asked.set()
        await anyio.sleep_forever()
        return "never"

    priced = scenario(prices=PRICES, budget={"usd": 1})
    async with Runtime(home=tmp_path, providers=[team(ticket=never)]) as runtime:
        run = await runtime.start(priced)
        await asked.wait()
        outcome = await run.cancel()
        events = [event async for event in run.events()]

    (counted,) = of(CostCounted, events)
    assert (counted.state, counted.usd) == ("unknown", None)
    assert counted.charged_usd == outcome.costs.total.unknown_usd
    assert counted.charged_usd


async def test_calls_that_are_denied_or_rejected_say_so(tmp_path: Path) -> None:
    def work(request: ChatRequest) -> Said:
        return use("deploy", target="here") if request.turn == 1 else "done"

    deny = {"policy": {"deploy": "deny"}}
    ask = {"policy": {"deploy": "ask"}, "seconds": 0.05}

    _, denied = await play(team(ticket=work), tmp_path, approvals=deny)
    _, asked = await play(team(ticket=work), tmp_path, approvals=ask)

    (event,) = of(ToolCallDenied, denied)
    assert (event.tool, event.model_call) == ("deploy", "ticket/one/1.1")
    (given,) = of(ApprovalGiven, asked)
    assert "nobody answered" in given.reason


async def test_a_conclusion_and_a_climb_have_their_reasons(tmp_path: Path) -> None:
    def work(request: ChatRequest) -> Said:
        if request.model == "strong":
            return "done"

        return use("deploy", target=str(request.turn))

    tiers = {
        "worker": {
            "model": "function:weak",
            "escalate": ["function:strong"],
            "max_tool_rounds": 2,
        }
    }

    outcome, events = await play(team(ticket=work), tmp_path, tiers=tiers)

    assert outcome.completed
    asked = of(ConclusionAsked, events)
    assert [event.reason for event in asked] == ["the last tool round"]
    (climbed,) = of(TicketEscalated, events)
    assert (climbed.before, climbed.model) == ("function:weak", "function:strong")
    assert "last of 2 tool rounds" in climbed.reason


async def test_an_empty_reply_goes_back_in_the_open(tmp_path: Path) -> None:
    def work(request: ChatRequest) -> Said:
        return AssistantTurn(()) if request.turn == 1 else "done"

    _, events = await play(team(ticket=work), tmp_path)

    problems = [event.problem for event in of(AnswerRejected, events)]
    assert problems == ["an empty reply"]


async def test_a_ticket_that_a_review_asks_for_in_vain_is_told(tmp_path: Path) -> None:
    more = json.dumps(
        {
            "accepted": True,
            "remarks": "",
            "tickets": [{"id": "late", "description": "do it"}],
        }
    )
    at_review = anyio.Event()

    async def review(request: ChatRequest) -> Said:
        if request.origin.ticket == "late":
            return accepted()

        # The other one's is to be asked for before this one is given.
        await at_review.wait()
        await anyio.wait_all_tasks_blocked()
        return more

    def work(_request: ChatRequest) -> Said:
        if len(models.requests) == 3:
            at_review.set()

        return "done"

    models = team(plan_track=tickets(one=[], two=[]), review=review, ticket=work)
    outcome, events = await play(
        models, tmp_path, track={"id": "t", "goal": "g"}, tiers=MODELS | WORKER
    )

    assert {one.id for one in outcome.tickets} == {"one", "two", "late"}
    (dropped,) = of(TicketDropped, events)
    assert (dropped.origin.ticket, dropped.reason) == (
        "late",
        "another ticket has its id by now",
    )
