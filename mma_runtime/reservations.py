"""Reservations: the worst case of each model call, and the levels that hold it."""

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum, auto
from math import inf
from typing import NamedTuple

import anyio

from mma_runtime.budget import Budget
from mma_runtime.errors import MMAError
from mma_runtime.events import Origin
from mma_runtime.llm.pricing import Quote

WRAP_UP_OUTPUT = 512
"""The output limit of a ticket's concluding turn, in tokens."""

WRAP_UP_INPUT = 8_192
"""Room for what tools say before a ticket's concluding turn, in tokens."""


class WrapUp(Enum):
    """What a call has to do with its ticket's concluding turn.

    `KEEP` keeps enough back for it, `USE` is the turn itself.
    """

    NONE = auto()
    KEEP = auto()
    USE = auto()


class State(Enum):
    """Where a reservation is in its life."""

    NEW = auto()
    WAITING = auto()
    GRANTED = auto()
    REFUSED = auto()
    ENDED = auto()


class Amount(NamedTuple):
    """Something spent or held, in all units."""

    usd: Decimal = Decimal(0)
    tokens: int = 0
    calls: int = 0


NOTHING = Amount()


def add(one: Amount, other: Amount) -> Amount:
    """Add two amounts unit by unit."""
    return Amount(one[0] + other[0], one[1] + other[1], one[2] + other[2])


def _subtract(one: Amount, other: Amount) -> Amount:
    return Amount(one[0] - other[0], one[1] - other[1], one[2] - other[2])


class Level:
    """One level of a run, such as a ticket: its budget, what is spent and held of it.

    *held* is the worst case of the calls in flight together with what tickets keep back
    for their conclusions; *kept* is the latter alone.
    """

    __slots__ = (
        "budget",
        "deadline",
        "held",
        "in_flight",
        "kept",
        "limited",
        "name",
        "of",
        "spent",
        "waiting",
        "warned",
    )

    def __init__(self, name: str, of: str, budget: Budget) -> None:
        self.name = name
        self.of = of
        self.budget = budget
        self.limited = any(
            limit is not None for limit in (budget.usd, budget.tokens, budget.calls)
        )
        self.spent = self.held = self.kept = NOTHING
        self.in_flight = 0
        self.deadline = inf
        self.waiting: deque[Reservation] = deque()
        self.warned = 0

    def begin(self, worst: Amount) -> None:
        """Hold the worst case of a call."""
        self.in_flight += 1
        self.held = add(self.held, worst)

    def end(self, worst: Amount, spent: Amount) -> None:
        """Count what a call spent in the place of its worst case."""
        self.in_flight -= 1
        self.held = _subtract(self.held, worst)
        self.spent = add(self.spent, spent)

    def keep(self, amount: Amount) -> None:
        """Hold *amount* for a concluding turn."""
        self.held = add(self.held, amount)
        self.kept = add(self.kept, amount)

    def let_go(self, amount: Amount) -> None:
        """Hold *amount* no longer."""
        self.held = _subtract(self.held, amount)
        self.kept = _subtract(self.kept, amount)

    def room(self, wish: "Reservation", held: Amount, least: Amount) -> int:
        """Return the largest output that fits beside *held*; below 0 is none at all.

        *least* is what the call needs without any output, its ticket's conclusion
        included.
        """
        budget, spent = self.budget, self.spent
        keeps = wish.wrap_up is WrapUp.KEEP
        room = wish.wanted
        if budget.usd is not None and wish.quote is not None:
            usd = budget.usd - spent.usd - held.usd - least.usd
            if usd < 0:
                return -1

            quote = wish.quote
            slope = quote.per_token + quote.per_input if keeps else quote.per_token
            # Mostly there is plenty, and no need to know how much.
            if slope * room > usd:
                room = int(usd // slope)

        if budget.tokens is not None:
            tokens = budget.tokens - spent.tokens - held.tokens - least.tokens
            # What the call says is part of the input of the turn after it.
            room = min(room, tokens // 2 if keeps else tokens)

        if budget.calls is not None:
            calls = spent.calls + held.calls + least.calls
            if calls > budget.calls:
                return -1

        return room

    def has_used(self, per_cent: int) -> bool:
        """Tell whether that share of the budget is spent, in any unit."""
        budget, spent = self.budget, self.spent
        return (
            (budget.usd is not None and spent.usd * 100 >= budget.usd * per_cent)
            or (
                budget.tokens is not None
                and spent.tokens * 100 >= budget.tokens * per_cent
            )
            or (
                budget.calls is not None
                and spent.calls * 100 >= budget.calls * per_cent
            )
        )

    def used(self) -> Iterator[tuple[str, Decimal, Decimal, Decimal]]:
        """Yield the unit, limit, spent and held amounts of what is limited here."""
        limits = (self.budget.usd, self.budget.tokens, self.budget.calls)
        units = ("usd", "tokens", "calls")
        for unit, limit in zip(units, limits, strict=True):
            if limit is not None:
                spent: Decimal | int = getattr(self.spent, unit)
                held: Decimal | int = getattr(self.held, unit)
                yield unit, Decimal(limit), Decimal(spent), Decimal(held)


class Reservation:
    """The worst case of one model call, held from before it until it is settled.

    The caller makes it, so that it can be let go of whatever becomes of the caller.
    *tokens* is the input, bounded from above; *wanted* the largest output; *asked*
    tells that the user has set that. *quote* is `None` where no price is known. *model*
    is `provider:model`; *billed* is false where nobody pays for it.

    Once granted, `output` is the output limit that the call has to keep, `None` where
    no budget applies, and `deadline` the time at which it has to end. Refused, `error`
    says why.
    """

    __slots__ = (
        "amount",
        "asked",
        "billed",
        "deadline",
        "error",
        "levels",
        "model",
        "news",
        "origin",
        "output",
        "quote",
        "state",
        "tokens",
        "wanted",
        "wrap_up",
    )

    def __init__(
        self,
        origin: Origin,
        model: str,
        *,
        tokens: int,
        wanted: int,
        quote: Quote | None,
        asked: bool = True,
        billed: bool = True,
        wrap_up: WrapUp = WrapUp.NONE,
    ) -> None:
        self.origin = origin
        self.model = model
        self.tokens = tokens
        self.wanted = wanted
        self.quote = quote
        self.asked = asked
        self.billed = billed
        self.wrap_up = wrap_up
        self.state = State.NEW
        self.amount = NOTHING
        self.output: int | None = None
        self.deadline = inf
        self.error: MMAError | None = None
        # Filled in by the tree of budgets: where the call counts.
        self.levels: tuple[Level, ...] = ()
        self.news: anyio.Event | None = None

    def worst(self, output: int) -> Amount:
        """Return the most that the call can use with *output* tokens of answer."""
        usd = NOTHING.usd if self.quote is None else self.quote.at(output)
        return Amount(usd, self.tokens + output, 1)

    def kept(self, output: int) -> Amount:
        """Return what its ticket keeps back for the concluding turn after the call."""
        if self.wrap_up is not WrapUp.KEEP:
            return NOTHING

        tokens = self.tokens + output + WRAP_UP_INPUT
        quote = self.quote
        usd = NOTHING.usd
        if quote is not None:
            usd = quote.per_input * tokens + quote.per_token * WRAP_UP_OUTPUT

        return Amount(usd, tokens + WRAP_UP_OUTPUT, 1)

    async def decided(self) -> None:
        """Wait until it is granted or refused."""
        while self.state is State.WAITING:
            self.news = anyio.Event()
            await self.news.wait()

    def decide(self, state: State) -> None:
        """Grant, refuse or end it, and wake its caller."""
        self.state = state
        if self.news is not None:
            self.news.set()
