"""A run as far as its events tell: what the display shows, without a terminal."""

from dataclasses import dataclass, field
from decimal import Decimal
from functools import singledispatchmethod

from mma_runtime.events import (
    ApprovalAsked,
    ApprovalGiven,
    Event,
    ModelCallFailed,
    ModelCallFinished,
    ModelCallQueued,
    ModelCallStarted,
    RoundStarted,
    RunFinished,
    RunStarted,
    TicketFinished,
    TicketPlanned,
    TicketReturned,
    TicketStarted,
    ToolCallFinished,
    ToolCallStarted,
)

_DOING = {
    "plan": "plans",
    "review": "reviews",
    "accept": "judges",
    "ticket": "works",
    "hint": "writes a hint",
}


_ABOUT_TICKET = {"review": "in review", "hint": "gets a hint"}


@dataclass(slots=True)
class Sum:
    """Tokens and US dollars of some calls; *unknown* counts calls without a price."""

    calls: int = 0
    tokens: int = 0
    usd: Decimal = Decimal(0)
    unknown: int = 0

    def add(self, event: ModelCallFinished) -> None:
        """Add one call."""
        self.calls += 1
        self.tokens += event.input_tokens + event.output_tokens
        self.usd += event.usd or 0
        self.unknown += event.usd is None


@dataclass(slots=True)
class TierLine:
    """One tier: its model, what it is asked just now, and what it has used.

    *active* maps the calls under way to what they are about.
    """

    model: str = ""
    scripted: bool = False
    spent: Sum = field(default_factory=Sum)
    active: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class TicketLine:
    """One ticket: where it stands and what it has used, over all tiers."""

    title: str
    state: str = "pending"
    doing: str = ""
    attempt: int = 1
    round: int = 0
    max_rounds: int = 0
    spent: Sum = field(default_factory=Sum)


class Progress:
    """Folds a run's events, in order, into one line per tier and per ticket."""

    def __init__(self) -> None:
        self.name: str = ""
        self.began: float = 0.0
        self.finished: bool = False
        self.tiers: dict[str, TierLine] = {}
        self.tickets: dict[str, TicketLine] = {}
        self.spent: Sum = Sum()

    @property
    def running(self) -> dict[str, TicketLine]:
        """The tickets that are being worked on."""
        return {
            name: ticket
            for name, ticket in self.tickets.items()
            if ticket.state == "running"
        }

    def state_of(self, tier: str) -> str:
        """Return what *tier* does now, in a few words."""
        line = self.tiers[tier]
        if tier == "worker" and self.running:
            # Also while their tools run and no model is asked.
            return f"{len(self.running):,} at work"

        doing = list(dict.fromkeys(line.active.values()))
        if not doing:
            return "idle" if line.spent.calls else "waits"

        more = f" (+{len(doing) - 1})" if len(doing) > 1 else ""
        return doing[0] + more

    def count(self, state: str) -> int:
        """Return how many tickets are in *state*."""
        return sum(ticket.state == state for ticket in self.tickets.values())

    @singledispatchmethod
    def add(self, event: Event) -> None:
        """Take one event into account; those that change no line are passed over."""

    @add.register
    def _(self, event: RunStarted) -> None:
        self.name = event.name
        self.began = event.time
        for tier, model in event.models.items():
            self.tiers[tier] = TierLine(model, tier in event.scripted)

    @add.register
    def _(self, _event: RunFinished) -> None:
        self.finished = True
        for tier in self.tiers.values():
            tier.active.clear()

    @add.register
    def _(self, event: TicketPlanned) -> None:
        self.tickets[event.origin.ticket] = TicketLine(event.title)

    @add.register
    def _(self, event: TicketStarted) -> None:
        ticket = self._ticket(event)
        ticket.state, ticket.doing = "running", "begins"
        ticket.attempt = event.origin.attempt
        ticket.round, ticket.max_rounds = 0, event.max_tool_rounds

    @add.register
    def _(self, event: TicketReturned) -> None:
        self._ticket(event).doing = f"returned by {event.by}"

    @add.register
    def _(self, event: TicketFinished) -> None:
        ticket = self._ticket(event)
        ticket.state, ticket.doing = event.state, ""
        ticket.attempt = event.attempts

    @add.register
    def _(self, event: RoundStarted) -> None:
        if event.origin.ticket:
            ticket = self._ticket(event)
            ticket.round, ticket.max_rounds = event.round, event.max_rounds

    @add.register
    def _(self, event: ApprovalAsked) -> None:
        if event.tool and event.origin.ticket:
            self._ticket(event).doing = f"waits for a word on {event.tool}"

    @add.register
    def _(self, event: ApprovalGiven) -> None:
        if event.tool and event.origin.ticket:
            self._ticket(event).doing = ""

    @add.register
    def _(self, event: ModelCallQueued) -> None:
        if event.origin.ticket:
            self._ticket(event).doing = f"waits for room in the {event.reason}"

    @add.register
    def _(self, event: ModelCallStarted) -> None:
        origin = event.origin
        doing = _DOING.get(origin.task, origin.task or "works")
        about = origin.ticket or origin.track
        tier = self.tiers.setdefault(origin.tier, TierLine(event.model))
        tier.active[event.call] = f"{doing} {about}".strip()
        if origin.ticket:
            self._ticket(event).doing = _ABOUT_TICKET.get(origin.task, "thinks")

    @add.register
    def _(self, event: ModelCallFinished) -> None:
        self.spent.add(event)
        tier = self.tiers.setdefault(event.origin.tier, TierLine(event.model))
        tier.active.pop(event.call, None)
        tier.spent.add(event)
        if event.origin.ticket:
            self._ticket(event).spent.add(event)

    @add.register
    def _(self, event: ModelCallFailed) -> None:
        if event.origin.tier in self.tiers:
            self.tiers[event.origin.tier].active.pop(event.call, None)

        if event.origin.ticket and event.retry_in is not None:
            self._ticket(event).doing = f"tries again in {event.retry_in:.0f} s"

    @add.register
    def _(self, event: ToolCallStarted) -> None:
        if event.origin.ticket:
            self._ticket(event).doing = event.tool

    @add.register
    def _(self, event: ToolCallFinished) -> None:
        if event.origin.ticket:
            self._ticket(event).doing = ""

    def _ticket(self, event: Event) -> TicketLine:
        """Return the event's ticket, also when its planning was skipped."""
        name = event.origin.ticket
        return self.tickets.setdefault(name, TicketLine(name, "running"))
