"""Which ticket goes next, and what orders do to those behind it."""

from collections.abc import Iterator

import pytest

from mma_runtime.errors import Refused
from mma_runtime.outcome import TicketState
from mma_runtime.plan import Priority, Severity, Ticket
from mma_runtime.supervisor.board import Board, TicketCard
from mma_runtime.supervisor.schedule import Schedule


class Plan:
    """A board with a schedule: `a="high"` or `b=["a"]` is a ticket."""

    def __init__(self, **tickets: list[str] | str) -> None:
        self.board = Board()
        self.schedule = Schedule(self.board.tickets)
        self.add(tickets)

    def add(
        self,
        tickets: dict[str, list[str] | str],
        severity: Severity = Severity.MEDIUM,
    ) -> None:
        planned = [
            Ticket(
                id=name,
                description="d",
                depends_on=tuple(given) if isinstance(given, list) else (),
                priority=Priority(given) if isinstance(given, str) else Priority.MEDIUM,
            )
            for name, given in tickets.items()
        ]
        self.schedule.add(self.board.add_tickets(planned).values(), severity)

    def __getitem__(self, name: str) -> TicketCard:
        return self.board.tickets[name]

    def take_all(self) -> Iterator[str]:
        while (card := self.schedule.take()) is not None:
            yield card.ticket.id

    def end(self, name: str, state: TicketState = TicketState.COMPLETED) -> list[str]:
        self[name].state = state
        return [card.ticket.id for card in self.schedule.end(self[name])]

    @property
    def states(self) -> dict[str, str]:
        return {name: card.state.value for name, card in self.board.tickets.items()}


def test_priority_goes_before_how_much_waits_behind() -> None:
    plan = Plan(a="low", b="high", c=[], d=[], e=["d"], f=["e"])

    assert list(plan.take_all()) == ["b", "d", "c", "a"]


def test_what_waits_is_counted_over_all_steps_and_once() -> None:
    plan = Plan(one=[], two=[], x=["one"], y=["one"], z=["x", "y"], p=["two"], q=["p"])

    assert next(plan.take_all()) == "one"
    assert next(plan.take_all()) == "two"


def test_of_equals_the_severest_track_and_then_the_first_added_goes_first() -> None:
    plan = Plan(a=[], b=[])
    plan.add({"c": []}, Severity.HIGH)

    assert list(plan.take_all()) == ["c", "a", "b"]


def test_a_ticket_is_ready_when_all_that_it_needs_is_done() -> None:
    plan = Plan(a=[], b=[], c=["a", "b"])
    assert list(plan.take_all()) == ["a", "b"]

    plan.end("a")
    assert plan.schedule.take() is None
    plan.end("b")

    assert list(plan.take_all()) == ["c"]


def test_tickets_added_later_change_the_order_of_those_that_wait() -> None:
    plan = Plan(a=[], b=[])
    plan.add({"c": ["b"]})

    assert list(plan.take_all()) == ["b", "a"]


def test_a_failure_blocks_all_behind_it_with_the_reason() -> None:
    plan = Plan(a=[], b=["a"], c=["b"], d=[])
    list(plan.take_all())

    assert plan.end("a", TicketState.FAILED) == ["b", "c"]
    assert plan["b"].reason == "waits for 'a', which is failed"
    assert plan["c"].reason == "waits for 'b', which is blocked"
    assert plan["c"].blocked_by == "b"


def test_a_ticket_added_behind_a_failure_is_blocked_at_once() -> None:
    plan = Plan(a=[])
    list(plan.take_all())
    plan.end("a", TicketState.FAILED)

    plan.add({"b": ["a"], "c": ["b"]})

    assert plan.states == {"a": "failed", "b": "blocked", "c": "blocked"}
    assert plan["b"].reason == "waits for 'a', which is failed"


def test_unblocking_brings_back_what_was_blocked_because_of_it() -> None:
    plan = Plan(a=[], b=["a"], c=["b"])
    schedule = plan.schedule
    assert [c.ticket.id for c in schedule.block(plan["a"], "wait")] == ["a", "b", "c"]
    assert schedule.take() is None

    again = schedule.unblock(plan["a"])

    assert [card.ticket.id for card in again] == ["a", "b", "c"]
    assert list(plan.take_all()) == ["a"]
    assert plan.states == {"a": "running", "b": "pending", "c": "pending"}


def test_unblocking_is_refused_while_dependencies_are_unmet() -> None:
    plan = Plan(a=[], b=["a"])
    list(plan.take_all())
    plan.end("a", TicketState.FAILED)

    with pytest.raises(Refused, match="'b' waits for 'a', which is failed"):
        plan.schedule.unblock(plan["b"])

    assert plan["b"].state is TicketState.BLOCKED


def test_what_is_still_open_is_unmet_too() -> None:
    plan = Plan(a=[], b=["a"], c=["b"])
    plan.schedule.block(plan["b"], "wait")

    with pytest.raises(Refused, match="'b' waits for 'a', which is pending"):
        plan.schedule.unblock(plan["b"])

    list(plan.take_all())
    with pytest.raises(Refused, match="'b' waits for 'a', which is running"):
        plan.schedule.unblock(plan["b"])

    plan.end("a")
    again = plan.schedule.unblock(plan["b"])

    assert [card.ticket.id for card in again] == ["b", "c"]
    assert list(plan.take_all()) == ["b"]


def test_a_ticket_behind_two_failures_stays_blocked_by_the_other() -> None:
    plan = Plan(a=[], b=[], c=["a", "b"], d=["c"])
    list(plan.take_all())
    plan.end("a", TicketState.FAILED)
    plan.end("b", TicketState.FAILED)

    assert [c.ticket.id for c in plan.schedule.retry(plan["a"])] == ["a"]
    assert plan["c"].reason == "waits for 'b', which is failed"

    assert [c.ticket.id for c in plan.schedule.retry(plan["b"])] == ["b", "c", "d"]


def test_a_retried_ticket_is_ready_again() -> None:
    plan = Plan(a=[], b=["a"])
    list(plan.take_all())
    plan.end("a", TicketState.STUCK)

    plan.schedule.retry(plan["a"])

    assert list(plan.take_all()) == ["a"]
    assert plan["b"].state is TicketState.PENDING


@pytest.mark.parametrize("state", [TicketState.PENDING, TicketState.FAILED])
def test_what_depends_on_a_skipped_ticket_goes_on(state: TicketState) -> None:
    plan = Plan(a=[], b=["a"])
    if state is TicketState.FAILED:
        list(plan.take_all())
        plan.end("a", state)

    plan.schedule.skip(plan["a"], "not needed")

    assert list(plan.take_all()) == ["b"]
    assert plan["a"].reason == "not needed"


def test_a_waiting_ticket_that_is_cancelled_blocks_those_behind() -> None:
    plan = Plan(a=[], b=["a"])

    ended = plan.schedule.cancel(plan["a"], "changed my mind")

    assert [card.ticket.id for card in ended] == ["a", "b"]
    assert plan.states == {"a": "cancelled", "b": "blocked"}
    assert plan.schedule.take() is None


def test_a_ticket_at_work_that_is_cancelled_ends_later() -> None:
    plan = Plan(a=[], b=["a"])
    list(plan.take_all())

    assert plan.schedule.cancel(plan["a"], "no") == []
    assert plan.states == {"a": "cancelled", "b": "pending"}
    assert [card.ticket.id for card in plan.schedule.end(plan["a"])] == ["b"]


def test_a_cancelled_ticket_stays_so_when_what_had_blocked_it_is_unblocked() -> None:
    plan = Plan(a=[], b=["a"], c=["b"], d=["a"])
    plan.schedule.block(plan["a"], "wait")
    plan.schedule.cancel(plan["b"], "never")

    reopened = plan.schedule.unblock(plan["a"])

    assert [card.ticket.id for card in reopened] == ["a", "d"]
    assert plan.states == {
        "a": "pending",
        "b": "cancelled",
        "c": "blocked",
        "d": "pending",
    }


def test_another_priority_counts_at_once() -> None:
    plan = Plan(a=[], b=[], c=[])
    plan.schedule.prioritise(plan["c"], Priority.HIGH)
    plan.schedule.prioritise(plan["a"], Priority.LOW)

    assert list(plan.take_all()) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("order", "state"),
    [
        ("block", TicketState.RUNNING),
        ("unblock", TicketState.PENDING),
        ("retry", TicketState.COMPLETED),
        ("skip", TicketState.RUNNING),
        ("cancel", TicketState.COMPLETED),
        ("prioritise", TicketState.RUNNING),
    ],
)
def test_an_order_that_does_not_fit_the_state_is_refused(
    order: str, state: TicketState
) -> None:
    plan = Plan(a=[])
    plan["a"].state = state
    arguments: dict[str, list[object]] = {
        "prioritise": [Priority.LOW],
        "unblock": [],
        "retry": [],
    }

    with pytest.raises(Refused, match=f"'a' is {state.value}"):
        getattr(plan.schedule, order)(plan["a"], *arguments.get(order, ["why"]))


def test_an_unknown_ticket_is_refused_with_the_near_miss() -> None:
    with pytest.raises(Refused, match="`parser`"):
        Plan(parser=[]).schedule.card("parsre")
