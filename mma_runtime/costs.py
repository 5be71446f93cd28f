"""The cost aggregator: every model call of a run, added up, held against its budget."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from mma_runtime.errors import BudgetExhausted
from mma_runtime.events import BudgetReached, Event, Origin
from mma_runtime.kernel import Actor, Message, Ref, Request, handles
from mma_runtime.llm.usage import NO_USAGE, Usage


class CostState(StrEnum):
    """How much is known of what a call cost.

    `BILLED` is the provider's own usage; `ESTIMATED` is counted by us, for a call that
    was cut off after output began; `UNKNOWN` is neither, and is never taken as zero.
    """

    BILLED = "billed"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEvent(Message):
    """One model call came to an end, well or badly.

    *model* is the `provider:model` that was called. *usd* is `None` where no price or
    no usage is known. *billed* is false for scripted replies, which nobody pays.
    """

    origin: Origin
    call: str
    model: str
    state: CostState
    usage: Usage
    usd: Decimal | None
    billed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that a run may use; `None` is no limit.

    *usd* is US dollars, scripted replies counted at the price of the model they stand
    in for; *tokens* is input and output together; *seconds* is wall time.
    """

    usd: Decimal | None = None
    tokens: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """A sum over calls.

    *usd* is the sum of what is known, in US dollars; *unknown_calls* counts the calls
    that are not in it. *unpaid_usd* is the part of *usd* that scripted replies stand
    for.
    """

    calls: int = 0
    usage: Usage = NO_USAGE
    usd: Decimal = Decimal(0)
    unpaid_usd: Decimal = Decimal(0)
    estimated_calls: int = 0
    unknown_calls: int = 0

    @property
    def billed_usd(self) -> Decimal:
        """What real providers charge for, in US dollars."""
        return self.usd - self.unpaid_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """What one tier spent on one model; *billed* is false for scripted replies."""

    tier: str
    model: str
    billed: bool
    spent: Spent


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """What a run has spent, by tier and model, by ticket, and in all."""

    lines: tuple[CostLine, ...] = ()
    tickets: tuple[tuple[str, Spent], ...] = ()
    total: Spent = Spent()

    def ticket(self, ticket: str) -> Spent:
        """Return what was spent on *ticket*, by all tiers."""
        return dict(self.tickets).get(ticket, Spent())


class _Sum:
    """`Spent` while it grows."""

    __slots__ = ("calls", "estimated", "unknown", "unpaid", "usage", "usd")

    def __init__(self) -> None:
        self.calls = 0
        self.usage: Usage | None = None
        self.usd = Decimal(0)
        self.unpaid = Decimal(0)
        self.estimated = 0
        self.unknown = 0

    def add(self, event: CostEvent) -> None:
        self.calls += 1
        self.usage = event.usage if self.usage is None else self.usage + event.usage
        if event.usd is not None:
            self.usd += event.usd
            self.unpaid += 0 if event.billed else event.usd

        self.estimated += event.state is CostState.ESTIMATED
        self.unknown += event.state is CostState.UNKNOWN or event.usd is None

    def spent(self) -> Spent:
        return Spent(
            calls=self.calls,
            usage=self.usage or NO_USAGE,
            usd=self.usd,
            unpaid_usd=self.unpaid,
            estimated_calls=self.estimated,
            unknown_calls=self.unknown,
        )


class Ledger:
    """The sums of a run and its budget.

    A plain object, so that it outlives the aggregator: a restarted aggregator goes on
    with it, and a run that was cut off can still say what it spent.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._lines: dict[tuple[str, str, bool], _Sum] = {}
        self._tickets: dict[str, _Sum] = {}
        self._total = _Sum()

    def add(self, event: CostEvent) -> None:
        """Add one call to every sum that it belongs to."""
        self._total.add(event)
        line = (event.origin.tier, event.model, event.billed)
        self._lines.setdefault(line, _Sum()).add(event)
        if event.origin.ticket:
            self._tickets.setdefault(event.origin.ticket, _Sum()).add(event)

    def exhausted(self) -> BudgetExhausted | None:
        """Say which limit in dollars or tokens has been reached, if one has."""
        budget, total = self.budget, self._total
        if budget.usd is not None and total.usd >= budget.usd:
            return BudgetExhausted("run", "usd", f"{budget.usd}", f"{total.usd}")

        tokens = total.usage.total if total.usage else 0
        if budget.tokens is not None and tokens >= budget.tokens:
            return BudgetExhausted("run", "tokens", f"{budget.tokens}", f"{tokens}")

        return None

    def report(self) -> CostReport:
        """Take a snapshot of all sums."""
        return CostReport(
            lines=tuple(
                CostLine(tier=tier, model=model, billed=billed, spent=sum_.spent())
                for (tier, model, billed), sum_ in self._lines.items()
            ),
            tickets=tuple((name, sum_.spent()) for name, sum_ in self._tickets.items()),
            total=self._total.spent(),
        )


@dataclass(frozen=True, slots=True)
class Report(Request[CostReport]):
    """Ask the aggregator what has been spent so far."""


@dataclass(frozen=True, slots=True)
class BudgetSpent(Message):
    """What the aggregator tells its owner, once, when a limit has been reached."""

    exhausted: BudgetExhausted


class CostAggregator(Actor):
    """Keeps a run's ledger; the only one that writes to it."""

    # A model call must never fail because its cost cannot be told: one event is as long
    # as a line of text, so the room is generous.
    mailbox_capacity = 65_536

    def __init__(
        self, ledger: Ledger, owner: Ref, emit: Callable[[Event], None]
    ) -> None:
        self._ledger = ledger
        self._owner = owner
        self._publish = emit
        self._told = ledger.exhausted() is not None

    @handles
    async def add(self, event: CostEvent) -> None:
        """Add a call; tell once when the budget is used up."""
        self._ledger.add(event)
        if self._told:
            return

        exhausted = self._ledger.exhausted()
        if exhausted is not None:
            self._told = True
            self._publish(
                BudgetReached(
                    origin=event.origin,
                    unit=exhausted.unit,
                    limit=exhausted.limit,
                    spent=exhausted.spent,
                )
            )
            self._owner.tell(BudgetSpent(exhausted))

    @handles
    async def report(self, _request: Report) -> CostReport:
        """Answer with a snapshot."""
        return self._ledger.report()
