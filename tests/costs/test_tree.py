"""Budgets at all levels: what fits, who waits, and that no limit is ever passed."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from mma_runtime.costs.budget import Budget, Budgets
from mma_runtime.costs.reservations import (
    NOTHING,
    Amount,
    Reservation,
    State,
    WrapUp,
    add,
)
from mma_runtime.costs.tree import ENOUGH, BudgetTree
from mma_runtime.errors import BudgetExhausted, ConfigurationError
from mma_runtime.events import Origin
from mma_runtime.llm.pricing import FlatRates
from mma_runtime.llm.usage import Usage

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("budgets", "is_open"),
    [
        (Budgets(), True),
        # It refuses nothing for the run's time, but notes when that began.
        (Budgets(run=Budget(seconds=1)), False),
        (Budgets(ticket=Budget(seconds=1)), False),
        (Budgets(run=Budget(usd=Decimal(1))), False),
        (Budgets(tiers={"worker": Budget(calls=1)}), False),
    ],
)
def test_a_tree_is_open_where_nothing_is_limited(
    budgets: Budgets,
    is_open: bool,
) -> None:
    assert BudgetTree(budgets).is_open is is_open


def rates(plain: str = "1", output: str = "1") -> FlatRates:
    return FlatRates(
        input=Decimal(plain),
        output=Decimal(output),
        cache_read=Decimal(plain),
        cache_write=Decimal(plain),
        cache_write_1h=Decimal(plain),
    )


def wish(
    tokens: int = 1_000,
    wanted: int = 1_000,
    *,
    price: FlatRates | None = None,
    tier: str = "worker",
    track: str = "",
    ticket: str = "t",
    **more: Any,
) -> Reservation:
    price = price or rates()
    return Reservation(
        Origin(tier=tier, track=track, ticket=ticket),
        "p:m",
        tokens=tokens,
        wanted=wanted,
        quote=more.pop("quote", price.quote(tokens)),
        **more,
    )


def tree(run: Budget | None = None, **levels: Any) -> BudgetTree:
    return BudgetTree(Budgets(run=run or Budget(), **levels))


def exhausted(reservation: Reservation) -> BudgetExhausted:
    assert reservation.state is State.REFUSED
    assert isinstance(reservation.error, BudgetExhausted)
    return reservation.error


# --- what fits ----------------------------------------------------------------


def test_without_a_budget_every_call_is_granted_as_it_is() -> None:
    budgets, one = tree(), wish()

    budgets.reserve(one, 0)

    assert (one.state, one.output) == (State.GRANTED, None)
    assert budgets.run.held == Amount(Decimal("0.002"), 2_000, 1)


@pytest.mark.parametrize(
    ("budget", "unit", "needed"),
    [
        (Budget(usd=Decimal("0.001")), "usd", "0.001256"),
        (Budget(tokens=1_000), "tokens", "1256"),
        (Budget(calls=0), "calls", "1"),
    ],
)
def test_what_does_not_fit_is_refused_with_all_the_figures(
    budget: Budget, unit: str, needed: str
) -> None:
    budgets, one = tree(budget), wish()

    budgets.reserve(one, 0)

    error = exhausted(one)
    assert (error.level, error.name, error.unit) == ("run", "", unit)
    assert (error.spent, error.reserved, error.needed) == ("0", "0", needed)
    assert budgets.run.held == NOTHING


def test_the_output_limit_shrinks_to_what_fits() -> None:
    budgets, one = tree(Budget(tokens=1_500)), wish(tokens=1_000, wanted=1_000)

    budgets.reserve(one, 0)

    assert one.output == 500
    assert budgets.run.held.tokens == 1_500


@pytest.mark.parametrize(("floor", "fits"), [(500, True), (501, False)])
def test_the_output_limit_never_shrinks_below_the_floor(floor: int, fits: bool) -> None:
    budgets, one = tree(Budget(tokens=1_500), floor=floor), wish()

    budgets.reserve(one, 0)

    assert (one.state is State.GRANTED) is fits


def test_a_call_that_wants_less_than_the_floor_is_not_raised_to_it() -> None:
    budgets, one = tree(Budget(tokens=1_050)), wish(wanted=50)

    budgets.reserve(one, 0)

    assert one.output == 50


def test_a_limit_that_nobody_set_leaves_room_for_others() -> None:
    budgets = tree(Budget(tokens=100_000))
    one = wish(tokens=0, wanted=100_000, asked=False)

    budgets.reserve(one, 0)

    assert one.output == 25_000


def test_a_limit_that_nobody_set_is_not_cut_down_where_there_is_plenty() -> None:
    budgets = tree(Budget(usd=Decimal(100), tokens=1_000_000))
    one = wish(tokens=1_000, wanted=16_384, asked=False)

    budgets.reserve(one, 0)

    assert one.output == 16_384


def test_a_dollar_budget_cannot_be_kept_without_a_price() -> None:
    budgets, one = tree(Budget(usd=Decimal(1))), wish(quote=None)

    budgets.reserve(one, 0)

    assert isinstance(one.error, ConfigurationError)
    assert "p:m" in str(one.error)


@pytest.mark.parametrize(
    ("levels", "level", "name"),
    [
        ({"tiers": {"worker": Budget(calls=1)}}, "tier", "worker"),
        ({"track": Budget(calls=1)}, "track", "x"),
        ({"ticket": Budget(calls=1)}, "ticket", "t"),
    ],
)
def test_each_level_has_its_own_budget(
    levels: dict[str, Any], level: str, name: str
) -> None:
    budgets = tree(**levels)
    first, second = wish(track="x"), wish(track="x")
    elsewhere = wish(tier="qa", track="y", ticket="u")
    for one in (first, second, elsewhere):
        budgets.reserve(one, 0)
    budgets.settle(first, Amount(Decimal(0), 10, 1), 0)

    error = exhausted(second)
    assert (error.level, error.name) == (level, name)
    assert elsewhere.state is State.GRANTED


def test_a_tickets_budget_in_seconds_sets_a_deadline_and_ends() -> None:
    budgets = tree(ticket=Budget(seconds=10))
    first, late = wish(), wish()

    budgets.reserve(first, 100)
    budgets.settle(first, NOTHING, 101)
    budgets.reserve(late, 110)

    assert first.deadline == 110
    assert exhausted(late).unit == "seconds"


def test_a_runs_seconds_begin_with_its_first_call_where_they_were_left_off() -> None:
    budgets, ends = tree(Budget(seconds=10)), list[float]()
    budgets.took, budgets.run_ends = 7, ends.append
    first, late = wish(), wish()

    budgets.reserve(first, 100)
    budgets.reserve(late, 103)

    assert ends == [103]
    assert first.state is State.GRANTED
    assert (exhausted(late).level, exhausted(late).unit) == ("run", "seconds")


# --- who waits ----------------------------------------------------------------


def test_a_call_waits_for_one_that_may_come_out_cheaper() -> None:
    budgets = tree(Budget(tokens=3_000))
    first, second = wish(), wish()

    budgets.reserve(first, 0)
    budgets.reserve(second, 0)
    assert second.state is State.WAITING
    budgets.settle(first, Amount(Decimal(0), 1_000, 1), 0)

    assert (second.state, second.output) == (State.GRANTED, 1_000)


def test_a_call_that_can_never_fit_does_not_wait() -> None:
    budgets = tree(Budget(tokens=3_000))
    first, second = wish(), wish(tokens=5_000)

    budgets.reserve(first, 0)
    budgets.reserve(second, 0)

    assert exhausted(second).reserved == "2000"


def test_those_who_wait_are_served_in_order_and_refused_when_nothing_is_left() -> None:
    budgets = tree(Budget(calls=2))
    wishes = [wish() for _ in range(4)]
    for one in wishes:
        budgets.reserve(one, 0)
    assert [one.state for one in wishes[2:]] == [State.WAITING] * 2

    budgets.release(wishes[0], 0)
    assert wishes[2].state is State.GRANTED
    assert wishes[3].state is State.WAITING
    budgets.settle(wishes[1], Amount(calls=1), 0)
    budgets.settle(wishes[2], Amount(calls=1), 0)

    assert exhausted(wishes[3]).spent == "2"


@pytest.mark.parametrize("tier", ["orchestrator", "tech_lead", "qa"])
def test_other_tiers_overtake_the_workers_that_wait(tier: str) -> None:
    budgets = tree(Budget(tokens=20_000))
    first = wish(10_000, 2_000)
    workers = [wish(9_000, 2_000) for _ in range(3)]
    small, large, late = (wish(size, 300, tier=tier) for size in (200, 9_000, 200))
    for one in (first, *workers, small, large, late):
        budgets.reserve(one, 0)

    # It fits at once; the next does not, and is not overtaken by its like.
    assert small.state is State.GRANTED
    assert (large.state, late.state) == (State.WAITING, State.WAITING)

    budgets.settle(first, Amount(tokens=9_000, calls=1), 0)
    assert (large.state, late.state) == (State.GRANTED, State.GRANTED)

    for one in (small, large, late):
        budgets.settle(one, Amount(tokens=100, calls=1), 0)
    # Nor do workers wait for ever.
    assert workers[0].state is State.GRANTED
    budgets.settle(workers[0], Amount(tokens=9_000, calls=1), 0)
    assert [one.state for one in workers[1:]] == [State.REFUSED] * 2


def test_a_withdrawn_wish_is_passed_over() -> None:
    budgets = tree(Budget(calls=1))
    first, second, third = wish(), wish(), wish()
    for one in (first, second, third):
        budgets.reserve(one, 0)

    budgets.release(second, 0)
    budgets.release(first, 0)

    assert (second.state, third.state) == (State.ENDED, State.GRANTED)


def test_nobody_waits_for_less_than_enough() -> None:
    budgets = tree(Budget(tokens=20_000))
    first = wish(tokens=0, wanted=10_000)
    second = wish(tokens=0, wanted=20_000)

    budgets.reserve(first, 0)
    budgets.reserve(second, 0)

    assert second.output == 10_000 >= ENOUGH


def test_a_reservation_is_settled_once() -> None:
    budgets, one = tree(Budget(calls=5)), wish()
    budgets.reserve(one, 0)

    for _ in range(3):
        budgets.settle(one, Amount(calls=1), 0)

    assert (budgets.run.spent.calls, budgets.run.held) == (1, NOTHING)


def test_an_unknown_call_stays_charged_with_its_worst_case() -> None:
    budgets, one = tree(Budget(tokens=5_000)), wish()
    budgets.reserve(one, 0)

    budgets.settle(one, None, 0)

    assert budgets.run.spent == Amount(Decimal("0.002"), 2_000, 1)


def test_what_is_missing_is_worded_without_an_exponent() -> None:
    budgets, one = tree(Budget(usd=Decimal("0.00030"))), wish(tokens=0, wanted=10)
    for usd in ("0.00045", "0E-8"):
        budgets.spend(one.origin, Amount(usd=Decimal(usd)))

    budgets.reserve(one, 0)

    assert str(one.error) == (
        "the run's budget is used up: 0.00045 of 0.0003 usd spent, 0 reserved;"
        " the next call needs up to 0.00001"
    )


# --- the concluding turn ------------------------------------------------------


def test_a_ticket_keeps_enough_back_for_one_concluding_turn() -> None:
    budgets = tree(Budget(calls=3))
    turns = [wish(wrap_up=WrapUp.KEEP) for _ in range(3)]
    for turn in turns:
        budgets.reserve(turn, 0)
        budgets.settle(turn, Amount(calls=1), 0)
    last = wish(wrap_up=WrapUp.USE)

    budgets.reserve(last, 0)

    assert exhausted(turns[2]).spent == "2"
    assert last.state is State.GRANTED


def test_what_a_ticket_keeps_back_is_not_for_others() -> None:
    budgets = tree(Budget(calls=2))
    mine = wish(wrap_up=WrapUp.KEEP)
    budgets.reserve(mine, 0)
    budgets.settle(mine, Amount(calls=1), 0)
    other = wish(ticket="other")
    above = wish(ticket="", tier="tech_lead")
    budgets.reserve(other, 0)
    budgets.reserve(above, 0)
    assert exhausted(above).reserved == "1"
    states = [other.state]

    budgets.close(mine.origin, 0)

    assert [*states, other.state] == [State.WAITING, State.GRANTED]


def test_tickets_that_wait_for_what_each_other_keeps_do_not_wait_for_ever() -> None:
    budgets = tree(Budget(calls=4))
    first, second = (wish(wrap_up=WrapUp.KEEP, ticket=name) for name in "ab")
    for one in (first, second):
        budgets.reserve(one, 0)
        budgets.settle(one, Amount(calls=1), 0)
    more, still_more = (wish(wrap_up=WrapUp.KEEP, ticket=name) for name in "ab")

    budgets.reserve(more, 0)
    states = [more.state]
    budgets.reserve(still_more, 0)
    assert exhausted(still_more).reserved == "1"
    last = wish(wrap_up=WrapUp.USE, ticket="b")
    budgets.reserve(last, 0)
    budgets.settle(last, NOTHING, 0)
    budgets.close(last.origin, 0)

    assert [*states, more.state] == [State.WAITING, State.GRANTED]


def test_of_those_that_are_left_waiting_for_each_other_the_first_is_refused() -> None:
    budgets = tree(Budget(calls=6))
    for name in "abc":
        one = wish(wrap_up=WrapUp.KEEP, ticket=name)
        budgets.reserve(one, 0)
        budgets.settle(one, Amount(calls=1), 0)

    first, second = (wish(wrap_up=WrapUp.KEEP, ticket=name) for name in "ab")
    for one in (first, second):
        budgets.reserve(one, 0)
    states = [first.state, second.state]
    last = wish(wrap_up=WrapUp.USE, ticket="c")
    budgets.reserve(last, 0)
    budgets.settle(last, Amount(calls=1), 0)

    # The third ticket has used up what it had kept: nothing was freed.
    assert states == [State.WAITING, State.WAITING]
    assert [first.state, second.state] == [State.REFUSED, State.WAITING]


def test_who_waits_for_what_can_never_be_enough_is_refused() -> None:
    budgets = tree(Budget(calls=2))
    mine = wish(wrap_up=WrapUp.KEEP)
    budgets.reserve(mine, 0)
    budgets.settle(mine, Amount(calls=1), 0)
    other = wish(wrap_up=WrapUp.KEEP, ticket="other")
    budgets.reserve(other, 0)

    assert other.state is State.REFUSED


# --- never more than allowed --------------------------------------------------

_TICKETS = ("t1", "t2", "t3")
amounts = st.integers(0, 3_000)
limits = st.one_of(st.none(), st.integers(1, 20_000))
prices = st.decimals(0, 20, places=3)


@st.composite
def level_budgets(draw: st.DrawFn) -> Budget:
    tokens = draw(limits)
    usd = draw(st.one_of(st.none(), st.decimals("0.000001", "0.2", places=6)))
    return Budget(usd=usd, tokens=tokens, calls=draw(st.none() | st.integers(1, 12)))


class Spending(RuleBasedStateMachine):
    """Calls of all sizes come, wait, end well or badly, at random."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.tree = BudgetTree(Budgets())
        self.open: list[Reservation] = []
        self.spent = Amount()
        self.price = rates()

    @rule(
        budgets=st.builds(
            Budgets,
            run=level_budgets(),
            tiers=st.fixed_dictionaries({"worker": level_budgets()}),
            track=level_budgets(),
            ticket=level_budgets(),
            floor=st.integers(1, 500),
        ),
        price=st.builds(rates, prices.map(str), prices.map(str)),
    )
    def begin(self, budgets: Budgets, price: FlatRates) -> None:
        """Start over with other budgets."""
        self.tree = BudgetTree(budgets)
        self.open.clear()
        self.spent = Amount()
        self.price = price

    @rule(
        target=held,
        tokens=amounts,
        wanted=st.integers(1, 3_000),
        tier=st.sampled_from(["worker", "qa"]),
        ticket=st.sampled_from(_TICKETS),
        wrap_up=st.sampled_from(list(WrapUp)),
        asked=st.booleans(),
    )
    def reserve(
        self,
        tokens: int,
        wanted: int,
        tier: str,
        ticket: str,
        *,
        wrap_up: WrapUp,
        asked: bool,
    ) -> Reservation:
        one = wish(
            tokens,
            wanted,
            price=self.price,
            tier=tier,
            track="x",
            ticket=ticket,
            wrap_up=wrap_up,
            asked=asked,
        )
        self.open.append(one)
        self.tree.reserve(one, 0)
        return one

    @rule(
        one=consumes(held),
        share=st.floats(0, 1),
        end=st.sampled_from(["billed", "unknown", "turned away", "crashed"]),
    )
    def end(self, one: Reservation, share: float, end: str) -> None:
        if one not in self.open:
            return

        self.open.remove(one)
        granted = one.state is State.GRANTED
        spent: Amount | None
        match end:
            case "billed":
                usage = Usage(
                    input=int(one.tokens * share),
                    output=int(max(0, one.amount.tokens - one.tokens) * share),
                )
                spent = Amount(self.price.cost(usage), usage.total, 1)
            case "unknown":
                spent = None
            case _:
                spent = NOTHING

        self.tree.settle(one, spent, 0)
        if granted:
            spent = one.amount if spent is None else spent
            self.spent = add(self.spent, spent)

    @rule(ticket=st.sampled_from(_TICKETS))
    def agent_ends(self, ticket: str) -> None:
        self.tree.close(Origin(tier="worker", track="x", ticket=ticket), 0)

    @invariant()
    def no_limit_is_passed(self) -> None:
        for level in self.tree.levels():
            for unit, limit, spent, held in level.used():
                assert spent + held <= limit, (level.name, unit)

    @invariant()
    def sums_are_exact(self) -> None:
        assert self.tree.run.spent == self.spent

    @invariant()
    def held_is_what_is_in_flight_and_kept(self) -> None:
        for level in self.tree.levels():
            flying = [
                one
                for one in self.open
                if one.state is State.GRANTED and level in one.levels
            ]
            assert level.in_flight == len(flying)
            for unit in Amount._fields:
                sum_ = sum(getattr(one.amount, unit) for one in flying)
                assert getattr(level.held, unit) == sum_ + getattr(level.kept, unit)

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        waiting = {one.origin for one in self.open if one.state is State.WAITING}
        if waiting and not any(one.state is State.GRANTED for one in self.open):
            # Some ticket that does not wait keeps something back, and will end.
            assert self.tree.run.kept != NOTHING
            assert len(waiting) < len(_TICKETS)

    def teardown(self) -> None:
        for one in tuple(self.open):
            self.tree.release(one, 0)
        for ticket in _TICKETS:
            for tier in ("worker", "qa"):
                self.tree.close(Origin(tier=tier, track="x", ticket=ticket), 0)

        for level in self.tree.levels():
            assert level.held == level.kept == NOTHING
            assert level.in_flight == 0
            assert all(one.state is not State.WAITING for one in level.waiting)


TestSpending = Spending.TestCase
TestSpending.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    tokens = draw(st.integers(0, 10**6))
    read = draw(st.integers(0, tokens))
    write = draw(st.integers(0, tokens - read))
    return Usage(
        input=tokens,
        cache_read=read,
        cache_write=write,
        cache_write_1h=draw(st.integers(0, write)),
        output=draw(st.integers(0, 10**5)),
    )


@given(
    usage=usages(),
    more=st.integers(0, 10**5),
    price=st.builds(
        FlatRates,
        input=prices,
        output=prices,
        cache_read=prices,
        cache_write=prices,
        cache_write_1h=prices,
    ),
)
def test_no_usage_within_the_bounds_costs_more_than_the_quote(
    usage: Usage, more: int, price: FlatRates
) -> None:
    assert price.cost(usage) <= price.quote(usage.input + more).at(usage.output + more)
