"""Reservations: the worst case of each model call, and the levels that hold it."""

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum, auto
from math import inf
from typing import NamedTuple

import anyio

from mma_runtime.costs.budget import Budget
from mma_runtime.errors import MMAError
from mma_runtime.events import Origin
from mma_runtime.llm.pricing import Quote

WRAP_UP_OUTPUT = 512
"""The output limit of a ticket's concluding turn, in tokens."""

WRAP_UP_INPUT = 8_192
"""Room for what tools say before a ticket's concluding turn, in tokens."""

WARN_AT = (50, 80, 95)
"""The shares of a budget, in per cent, at which a warning is given."""


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


def written(amount: Decimal | float) -> str:
    """Write an amount as people do, without an exponent."""
    return f"{Decimal(amount).normalize():f}"


def add(one: Amount, other: Amount) -> Amount:
    """Add two amounts unit by unit."""
    return Amount(one[0] + other[0], one[1] + other[1], one[2] + other[2])


def subtract(one: Amount, other: Amount) -> Amount:
    """Take *other* off *one* unit by unit; may come out negative."""
    return Amount(one[0] - other[0], one[1] - other[1], one[2] - other[2])


class Level:
    """One level of a run, such as a ticket: its budget, what is spent and held of it.

    What is held is the worst case of the calls in flight together with what tickets
    keep back for their conclusions; what is kept is the latter alone.
    """

    # Numbers of its own rather than amounts: every call changes them at every level.
    __slots__ = (
        "_alarm",
        "_kept_calls",
        "_kept_tokens",
        "_kept_usd",
        "_most",
        "_spent_calls",
        "_spent_tokens",
        "_spent_usd",
        "_taken_calls",
        "_taken_tokens",
        "_taken_usd",
        "budget",
        "deadline",
        "in_flight",
        "limited",
        "name",
        "of",
        "waiting",
        "warned",
        "warned_of_time",
    )

    def __init__(self, name: str, of: str, budget: Budget) -> None:
        self.name: str = name
        self.of: str = of
        self.budget: Budget = budget
        self.limited: bool = any(
            limit is not None for limit in (budget.usd, budget.tokens, budget.calls)
        )
        self._most = _share_of(budget, 100)
        self._alarm = _share_of(budget, WARN_AT[0])
        # Taken is what is spent and held together: what limits are compared with.
        self._spent_usd = self._taken_usd = self._kept_usd = NOTHING.usd
        self._spent_tokens = self._taken_tokens = self._kept_tokens = 0
        self._spent_calls = self._taken_calls = self._kept_calls = 0
        self.in_flight: int = 0
        self.deadline: float = inf
        self.waiting: deque[Reservation] = deque()
        self.warned: int = 0
        self.warned_of_time: int = 0

    @property
    def spent(self) -> Amount:
        """What the calls that have ended came to."""
        return Amount(self._spent_usd, self._spent_tokens, self._spent_calls)

    @property
    def held(self) -> Amount:
        """What is set aside."""
        return Amount(
            self._taken_usd - self._spent_usd,
            self._taken_tokens - self._spent_tokens,
            self._taken_calls - self._spent_calls,
        )

    @property
    def kept(self) -> Amount:
        """The part of what is held that is for concluding turns."""
        return Amount(self._kept_usd, self._kept_tokens, self._kept_calls)

    def begin(self, taken: Amount, kept: Amount) -> None:
        """Hold so much more for a call; *kept* of it is for concluding turns."""
        self.in_flight += 1
        usd, tokens, calls = taken
        self._taken_usd += usd
        self._taken_tokens += tokens
        self._taken_calls += calls
        if kept is not NOTHING:
            usd, tokens, calls = kept
            self._kept_usd += usd
            self._kept_tokens += tokens
            self._kept_calls += calls

    def end(self, change: Amount, spent: Amount) -> None:
        """Count what a call *spent*; *change* is that less its worst case."""
        self.in_flight -= 1
        usd, tokens, calls = change
        self._taken_usd += usd
        self._taken_tokens += tokens
        self._taken_calls += calls
        usd, tokens, calls = spent
        self._spent_usd += usd
        self._spent_tokens += tokens
        self._spent_calls += calls

    def spend(self, spent: Amount) -> None:
        """Count what was spent without a reservation."""
        self.in_flight += 1
        self.end(spent, spent)

    def let_go(self, kept: Amount) -> None:
        """Hold so much less for concluding turns."""
        self.in_flight -= 1
        change = subtract(NOTHING, kept)
        self.begin(change, change)

    def takes(self, usd: Decimal, tokens: int, calls: int) -> bool:
        """Tell whether so much fits beside what is spent and held."""
        most = self._most
        return (
            self._taken_usd + usd <= most[0]
            and self._taken_tokens + tokens <= most[1]
            and self._taken_calls + calls <= most[2]
        )

    def room(self, wish: "Reservation", held: Amount, least: Amount, most: int) -> int:
        """Return the largest output, up to *most*, that fits beside *held*.

        Below 0 is none at all. *least* is what the call needs without any output, its
        ticket's conclusion included.
        """
        budget = self.budget
        keeps = wish.wrap_up is WrapUp.KEEP
        room = most
        if budget.usd is not None and wish.quote is not None:
            usd = budget.usd - self._spent_usd - held.usd - least.usd
            if usd < 0:
                return -1

            slope = wish.quote.per_token
            if keeps and wish.later is not None:
                slope += wish.later.per_input

            if slope * room > usd:
                room = int(usd // slope)

        if budget.tokens is not None:
            tokens = budget.tokens - self._spent_tokens - held.tokens - least.tokens
            # What the call says is part of the input of the turn after it.
            room = min(room, tokens // 2 if keeps else tokens)

        if budget.calls is not None:
            calls = self._spent_calls + held.calls + least.calls
            if calls > budget.calls:
                return -1

        return room

    def warn(self) -> int:
        """Return the highest of `WARN_AT` that is newly reached, in per cent; or 0."""
        reached = 0
        while (
            self._spent_usd >= self._alarm[0]
            or self._spent_tokens >= self._alarm[1]
            or self._spent_calls >= self._alarm[2]
        ):
            reached = WARN_AT[self.warned]
            self.warned += 1
            left = WARN_AT[self.warned :]
            self._alarm = _share_of(self.budget, left[0]) if left else _NEVER

        return reached

    def took(self, now: float) -> float:
        """Return the seconds since its first call; 0 where time has no limit."""
        if self.budget.seconds is None or self.deadline == inf:
            return 0.0

        return now - self.deadline + self.budget.seconds

    def warn_of_time(self, now: float) -> int:
        """Return what `warn` does, of the time that may be taken."""
        if self.budget.seconds is None:
            return 0

        reached, took = 0, self.took(now) + _TICK
        for per_cent in WARN_AT[self.warned_of_time :]:
            if took >= self.budget.seconds * per_cent / 100:
                reached = per_cent
                self.warned_of_time += 1

        return reached

    def used(self) -> Iterator[tuple[str, Decimal, Decimal, Decimal]]:
        """Yield the unit, limit, spent and held amounts of what is limited here."""
        budget = self.budget
        held = self.held
        for unit, limit, spent, set_aside in (
            ("usd", budget.usd, self._spent_usd, held.usd),
            ("tokens", budget.tokens, self._spent_tokens, held.tokens),
            ("calls", budget.calls, self._spent_calls, held.calls),
        ):
            if limit is not None:
                yield unit, Decimal(limit), Decimal(spent), Decimal(set_aside)


# A deadline is a sum, and rounded; in seconds.
_TICK = 1e-6

_NEVER = (Decimal("Infinity"), inf, inf)


def _share_of(budget: Budget, per_cent: int) -> tuple[Decimal, float, float]:
    """Return a share of each limit, rounded up; what has no limit is never reached."""
    usd, tokens, calls = _NEVER
    if budget.usd is not None:
        usd = budget.usd * per_cent / 100
    if budget.tokens is not None:
        tokens = -(budget.tokens * -per_cent // 100)
    if budget.calls is not None:
        calls = -(budget.calls * -per_cent // 100)

    return usd, tokens, calls


class Reservation:
    """The worst case of one model call, held from before it until it is settled.

    The caller makes it, so that it can be let go of whatever becomes of the caller.
    *tokens* is the input, bounded from above; *wanted* the largest output; *asked*
    tells that the user has set that. *quote* is `None` where no price is known, *later*
    is that of its ticket's concluding turn, which is longer; *quote* if left out.
    *model* is `provider:model`; *billed* is false where nobody pays for it.

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
        "later",
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
        later: Quote | None = None,
        asked: bool = True,
        billed: bool = True,
        wrap_up: WrapUp = WrapUp.NONE,
    ) -> None:
        self.origin: Origin = origin
        self.model: str = model
        self.tokens: int = tokens
        self.wanted: int = wanted
        self.quote: Quote | None = quote
        self.later: Quote | None = later or quote
        self.asked: bool = asked
        self.billed: bool = billed
        self.wrap_up: WrapUp = wrap_up
        self.state: State = State.NEW
        self.amount: Amount = NOTHING
        self.output: int | None = None
        self.deadline: float = inf
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
        quote = self.later
        usd = NOTHING.usd
        if quote is not None:
            usd = quote.per_input * tokens + quote.per_token * WRAP_UP_OUTPUT

        return Amount(usd, tokens + WRAP_UP_OUTPUT, 1)

    def need(self, output: int) -> Amount:
        """Return what has to fit: the call and the concluding turn after it."""
        worst = self.worst(output)
        keeps = self.wrap_up is WrapUp.KEEP
        return add(worst, self.kept(output)) if keeps else worst

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
