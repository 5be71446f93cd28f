"""What a run knows of its tracks and tickets; plain state, decided on by functions."""

from collections.abc import Iterable
from dataclasses import dataclass

from mma_runtime.errors import BudgetExhausted, ProviderError
from mma_runtime.events import Origin, TicketFinished
from mma_runtime.firewall import FirewallMeter
from mma_runtime.outcome import (
    RunState,
    TicketOutcome,
    TicketState,
    TrackOutcome,
    TrackState,
)
from mma_runtime.plan import Priority, Ticket, Track

CUT_OFF = (RunState.CANCELLED, RunState.OVER_BUDGET, RunState.PAUSED)
"""The states of runs that ended before their work did."""

_OPEN = (TicketState.PENDING, TicketState.RUNNING)
_FAILED = (TicketState.FAILED, TicketState.STUCK)
_DONE = (TicketState.COMPLETED, TicketState.SKIPPED)


@dataclass(slots=True)
class TrackCard:
    """A track while the run goes on; *added* counts tickets after the first plan."""

    track: Track
    added: int = 0
    state: TrackState = TrackState.RUNNING
    reason: str = ""

    def outcome(self) -> TrackOutcome:
        """Take a snapshot."""
        track = self.track
        return TrackOutcome(
            id=track.id,
            title=track.title or track.id,
            state=self.state,
            reason=self.reason,
        )


@dataclass(slots=True)
class TicketCard:
    """A ticket while the run goes on; *rounds* counts over all attempts.

    *priority* is the ticket's own until somebody changes it. *blocked_by* is the ticket
    that a blocked one waits for in vain; empty when a person has blocked it. *models*
    are those of its attempts, *review* is what Tier 2 said when it accepted, *passed*
    the commands that succeeded, *failure* what kept a worker from its report.
    """

    ticket: Ticket
    track: str = ""
    priority: Priority = Priority.MEDIUM
    state: TicketState = TicketState.PENDING
    reason: str = ""
    rounds: int = 0
    attempts: int = 0
    answer: str = ""
    files: tuple[str, ...] = ()
    provider_failed: bool = False
    blocked_by: str = ""
    models: tuple[str, ...] = ()
    review: str = ""
    passed: tuple[str, ...] = ()
    failure: BaseException | None = None
    _origin: Origin | None = None

    def origin(self, run: str) -> Origin:
        """Say where in *run* this ticket is; one for all its events."""
        if self._origin is None:
            self._origin = Origin(run=run, track=self.track, ticket=self.ticket.id)

        return self._origin

    def summary(self) -> str:
        """Say for Tier 1 what was done: names, verdicts, Tier 2's word; no chatter."""
        ticket = self.ticket
        title = f" ({ticket.title})" if ticket.title else ""
        parts = [f"{ticket.id}: {self.state.value}{title}"]
        parts += [f"changed {', '.join(self.files)}"] if self.files else []
        parts += [f"`{command}` passed" for command in self.passed]
        said = f" {self.review}" if self.review else ""
        return "; ".join(parts) + "." + said

    @property
    def is_open(self) -> bool:
        """Whether it waits or is at work."""
        return self.state in _OPEN

    @property
    def is_done(self) -> bool:
        """Whether what depends on it may start."""
        return self.state in _DONE

    def outcome(self) -> TicketOutcome:
        """Take a snapshot."""
        return TicketOutcome(
            id=self.ticket.id,
            title=self.ticket.title or self.ticket.id,
            track=self.track,
            state=self.state,
            reason=self.reason,
            rounds=self.rounds,
            attempts=self.attempts,
            answer=self.answer,
            files=self.files,
            models=self.models,
        )

    def finished(self, run: str) -> TicketFinished:
        """Return the event that tells how the ticket ended."""
        return TicketFinished(
            origin=self.origin(run),
            state=self.state.value,
            reason=self.reason,
            rounds=self.rounds,
            attempts=self.attempts,
        )


class Board:
    """All tracks and tickets of a run, and what went wrong beside them.

    It outlives the supervisor: a run that was cut off can still say how far it came.
    """

    def __init__(self) -> None:
        self.tracks: dict[str, TrackCard] = {}
        self.tickets: dict[str, TicketCard] = {}
        self.ended: tuple[RunState, str] | None = None
        self.exhausted: BudgetExhausted | None = None
        self.firewall: FirewallMeter = FirewallMeter()
        self.provider_problem: str = ""
        self.problem: str = ""

    def add_tracks(self, tracks: Iterable[Track]) -> None:
        """Put planned tracks on the board."""
        self.tracks.update((track.id, TrackCard(track)) for track in tracks)

    def add_tickets(
        self, tickets: Iterable[Ticket], track: str = ""
    ) -> dict[str, TicketCard]:
        """Put planned tickets on the board and return their cards by id."""
        cards = {
            ticket.id: TicketCard(ticket, track, ticket.priority) for ticket in tickets
        }
        self.tickets.update(cards)
        return cards

    def end(self, state: RunState, reason: str) -> None:
        """Say why the run stops early; the first reason counts."""
        if self.ended is None:
            self.ended = (state, reason)

    def note(self, error: BaseException) -> None:
        """Remember what kept a tier from its work: a provider, a budget, or a bug."""
        cause = error.__cause__
        if isinstance(cause, BudgetExhausted):
            self.overspend(cause)
        elif isinstance(cause, ProviderError):
            self.provider_problem = self.provider_problem or str(error)
        else:
            self.problem = self.problem or str(error)

    def overspend(self, exhausted: BudgetExhausted) -> None:
        """Remember that a budget had no room; the run's own counts before others."""
        if self.exhausted is None or self.exhausted.level != "run":
            self.exhausted = exhausted

    def close(self) -> list[TicketCard]:
        """Mark what is not finished as cancelled; return those tickets."""
        cancelled: list[TicketCard] = []
        for card in self.tickets.values():
            if card.is_open:
                began = card.state is TicketState.RUNNING
                when = "while it was in work" if began else "before it began"
                card.state = TicketState.CANCELLED
                card.reason = f"the run ended {when}"
                cancelled.append(card)

        for track in self.tracks.values():
            if track.state is TrackState.RUNNING:
                track.state = TrackState.CANCELLED

        return cancelled

    def verdict(self) -> tuple[RunState, str]:
        """Decide how the run as a whole ended, and why."""
        if self.ended is not None and self.ended[0] in CUT_OFF:
            return self.ended

        if self.exhausted is not None:
            return RunState.OVER_BUDGET, str(self.exhausted)

        if self.provider_problem:
            return RunState.PROVIDER_FAILED, self.provider_problem

        if self.ended is not None:
            return self.ended

        if self.problem:
            return RunState.FAILED, self.problem

        return self._from_work()

    def _from_work(self) -> tuple[RunState, str]:
        tickets = self.tickets.values()
        failed = [card for card in tickets if card.state in _FAILED]
        for card in sorted(failed, key=lambda card: not card.provider_failed):
            state = (
                RunState.PROVIDER_FAILED if card.provider_failed else RunState.FAILED
            )
            return state, f"ticket {card.ticket.id!r}: {card.reason}"

        for card in tickets:
            if card.state is TicketState.BOUNDED:
                return RunState.BOUNDED, f"ticket {card.ticket.id!r}: {card.reason}"

        for track in self.tracks.values():
            if track.state is not TrackState.ACCEPTED:
                reason = track.reason or track.state.value
                return RunState.FAILED, f"track {track.track.id!r}: {reason}"

        for card in tickets:
            if not card.is_done:
                reason = card.reason or card.state.value
                return RunState.FAILED, f"ticket {card.ticket.id!r}: {reason}"

        skipped = sum(card.state is TicketState.SKIPPED for card in tickets)
        done = len(tickets) - skipped
        text = f"{done} ticket{'' if done == 1 else 's'} completed"
        return RunState.COMPLETED, text + (f", {skipped} skipped" if skipped else "")
