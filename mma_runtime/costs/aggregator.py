"""The cost aggregator: each call of a run is reserved before it, added up after it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

import anyio

from mma_runtime.costs.budget import Budgets
from mma_runtime.costs.report import CostLine, CostReport, Spent
from mma_runtime.costs.reservations import NOTHING, Amount, Level, Reservation, written
from mma_runtime.costs.tree import BudgetTree
from mma_runtime.events import BudgetWarning, CostCounted, Event, Origin
from mma_runtime.kernel import Actor, Message, Request, handles
from mma_runtime.llm.usage import Usage


class CostState(StrEnum):
    """How much is known of what a call cost.

    `BILLED` is the provider's own usage; `ESTIMATED` is counted by us, for a call that
    was cut off after output began; `UNKNOWN` is neither, and is never taken as zero:
    its worst case stays charged against the budgets.
    """

    BILLED = "billed"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEvent(Message):
    """One model call came to an end, well or badly; settles its *reservation*.

    *model* is the `provider:model` that was called. *usd* is `None` where no price or
    no usage is known. *billed* is false for scripted replies, which nobody pays.
    *saved* is what the provider's cache saved, in US dollars. Without a *reservation*
    the call was made in an earlier session of the same run; *worst* is then what had
    been reserved for it, and stays charged when its state is unknown.
    """

    origin: Origin
    call: str
    model: str
    state: CostState
    usage: Usage
    usd: Decimal | None
    billed: bool
    saved: Decimal = Decimal(0)
    reservation: Reservation | None = None
    worst: Amount = NOTHING

    @property
    def charged_usd(self) -> Decimal | None:
        """What budgets are charged with; `None` where no price is known."""
        held = self.reservation
        if self.state is not CostState.UNKNOWN or (held is not None and not held.quote):
            return self.usd

        if held is not None:
            return held.amount.usd

        # A journal has a zero for what had no price.
        return self.worst.usd or None


class _Sum:
    """`Spent` while it grows."""

    __slots__ = (
        "attempts",
        "cache",
        "calls",
        "estimated_calls",
        "estimated_usd",
        "input",
        "output",
        "reasoning",
        "saved_usd",
        "unknown_calls",
        "unknown_usd",
        "unpaid_usd",
        "usd",
    )

    def __init__(self) -> None:
        self.calls = self.attempts = 0
        self.input = self.output = self.reasoning = 0
        self.cache: Usage | None = None
        self.usd = self.unpaid_usd = self.estimated_usd = Decimal(0)
        self.unknown_usd: Decimal | None = Decimal(0)
        self.saved_usd = Decimal(0)
        self.estimated_calls = self.unknown_calls = 0

    def add(self, event: CostEvent) -> None:
        self.calls += 1
        self.attempts += 1
        usage = event.usage
        self.input += usage.input
        self.output += usage.output
        if usage.reasoning or usage.cache_read or usage.cache_write:
            self.reasoning += usage.reasoning
            self.cache = usage + self.cache if self.cache is not None else usage
            self.saved_usd += event.saved

        if event.usd is None or event.state is CostState.UNKNOWN:
            self.unknown_calls += 1
            most = event.charged_usd
            if most is None or self.unknown_usd is None:
                self.unknown_usd = None
            else:
                self.unknown_usd += most
        else:
            self.usd += event.usd
            if not event.billed:
                self.unpaid_usd += event.usd

        if event.state is CostState.ESTIMATED:
            self.estimated_calls += 1
            self.estimated_usd += event.usd or 0

    def spent(self, held: Iterable[Reservation]) -> Spent:
        held = tuple(held)
        usage = Usage(input=self.input, output=self.output, reasoning=self.reasoning)
        if self.cache is not None:
            usage = replace(self.cache, input=self.input, output=self.output)

        return Spent(
            calls=self.calls,
            attempts=self.attempts,
            usage=usage,
            usd=self.usd,
            unpaid_usd=self.unpaid_usd,
            estimated_calls=self.estimated_calls,
            estimated_usd=self.estimated_usd,
            unknown_calls=self.unknown_calls,
            unknown_usd=self.unknown_usd,
            in_flight=len(held),
            reserved_usd=sum((one.amount.usd for one in held), Decimal(0)),
            saved_usd=self.saved_usd,
        )


_Key = tuple[str, str, str, str, str, bool]


class Ledger:
    """The sums of a run and its budgets.

    A plain object, so that it outlives the aggregator: a restarted aggregator goes on
    with it, and a run that was cut off can still say what it spent.
    """

    def __init__(self, budgets: Budgets | None = None) -> None:
        self.budgets: Budgets = budgets or Budgets()
        self.tree: BudgetTree = BudgetTree(self.budgets)
        self._lines: dict[_Key, _Sum] = {}
        self._total = _Sum()

    def add(self, event: CostEvent, now: float = 0.0) -> None:
        """Add one call to the sums and settle its reservation."""
        self._line(event.origin, event.model, billed=event.billed).add(event)
        self._total.add(event)
        held = event.reservation
        usage = event.usage
        spent = Amount(event.usd or Decimal(0), usage.input + usage.output, 1)
        if held is None:
            known = event.state is not CostState.UNKNOWN
            self.tree.spend(event.origin, spent if known else event.worst)
        else:
            known = event.state is not CostState.UNKNOWN
            self.tree.settle(held, spent if known else None, now)

    def turn_away(self, held: Reservation, now: float) -> None:
        """Count an attempt that the provider did not take, and end its reservation."""
        self._line(held.origin, held.model, billed=held.billed).attempts += 1
        self._total.attempts += 1
        self.tree.release(held, now)

    def report(self) -> CostReport:
        """Take a snapshot of all sums, with the calls in flight."""
        return CostReport(
            lines=tuple(self._report()), total=self._total.spent(self.tree.granted)
        )

    def _report(self) -> Iterator[CostLine]:
        held: dict[_Key, list[Reservation]] = {}
        for one in self.tree.granted:
            key = _key(one.origin, one.model, billed=one.billed)
            self._lines.setdefault(key, _Sum())
            held.setdefault(key, []).append(one)

        for key, sum_ in self._lines.items():
            run, tier, track, ticket, model, billed = key
            yield CostLine(
                run=run,
                tier=tier,
                track=track,
                ticket=ticket,
                model=model,
                billed=billed,
                spent=sum_.spent(held.get(key, ())),
            )

    def _line(self, origin: Origin, model: str, *, billed: bool) -> _Sum:
        key = _key(origin, model, billed=billed)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Sum()

        return line


def _key(origin: Origin, model: str, *, billed: bool) -> _Key:
    return origin.run, origin.tier, origin.track, origin.ticket, model, billed


@dataclass(frozen=True, slots=True)
class Reserve(Request[Reservation]):
    """Ask for room for a call; the answer is the same object.

    It is granted, refused, or waits for calls in flight: `decided` tells when that is
    over. Whatever becomes of the asker, it settles the reservation or releases it.
    """

    wish: Reservation


@dataclass(frozen=True, slots=True)
class Release(Message):
    """The call of a reservation was not made, or *turned_away* by the provider."""

    held: Reservation
    turned_away: bool = False


@dataclass(frozen=True, slots=True)
class Close(Message):
    """The agent at *origin* has ended: nothing needs to be kept back for it."""

    origin: Origin


@dataclass(frozen=True, slots=True)
class Settled(Request[None]):
    """Ask for an answer once all that was told before has been counted."""


@dataclass(frozen=True, slots=True)
class Report(Request[CostReport]):
    """Ask the aggregator what has been spent so far."""


class CostAggregator(Actor):
    """Keeps a run's ledger; the only one that writes to it.

    But for calls where no level is limited, whose cost is known: they are put down by
    who makes them, since nothing is to be decided.
    """

    in_askers_task = True

    # A model call must never fail because its cost cannot be told: one event is as long
    # as a line of text, so the room is generous.
    mailbox_capacity = 65_536

    def __init__(self, ledger: Ledger, emit: Callable[[Event], None]) -> None:
        self._ledger = ledger
        self._tree = ledger.tree
        self._publish = emit

    @handles
    async def reserve(self, request: Reserve) -> Reservation:
        """Grant, refuse or queue a call."""
        wish = request.wish
        self._tree.reserve(wish, self._now())
        return wish

    @handles
    async def add(self, event: CostEvent) -> None:
        """Add a call; warn when a budget is nearly used up."""
        now = self._now()
        self._ledger.add(event, now)
        if event.state is not CostState.BILLED:
            self._publish(
                CostCounted(
                    origin=event.origin,
                    call=event.call,
                    model=event.model,
                    state=event.state.value,
                    input_tokens=event.usage.input,
                    output_tokens=event.usage.output,
                    usd=event.usd,
                    billed=event.billed,
                    charged_usd=event.charged_usd,
                )
            )

        held = event.reservation
        levels = held.levels if held is not None else self._tree.path(event.origin)
        for level in levels:
            per_cent = level.warn()
            if per_cent:
                self._warn(level, event.origin, per_cent)
            if self._tree.is_timed:
                self._warn_of_time(level, event.origin, now)

    @handles
    async def release(self, message: Release) -> None:
        """Let go of what was reserved for a call that came to nothing."""
        held, now = message.held, self._now()
        if message.turned_away:
            self._ledger.turn_away(held, now)
        else:
            self._tree.release(held, now)

    @handles
    async def close(self, message: Close) -> None:
        """Let go of what an agent's ticket kept back."""
        self._tree.close(message.origin, self._now())

    @handles
    async def settled(self, _request: Settled) -> None:
        """Answer: what was told before has been handled before."""

    @handles
    async def report(self, _request: Report) -> CostReport:
        """Answer with a snapshot."""
        return self._ledger.report()

    def _now(self) -> float:
        # Asked for once or twice in every call, and seldom of use.
        return anyio.current_time() if self._tree.is_timed else 0.0

    def _warn(self, level: Level, origin: Origin, per_cent: int) -> None:
        unit, limit, spent, _ = max(level.used(), key=lambda used: used[2] / used[1])
        self._tell(level, origin, per_cent, (unit, written(limit), written(spent)))

    def _warn_of_time(self, level: Level, origin: Origin, now: float) -> None:
        per_cent = level.warn_of_time(now)
        if per_cent:
            limit, took = f"{level.budget.seconds:g}", f"{level.took(now):.1f}"
            self._tell(level, origin, per_cent, ("seconds", limit, took))

    def _tell(
        self, level: Level, origin: Origin, per_cent: int, used: tuple[str, str, str]
    ) -> None:
        unit, limit, spent = used
        self._publish(
            BudgetWarning(
                origin=origin,
                level=level.name,
                name=level.of,
                unit=unit,
                per_cent=per_cent,
                limit=limit,
                spent=spent,
            )
        )
