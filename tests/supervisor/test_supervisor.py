"""How work is routed between the tiers, what is tried again, and how a run ends."""

import json
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from mma_runtime import MMAError, Outcome, RunState, Runtime
from mma_runtime.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    ProviderFacts,
    Refused,
)
from mma_runtime.events import (
    ActorCrashed,
    AnswerRejected,
    Event,
    TicketFinished,
    TicketReturned,
    TicketStarted,
)
from mma_runtime.llm.chat import ChatRequest, Text, ToolTurn, UserTurn
from mma_runtime.outcome import TicketState, TrackState
from mma_runtime.supervisor.order_book import OrderBook
from mma_runtime.supervisor.orders import CancelRun, Order, OrderTicket
from mma_runtime.supervisor.schedule import Schedule
from mma_runtime.testing import FunctionProvider
from tests.team import (
    Said,
    accepted,
    project,
    scenario,
    team,
    tickets,
    tracks,
    use,
)


async def play(
    provider: FunctionProvider, tmp_path: Path, **keys: object
) -> tuple[Outcome, list[Event]]:
    """Run a scenario to its end; return its outcome and its events."""
    async with Runtime(home=tmp_path / "home", providers=[provider]) as runtime:
        run = await runtime.start(scenario(**keys))
        events = run.events()
        outcome = await run.outcome()
        return outcome, [event async for event in events]


def said(request: ChatRequest) -> str:
    """Return what the model was told last."""
    last = request.turns[-1]
    assert isinstance(last, UserTurn)
    return "".join(part.text for part in last.parts if isinstance(part, Text))


def states(outcome: Outcome) -> dict[str, str]:
    return {ticket.id: ticket.state.value for ticket in outcome.tickets}


def failed_with(error: MMAError) -> Callable[[ChatRequest], Said]:
    def answer(_request: ChatRequest) -> Said:
        raise error

    return answer


READ_B = """python -c "open('b.txt')\""""


# --- the way down and up ------------------------------------------------------


async def test_an_epic_becomes_tracks_and_tickets_and_is_accepted(
    tmp_path: Path,
) -> None:
    models = team(plan_epic=tracks("a"), plan_track=tickets(x=[], y=["x"]))

    outcome, _ = await play(models, tmp_path, epic="build it")

    assert outcome.state is RunState.COMPLETED
    assert states(outcome) == {"x": "completed", "y": "completed"}
    assert [track.state for track in outcome.tracks] == [TrackState.ACCEPTED]
    tasks = [request.origin.task for request in models.requests]
    assert tasks == ["plan", "plan", "ticket", "review", "ticket", "review", "accept"]


async def test_two_tracks_may_not_use_the_same_ticket_id(tmp_path: Path) -> None:
    asked: list[str] = []

    def plan(request: ChatRequest) -> str:
        asked.append(request.origin.track)
        return tickets(x=[]) if len(asked) <= 2 else tickets(x3=[])

    models = team(plan_epic=tracks("a", "b"), plan_track=plan)
    outcome, _ = await play(models, tmp_path, epic="build it")

    assert outcome.state is RunState.COMPLETED
    assert states(outcome) == {"x": "completed", "x3": "completed"}
    again = [r for r in models.requests if r.origin.tier == "tech_lead"][2]
    assert "Ids that are taken: x" in said(again)


async def test_a_ticket_starts_the_moment_its_own_dependencies_are_done(
    tmp_path: Path,
) -> None:
    slow_may_end = anyio.Event()

    async def work(request: ChatRequest) -> Said:
        if request.origin.ticket == "slow":
            await slow_may_end.wait()
        elif request.origin.ticket == "after_fast":
            slow_may_end.set()

        return "done"

    plan = [
        {"id": "slow", "description": "d"},
        {"id": "fast", "description": "d"},
        {"id": "after_fast", "description": "d", "depends_on": ["fast"]},
    ]
    with anyio.fail_after(10):
        outcome, _ = await play(FunctionProvider(work), tmp_path, tickets=plan)

    assert outcome.state is RunState.COMPLETED


async def test_no_more_workers_than_the_scenario_allows(tmp_path: Path) -> None:
    working = most = 0

    async def work(_request: ChatRequest) -> Said:
        nonlocal working, most
        working += 1
        most = max(most, working)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()

        working -= 1
        return "done"

    plan = [{"id": f"t{number}", "description": "d"} for number in range(9)]
    outcome, _ = await play(
        FunctionProvider(work),
        tmp_path,
        tickets=plan,
        tiers={"worker": {"model": "function:m", "count": 2}},
    )

    assert outcome.state is RunState.COMPLETED
    assert most == 2


async def test_ready_tickets_go_by_priority(tmp_path: Path) -> None:
    plan = [
        {"id": name, "description": "d", "priority": name}
        for name in ("low", "high", "medium")
    ]
    models = team()
    await play(
        models,
        tmp_path,
        tickets=plan,
        tiers={"worker": {"model": "function:m", "count": 1}},
    )

    assert [r.origin.ticket for r in models.requests] == ["high", "medium", "low"]


# --- what goes wrong ----------------------------------------------------------


async def test_prose_where_json_is_due_three_times_ends_the_run(tmp_path: Path) -> None:
    models = team(plan_epic="I would love to help!")

    outcome, events = await play(models, tmp_path, epic="build it")

    assert outcome.state is RunState.FAILED
    assert "3 attempts" in outcome.reason
    assert len(models.requests) == 3
    assert "cannot be used" in said(models.requests[1])
    assert [e.tries for e in events if isinstance(e, AnswerRejected)] == [1, 2, 3]


async def test_a_plan_with_a_cycle_goes_back_with_the_reason(tmp_path: Path) -> None:
    plans = [tickets(a=["b"], b=["a"]), tickets(a=["z"]), tickets(a=[])]
    models = team(plan_track=lambda _: plans.pop(0))

    outcome, events = await play(models, tmp_path, track={"id": "t", "goal": "g"})

    assert outcome.state is RunState.COMPLETED
    first, second = [e.problem for e in events if isinstance(e, AnswerRejected)]
    assert "a → b → a" in first
    assert "'z'" in second


async def test_json_in_a_fence_is_taken(tmp_path: Path) -> None:
    models = team(plan_track=f"```json\n{tickets(a=[])}\n```")

    outcome, _ = await play(models, tmp_path, track={"id": "t", "goal": "g"})

    assert outcome.state is RunState.COMPLETED


async def test_what_depends_on_a_failed_ticket_is_blocked_with_the_reason(
    tmp_path: Path,
) -> None:
    def work(request: ChatRequest) -> Said:
        return "" if request.origin.ticket == "a" else "done"

    plan = tickets(a=[], b=["a"], c=["b"], d=[])
    models = team(ticket=work, plan_track=plan)
    outcome, _ = await play(models, tmp_path, track={"id": "t", "goal": "g"})

    assert outcome.state is RunState.FAILED
    assert states(outcome) == {
        "a": "failed",
        "b": "blocked",
        "c": "blocked",
        "d": "completed",
    }
    reasons = {ticket.id: ticket.reason for ticket in outcome.tickets}
    assert reasons["b"] == "waits for 'a', which is failed"
    assert reasons["c"] == "waits for 'b', which is blocked"
    assert "accept" not in [r.origin.task for r in models.requests]


async def test_a_failed_ticket_gets_a_fresh_worker_who_is_told_why(
    tmp_path: Path,
) -> None:
    def work(request: ChatRequest) -> Said:
        return "" if request.origin.attempt < 3 else "at last"

    models = team(ticket=work)
    outcome, events = await play(models, tmp_path)

    (ticket,) = outcome.tickets
    assert (ticket.state, ticket.attempts) == (TicketState.COMPLETED, 3)
    assert ticket.answer == "at last"
    last = models.requests[-1]
    assert len(last.turns) == 1
    assert said(last).count("An earlier attempt failed") == 2
    assert [e.origin.attempt for e in events if isinstance(e, TicketStarted)] == [
        1,
        2,
        3,
    ]


async def test_a_ticket_that_never_works_out_fails_after_its_attempts(
    tmp_path: Path,
) -> None:
    outcome, events = await play(team(ticket=""), tmp_path)

    (ticket,) = outcome.tickets
    assert (ticket.state, ticket.attempts) == (TicketState.FAILED, 3)
    assert ticket.rounds == 6
    assert outcome.state is RunState.FAILED
    (finished,) = [e for e in events if isinstance(e, TicketFinished)]
    assert "empty reply" in finished.reason


async def test_a_worker_that_crashes_is_replaced(tmp_path: Path) -> None:
    def work(request: ChatRequest) -> Said:
        if request.origin.attempt == 1:
            raise ZeroDivisionError("a bug")

        return "done"

    outcome, events = await play(team(ticket=work), tmp_path)

    assert outcome.state is RunState.COMPLETED
    (returned,) = [e for e in events if isinstance(e, TicketReturned)]
    assert "a bug" in returned.reason


async def test_a_wrong_key_is_not_tried_again(tmp_path: Path) -> None:
    error = AuthenticationFailed("no", ProviderFacts(provider="function", status=401))
    models = team(ticket=failed_with(error))

    outcome, _ = await play(models, tmp_path)

    assert outcome.state is RunState.PROVIDER_FAILED
    assert "the API key was not accepted" in outcome.reason
    assert len(models.requests) == 1


async def test_an_orchestrator_without_a_provider_ends_the_run(tmp_path: Path) -> None:
    error = AuthenticationFailed("no", ProviderFacts(provider="function", status=401))

    outcome, _ = await play(
        team(plan_epic=failed_with(error)), tmp_path, epic="build it"
    )

    assert outcome.state is RunState.PROVIDER_FAILED
    assert outcome.tickets == ()


async def test_a_provider_that_comes_back_is_forgiven(tmp_path: Path) -> None:
    facts = ProviderFacts(provider="function", in_stream=True, partial_text="half")

    def work(request: ChatRequest) -> Said:
        if request.origin.attempt == 1:
            raise ConnectionFailed("broke off", facts)

        return "done"

    outcome, _ = await play(team(ticket=work), tmp_path)

    assert outcome.state is RunState.COMPLETED


async def test_a_worker_out_of_rounds_is_bounded_and_its_partial_work_kept(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path / "project", a__txt="a\n")

    def work(request: ChatRequest) -> Said:
        return use("write_file", path=f"{request.turn}.txt", content="x\n")

    outcome, _ = await play(
        team(ticket=work),
        tmp_path,
        workspace={"path": folder},
        tiers={"worker": {"model": "function:m", "max_tool_rounds": 3}},
    )

    assert outcome.state is RunState.BOUNDED
    (ticket,) = outcome.tickets
    assert (ticket.state, ticket.rounds) == (TicketState.BOUNDED, 3)
    assert outcome.changes == ()
    assert outcome.folder is not None
    patch = (outcome.folder / "unmerged" / "one-1.patch").read_text()
    assert "1.txt" in patch
    assert "2.txt" in patch


# --- reviews and commands -----------------------------------------------------


async def test_a_returned_ticket_goes_to_the_same_worker(tmp_path: Path) -> None:
    verdicts = [accepted("1. again"), accepted()]
    models = team(review=lambda _: verdicts.pop(0), plan_track=tickets(a=[]))

    outcome, events = await play(models, tmp_path, track={"id": "t", "goal": "g"})

    assert outcome.state is RunState.COMPLETED
    (ticket,) = outcome.tickets
    assert (ticket.attempts, ticket.rounds) == (1, 2)
    second = [r for r in models.requests if r.origin.task == "ticket"][1]
    assert "1. again" in said(second)
    assert [e.by for e in events if isinstance(e, TicketReturned)] == ["review"]


async def test_a_rejected_track_fails_the_run_with_the_reason(tmp_path: Path) -> None:
    models = team(
        plan_epic=tracks("a"), plan_track=tickets(x=[]), accept=accepted("no tests")
    )

    outcome, _ = await play(models, tmp_path, epic="build it")

    assert outcome.state is RunState.FAILED
    assert outcome.tracks[0].state is TrackState.REJECTED
    assert "no tests" in outcome.reason


async def test_a_failing_acceptance_command_is_explained_to_the_worker(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path / "project", a__txt="a\n")

    def work(request: ChatRequest) -> Said:
        match request.turn:
            case 1:
                return "I think that I am done"
            case 2:
                return use("write_file", path="b.txt", content="b\n")
            case _:
                return "now I am"

    models = team(ticket=work, hint="b.txt is missing")
    outcome, _ = await play(
        models,
        tmp_path,
        workspace={"path": folder},
        tiers={"qa": {"model": "function:m"}},
        tickets=[{"id": "one", "description": "d", "acceptance": [READ_B]}],
    )

    assert outcome.state is RunState.COMPLETED
    told = said(next(r for r in models.requests if r.turn == 2))
    assert "exit code 1" in told
    assert "Hint: b.txt is missing" in told
    assert "FileNotFoundError" in told
    (hint,) = [r for r in models.requests if r.origin.task == "hint"]
    assert "FileNotFoundError" in said(hint)


async def test_a_missing_hint_does_not_stop_the_worker(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", a__txt="a\n")
    error = AuthenticationFailed("no", ProviderFacts(provider="function", status=401))

    def work(request: ChatRequest) -> Said:
        if request.turn == 1:
            return use("run_command", command="python -c 1/0")

        return "done"

    models = team(ticket=work, hint=failed_with(error))
    outcome, _ = await play(
        models,
        tmp_path,
        workspace={"path": folder},
        tiers={"qa": {"model": "function:m"}},
    )

    assert outcome.state is RunState.COMPLETED
    result = models.requests[-1].turns[-1]
    assert isinstance(result, ToolTurn)
    assert isinstance(result.results[0].content[0], Text)
    assert "ZeroDivisionError" in result.results[0].content[0].text


async def test_two_tickets_that_change_the_same_line_conflict_and_one_goes_again(
    tmp_path: Path,
) -> None:
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
            text = f"{name}\n" if attempt == 1 else f"both, says {name}\n"
            return use("write_file", path="a.txt", content=text)

        return "done"

    outcome, events = await play(
        FunctionProvider(work),
        tmp_path,
        workspace={"path": folder},
        tickets=[
            {"id": "first", "description": "d"},
            {"id": "second", "description": "d"},
        ],
    )

    assert outcome.state is RunState.COMPLETED
    (returned,) = [e for e in events if isinstance(e, TicketReturned)]
    assert returned.by == "merge"
    assert "a.txt" in returned.reason
    assert outcome.tree is not None
    assert (outcome.tree / "a.txt").read_text().startswith("both")
    assert (folder / "a.txt").read_text() == "old\n"


# --- tickets that come later, and orders --------------------------------------


async def test_a_rejected_track_gets_the_tickets_that_are_missing(
    tmp_path: Path,
) -> None:
    plans = [tickets(x=[]), tickets(y=["x"])]
    verdicts = [accepted("no tests"), accepted()]
    models = team(
        plan_epic=tracks("a"),
        plan_track=lambda _: plans.pop(0),
        accept=lambda _: verdicts.pop(0),
    )

    outcome, _ = await play(models, tmp_path, epic="build it")

    assert outcome.state is RunState.COMPLETED
    assert states(outcome) == {"x": "completed", "y": "completed"}
    rework = [r for r in models.requests if r.origin.task == "plan"][-1]
    assert "no tests" in said(rework)
    assert "at most 4" in said(rework)


async def test_a_review_may_add_tickets_within_the_limit(tmp_path: Path) -> None:
    more = json.loads(tickets(y=["x"], z=[]))["tickets"]
    reviews = [
        {"accepted": True, "remarks": "", "tickets": more},
        {"accepted": True, "remarks": "", "tickets": more[:1]},
    ]

    def review(request: ChatRequest) -> str:
        last = request.origin.ticket != "x"
        return accepted() if last else json.dumps(reviews.pop(0))

    models = team(plan_track=tickets(x=[]), review=review)
    outcome, events = await play(
        models,
        tmp_path,
        track={"id": "t", "goal": "g"},
        tiers={"tech_lead": {"model": "function:m", "max_added_tickets": 1}},
    )

    assert outcome.state is RunState.COMPLETED
    assert states(outcome) == {"x": "completed", "y": "completed"}
    (rejected,) = [e for e in events if isinstance(e, AnswerRejected)]
    assert "at most 1 may come" in rejected.problem
    asked = [r for r in models.requests if r.origin.task == "review"]
    assert "at most 1" in said(asked[0])
    assert "`tickets`" not in said(asked[-1])


class Held:
    """Workers that wait until they are let go, ticket by ticket."""

    def __init__(self, *names: str) -> None:
        self.provider = FunctionProvider(self.work)
        self.begun = {name: anyio.Event() for name in names}
        self.may_end = {name: anyio.Event() for name in names}
        self.failing: set[str] = set()

    async def work(self, request: ChatRequest) -> Said:
        name = request.origin.ticket
        self.begun[name].set()
        await self.may_end[name].wait()
        return "" if name in self.failing else "done"


def plan_of(**needs: list[str]) -> list[dict[str, object]]:
    plan: list[dict[str, object]] = json.loads(tickets(**needs))["tickets"]
    return plan


async def test_a_failed_ticket_that_is_ordered_again_starts_over(
    tmp_path: Path,
) -> None:
    held = Held("a", "b", "c")
    held.failing.add("a")
    held.may_end["a"].set()
    held.may_end["b"].set()
    one = {"worker": {"model": "function:m", "attempts": 1}}
    plan = plan_of(a=[], b=["a"], c=[])

    async with Runtime(home=tmp_path, providers=[held.provider]) as runtime:
        run = await runtime.start(scenario(tickets=plan, tiers=one))
        with anyio.fail_after(10):
            async for event in run.events():
                if isinstance(event, TicketFinished) and event.state == "blocked":
                    break

            held.failing.clear()
            assert await run.retry("a", "the cause is mended") == ("a", "b")
            held.may_end["c"].set()
            outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED
    assert [(t.id, t.attempts) for t in outcome.tickets] == [
        ("a", 2),
        ("b", 1),
        ("c", 1),
    ]


async def test_orders_are_messages_as_well(tmp_path: Path) -> None:
    held = Held("a", "b", "c")
    plan = plan_of(a=[], b=["a"], c=["b"])

    async with Runtime(home=tmp_path, providers=[held.provider]) as runtime:
        run = await runtime.start(scenario(tickets=plan))
        with anyio.fail_after(10):
            await held.begun["a"].wait()
            supervisor = run.supervisor
            assert supervisor is not None
            skip = OrderTicket(ticket="b", order=Order.SKIP, reason="not needed")
            assert await supervisor.ask(skip) == ("b",)
            with pytest.raises(Refused, match="'b' is skipped"):
                await supervisor.ask(OrderTicket(ticket="b", order=Order.BLOCK))

            supervisor.tell(CancelRun("enough"))
            outcome = await run.outcome()

    assert (outcome.state, outcome.reason) == (RunState.CANCELLED, "enough")
    assert states(outcome) == {"a": "cancelled", "b": "skipped", "c": "cancelled"}
    assert run.supervisor is None


async def test_one_ticket_at_work_can_be_cancelled_and_blocks_those_behind(
    tmp_path: Path,
) -> None:
    held = Held("a", "b", "c")
    plan = plan_of(a=[], b=["a"], c=[])

    async with Runtime(home=tmp_path, providers=[held.provider]) as runtime:
        run = await runtime.start(scenario(tickets=plan))
        with anyio.fail_after(10):
            await held.begun["a"].wait()
            await run.cancel_ticket("a", "not wanted")
            held.may_end["c"].set()
            outcome = await run.outcome()

    assert states(outcome) == {"a": "cancelled", "b": "blocked", "c": "completed"}
    assert outcome.state is RunState.FAILED
    assert outcome.reason == "ticket 'a': not wanted"


async def test_skipped_and_blocked_tickets_show_in_the_outcome(tmp_path: Path) -> None:
    held = Held("a", "b", "c", "d")
    plan = plan_of(a=[], b=["a"], c=["b"], d=["a"])

    async with Runtime(home=tmp_path, providers=[held.provider]) as runtime:
        run = await runtime.start(scenario(tickets=plan))
        with anyio.fail_after(10):
            await held.begun["a"].wait()
            assert await run.skip("b", "is there already") == ("b",)
            assert await run.block("d") == ("d",)
            with pytest.raises(Refused, match="is running"):
                await run.skip("a")

            held.may_end["a"].set()
            held.may_end["c"].set()
            outcome = await run.outcome()

    assert states(outcome) == {
        "a": "completed",
        "b": "skipped",
        "c": "completed",
        "d": "blocked",
    }
    assert outcome.reason == "ticket 'd': blocked by hand"


async def test_a_paused_run_starts_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    held = Held("a", "b")
    held.may_end["b"].set()

    async with Runtime(home=tmp_path, providers=[held.provider]) as runtime:
        run = await runtime.start(scenario(tickets=plan_of(a=[], b=["a"])))
        with anyio.fail_after(10):
            await held.begun["a"].wait()
            run.pause("lunch")
            held.may_end["a"].set()
            await anyio.wait_all_tasks_blocked()
            assert not held.begun["b"].is_set()

            run.resume()
            outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED


async def test_orders_right_after_the_start_are_followed(tmp_path: Path) -> None:
    models = team()

    async with Runtime(home=tmp_path, providers=[models]) as runtime:
        run = await runtime.start(scenario(tickets=plan_of(a=[], b=[])))
        run.pause("not yet")
        with anyio.fail_after(10):
            assert await run.skip("b", "not wanted") == ("b",)
            await anyio.wait_all_tasks_blocked()
            assert models.requests == []

            run.resume()
            outcome = await run.outcome()

    assert states(outcome) == {"a": "completed", "b": "skipped"}


async def test_an_order_for_a_run_that_ends_before_it_begins_is_refused(
    tmp_path: Path,
) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        run = await runtime.start(scenario())
        run.stop("never mind")
        with anyio.fail_after(10), pytest.raises(Refused, match="not at work"):
            await run.block("one")


async def test_an_order_after_the_end_is_refused(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        run = await runtime.start(scenario())
        await run.outcome()

        with pytest.raises(Refused, match="not at work"):
            await run.retry("one")


# --- budgets ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "unit"), [({"tokens": 40}, "tokens"), ({"usd": "0.00003"}, "usd")]
)
async def test_a_spent_budget_ends_the_run(
    tmp_path: Path, budget: dict[str, object], unit: str
) -> None:
    async def work(_request: ChatRequest) -> Said:
        # As a real model would, it lets others have their turn.
        await anyio.wait_all_tasks_blocked()
        return use("nothing")

    models = FunctionProvider(work)
    outcome, _ = await play(
        models,
        tmp_path,
        budget=budget,
        prices=[{"match": "function:", "input": 1, "output": 1}],
    )

    assert outcome.state is RunState.OVER_BUDGET
    assert unit in outcome.reason
    assert outcome.tickets[0].state is TicketState.OVER_BUDGET
    assert outcome.costs.total.calls == len(models.requests) == 0


async def test_a_budget_in_seconds_ends_the_run(tmp_path: Path) -> None:
    async def work(_request: ChatRequest) -> Said:
        await anyio.sleep_forever()
        return "never"

    with anyio.fail_after(10):
        outcome, _ = await play(
            FunctionProvider(work), tmp_path, budget={"seconds": 0.05}
        )

    assert outcome.state is RunState.OVER_BUDGET
    assert "0.05 seconds" in outcome.reason
    # The call that was under way is neither free nor of a known price.
    assert outcome.costs.total.unknown_calls == 1


@pytest.mark.parametrize("where", ["order", "route"])
async def test_a_bug_of_ours_ends_the_run_and_its_outcome_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("bug")

    asked = anyio.Event()

    async def work(_request: ChatRequest) -> Said:
        asked.set()
        await anyio.sleep_forever()
        return "never"

    broken = {"order": (OrderBook, "pause"), "route": (Schedule, "chosen")}
    monkeypatch.setattr(*broken[where], fail)
    models = FunctionProvider(work)
    async with Runtime(home=tmp_path / "home", providers=[models]) as runtime:
        run = await runtime.start(scenario())
        if where == "order":
            await asked.wait()
            run.pause()

        with anyio.fail_after(10):
            outcome = await run.outcome()

        crashed = [e async for e in run.events() if isinstance(e, ActorCrashed)]

    assert outcome.state is RunState.FAILED
    assert outcome.reason.startswith("internal error: ")
    assert outcome.tickets[0].state is not TicketState.COMPLETED
    # That of the order is the supervisor's, which takes its agents with it.
    named = [event.error for event in crashed] or [outcome.reason]
    assert "ZeroDivisionError: bug" in named[0]


def test_the_helpers_write_plans_that_are_json() -> None:
    assert json.loads(tickets(a=["b"]))["tickets"][0]["depends_on"] == ["b"]
