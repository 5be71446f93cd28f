"""Whole runs under budgets: how they conclude, what is kept, what is told."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from mma_runtime import Outcome, RunState, Runtime
from mma_runtime.errors import (
    ConfigurationError,
    ProviderFacts,
    ProviderFailed,
    QuotaExhausted,
)
from mma_runtime.events import BudgetReached, BudgetWarning, Event
from mma_runtime.llm.chat import ChatRequest, Completion, Finish, UserTurn, user
from mma_runtime.llm.usage import Usage
from mma_runtime.outcome import TicketState
from mma_runtime.rounds import OVER_BUDGET
from mma_runtime.testing import FunctionProvider, Said
from tests.team import accepted, scenario, team, tickets, use

PRICES = [{"match": "function:", "input": 1, "output": 1}]


async def play(
    provider: FunctionProvider, tmp_path: Path, **keys: Any
) -> tuple[Outcome, list[Event]]:
    async with Runtime(home=tmp_path / "home", providers=[provider]) as runtime:
        run = await runtime.start(scenario(**{"prices": PRICES, **keys}))
        events = run.events()
        outcome = await run.outcome()
        return outcome, [event async for event in events]


def working(request: ChatRequest) -> Said:
    """Ask for a tool as long as there are some, then conclude."""
    if request.tools:
        return use("nothing")

    return "half of it is done"


def states(outcome: Outcome) -> dict[str, str]:
    return {ticket.id: ticket.state.value for ticket in outcome.tickets}


async def test_a_worker_concludes_with_what_was_kept_back_for_that(
    tmp_path: Path,
) -> None:
    provider = team(ticket=working)

    outcome, events = await play(
        provider, tmp_path, budget={"calls": 4}, workspace={"path": workspace(tmp_path)}
    )

    assert outcome.state is RunState.OVER_BUDGET
    assert "4 calls" in outcome.reason
    (ticket,) = outcome.tickets
    assert (ticket.state, ticket.answer) == (
        TicketState.OVER_BUDGET,
        "half of it is done",
    )
    assert len(provider.requests) == outcome.costs.total.calls == 4
    last = provider.requests[-1]
    assert last.tools == ()
    assert last.turns[-1] == user(OVER_BUDGET)
    assert sum(isinstance(event, BudgetReached) for event in events) == 1
    warned = [one.per_cent for one in events if isinstance(one, BudgetWarning)]
    assert warned == [50, 95]


async def test_what_is_left_is_reckoned_from_what_is_done(tmp_path: Path) -> None:
    provider = team()

    outcome, _ = await play(
        provider,
        tmp_path,
        budget={"calls": 2},
        tiers={"worker": {"model": "function:m", "count": 1}},
        tickets=[{"id": name, "description": "d"} for name in "abcd"],
    )

    assert states(outcome) == {
        "a": "completed",
        "b": "completed",
        "c": "over_budget",
        "d": "over_budget",
    }
    # Each has cost 10 tokens in and 5 out at a dollar per million.
    assert outcome.to_go_on_usd == Decimal("0.0001")


async def test_a_tickets_budget_stops_that_ticket_alone(tmp_path: Path) -> None:
    def work(request: ChatRequest) -> Said:
        if request.origin.ticket == "greedy":
            return working(request)

        return "done"

    outcome, _ = await play(
        team(ticket=work),
        tmp_path,
        budget={"ticket": {"calls": 3}},
        workspace={"path": workspace(tmp_path)},
        tickets=[
            {"id": "greedy", "description": "d"},
            {"id": "modest", "description": "d"},
            {"id": "after", "description": "d", "depends_on": ["greedy"]},
        ],
    )

    assert outcome.state is RunState.OVER_BUDGET
    assert "ticket 'greedy'" in outcome.reason
    assert states(outcome) == {
        "greedy": "over_budget",
        "modest": "completed",
        "after": "blocked",
    }


async def test_a_tiers_budget_holds_over_the_whole_run(tmp_path: Path) -> None:
    provider = team(plan_track=tickets(a=[], b=[], c=[]), review=accepted())

    outcome, _ = await play(
        provider,
        tmp_path,
        track={"id": "t", "goal": "g"},
        tiers={
            "tech_lead": {"model": "function:m", "budget": {"calls": 2}},
            "worker": {"model": "function:m", "count": 1},
        },
    )

    assert outcome.state is RunState.OVER_BUDGET
    assert "tier 'tech_lead'" in outcome.reason
    asked = [request.origin.task for request in provider.requests]
    # The plan and one review; no other was made.
    assert asked.count("plan") + asked.count("review") == 2


async def test_a_budget_that_suffices_changes_nothing(tmp_path: Path) -> None:
    outcome, events = await play(
        team(),
        tmp_path,
        budget={"usd": "1", "tokens": 100_000, "calls": 10, "seconds": 60},
    )

    assert outcome.state is RunState.COMPLETED
    assert outcome.to_go_on_usd is None
    assert not [one for one in events if isinstance(one, BudgetWarning)]


async def test_a_budget_in_dollars_needs_prices(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="price of function:m"):
        await play(team(), tmp_path, prices=[], budget={"ticket": {"usd": "1"}})


async def test_mma_toml_has_prices_for_all_runs(tmp_path: Path) -> None:
    (tmp_path / "mma.toml").write_text(
        '[[prices]]\nmatch = "^function:"\ninput = 2\noutput = 0\n'
    )

    outcome, _ = await play(team(), tmp_path, prices=[])

    assert outcome.costs.total.usd == Decimal("0.00002")


async def test_a_scenarios_prices_come_before_those_of_mma_toml(tmp_path: Path) -> None:
    (tmp_path / "mma.toml").write_text(
        '[[prices]]\nmatch = "^function:"\ninput = 2\noutput = 0\n'
    )

    outcome, _ = await play(team(), tmp_path)

    assert outcome.costs.total.usd == Decimal("0.000015")


async def test_a_runtime_knows_what_all_its_runs_have_spent(tmp_path: Path) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        for _ in range(2):
            run = await runtime.start(scenario(prices=PRICES))
            await run.outcome()
        report = await runtime.costs()

    assert report.total.calls == 2
    assert len(report.by("run")) == 2
    (line,) = report.by("provider")
    assert (line.provider, line.spent.usd) == ("function", Decimal("0.00003"))


async def test_the_next_model_does_the_work_when_the_first_is_out_of_quota(
    tmp_path: Path,
) -> None:
    spare = FunctionProvider(lambda _: "done by the spare", name="spare")
    first = FunctionProvider(out_of_quota)

    async with Runtime(home=tmp_path, providers=[first, spare]) as runtime:
        run = await runtime.start(
            scenario(tiers={"worker": {"model": ["function:m", "spare:n"]}})
        )
        outcome = await run.outcome()

    assert outcome.state is RunState.COMPLETED
    assert outcome.tickets[0].answer == "done by the spare"
    assert spare.requests[0].model == "n"
    by_model = {line.model: line.spent for line in outcome.costs.by("model")}
    assert (by_model["function:m"].attempts, by_model["function:m"].calls) == (1, 0)
    assert by_model["spare:n"].calls == 1


async def test_limits_of_a_scenario_hold(tmp_path: Path) -> None:
    flying: list[int] = [0, 0]

    async def work(_request: ChatRequest) -> Said:
        flying[0] += 1
        flying[1] = max(flying)
        await anyio.wait_all_tasks_blocked()
        flying[0] -= 1
        return "done"

    outcome, _ = await play(
        FunctionProvider(work),
        tmp_path,
        limits={"function:m": {"in_flight": 2}},
        tiers={"worker": {"model": "function:m", "count": 8}},
        tickets=[{"id": f"t{number}", "description": "d"} for number in range(8)],
    )

    assert outcome.state is RunState.COMPLETED
    assert flying[1] == 2


async def test_the_conversation_is_counted_as_the_provider_counted_it(
    tmp_path: Path,
) -> None:
    def work(request: ChatRequest) -> Said:
        if len(provider.requests) < 3:
            return Completion(
                turn=use("nothing"),
                finish=Finish.TOOL_CALLS,
                usage=Usage(input=100 * len(provider.requests), output=5),
                model="m",
            )
        return "done"

    provider = FunctionProvider(work)
    await play(provider, tmp_path, workspace={"path": workspace(tmp_path)})

    first, second, third = provider.requests
    assert first.counted is None
    assert second.counted is not None
    assert (second.counted.turns, second.counted.tokens) == (len(first.turns), 100)
    assert third.counted is not None
    assert (third.counted.turns, third.counted.tokens) == (len(second.turns), 200)
    assert isinstance(first.turns[0], UserTurn)


def out_of_quota(_request: ChatRequest) -> Said:
    raise QuotaExhausted("", ProviderFacts(provider="function", status=429))


def workspace(tmp_path: Path) -> Path:
    """Return a folder with one file, so that there are tools."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.txt").write_text("a\n")
    return folder


@pytest.mark.parametrize(
    ("retries", "sent"),
    [({}, 1), ({"after_output": True}, 3), ({"after_output": True, "attempts": 2}, 2)],
)
async def test_what_broke_off_midway_is_sent_again_where_the_scenario_says_so(
    retries: dict[str, object], sent: int, tmp_path: Path
) -> None:
    seen: list[ChatRequest] = []

    def break_off(request: ChatRequest) -> Said:
        seen.append(request)
        if len(seen) == 3:
            return "done"

        facts = ProviderFacts(in_stream=True, partial_text="half", provider="function")
        raise ProviderFailed("it broke off", facts)

    outcome, _ = await play(
        FunctionProvider(break_off),
        tmp_path,
        retries=retries,
        tickets=[{"id": "t", "description": "d"}],
        tiers={"worker": {"model": "function:m", "attempts": 1}},
    )

    assert len(seen) == sent
    assert outcome.completed == (sent == 3)
