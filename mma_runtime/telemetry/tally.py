"""What a run's events come to: figures, and notes on spans."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from opentelemetry.util.types import AttributeValue

from mma_runtime.discretion import worded_facts
from mma_runtime.events import (
    AccountRested,
    ActorCrashed,
    ActorRestarted,
    AnswerRejected,
    ApprovalAsked,
    ApprovalGiven,
    BudgetReached,
    BudgetWarning,
    CallEvent,
    CallShrunk,
    ConclusionAsked,
    CostCounted,
    Event,
    HistoryCut,
    MergeConflicted,
    ModelCallFailed,
    ModelCallFinished,
    ModelCallQueued,
    ModelCallStarted,
    ModelFellBack,
    Origin,
    ReviewGiven,
    RunPaused,
    RunResumed,
    TicketDropped,
    TicketEscalated,
    TicketFinished,
    TicketPlanned,
    TicketReopened,
    TicketReturned,
    TicketStarted,
    ToolCallDenied,
    TrackReviewed,
    WorkerStuck,
)
from mma_runtime.events.records import facts_of, kind_name
from mma_runtime.telemetry import names
from mma_runtime.telemetry.instruments import Instruments
from mma_runtime.telemetry.work import Labels, Work

NOTED = (
    AccountRested,
    ActorCrashed,
    ActorRestarted,
    AnswerRejected,
    ApprovalAsked,
    ApprovalGiven,
    BudgetReached,
    BudgetWarning,
    CallShrunk,
    ConclusionAsked,
    HistoryCut,
    MergeConflicted,
    ModelCallQueued,
    ModelFellBack,
    ReviewGiven,
    RunPaused,
    RunResumed,
    TicketDropped,
    TicketEscalated,
    TicketReturned,
    ToolCallDenied,
    TrackReviewed,
    WorkerStuck,
)
"""Events that become events of the span in which they happen."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A call that waits, with the ticket that it is for."""

    ticket: str
    labels: Labels


@dataclass(slots=True)
class _Ticket:
    """Where a ticket stands, and since when it has been worked on."""

    began: float | None = None


class Tally:
    """Counts for one run; `close` takes back what was waiting when it ended.

    *clean* takes secrets out of a text.
    """

    def __init__(self, instruments: Instruments, clean: Callable[[str], str]) -> None:
        self._instruments = instruments
        self._clean = clean
        self._queued: dict[str, _Waiting] = {}
        self._tickets: dict[str, _Ticket] = {}

    def note(self, event: Event, work: Work | None) -> None:
        """Count *event*, which happened within *work*."""
        if isinstance(event, CallEvent):
            self._note_call(event, work)
        elif isinstance(event, TicketPlanned | TicketReopened):
            self._plan(event.origin.ticket)
        elif isinstance(event, TicketStarted):
            self._start(event.origin.ticket, event.time)
        elif isinstance(event, TicketFinished):
            self._finish(event)

        if isinstance(event, NOTED):
            self._annotate(event, work)

    def _note_call(self, event: CallEvent, work: Work | None) -> None:
        match event:
            case ModelCallFinished(usd=usd) if work is not None and work.is_chat:
                self._spend(work, event, usd, event.billed, "billed")
            case CostCounted(usd=usd):
                self._spend(work, event, usd, event.billed, event.state)
            case ModelCallQueued():
                self._leave_queue(event.call)
                labels = {**_labels(event), names.QUEUE_REASON: event.reason}
                self._queued[event.call] = _Waiting(event.origin.ticket, labels)
                self._instruments.queued_calls.add(1, labels)
            case ModelCallStarted():
                self._leave_queue(event.call)
            case ModelCallFailed(retry_in=retry_in):
                self._leave_queue(event.call)
                if retry_in is not None:
                    self._instruments.retries.add(1, _labels(event))
                    self._annotate(event, work)
            case ModelFellBack():
                self._instruments.fallbacks.add(1, _labels(event))
            case _:
                pass

    def close(self) -> None:
        """Take back what counts as waiting or running: the run is over."""
        for call in list(self._queued):
            self._leave_queue(call)

        for ticket in list(self._tickets):
            self._forget(ticket)

    # --- money ----------------------------------------------------------------

    def _spend(
        self,
        work: Work | None,
        event: CallEvent,
        usd: Decimal | None,
        billed: bool,
        state: str,
    ) -> None:
        if usd is None:
            return

        labels = {**_labels(event), names.BILLED: billed, names.COUNTED: state}
        self._instruments.cost.add(float(usd), labels)
        if work is not None:
            work.spend(usd)

    # --- queues ---------------------------------------------------------------

    def _leave_queue(self, call: str) -> None:
        waiting = self._queued.pop(call, None)
        if waiting is not None:
            self._instruments.queued_calls.add(-1, waiting.labels)

    def _plan(self, ticket: str) -> None:
        self._forget(ticket)
        self._tickets[ticket] = _Ticket()
        self._instruments.waiting_tickets.add(1)

    def _start(self, ticket: str, now: float) -> None:
        card = self._tickets.get(ticket)
        if card is not None and card.began is None:
            card.began = now
            self._instruments.waiting_tickets.add(-1)
            self._instruments.running_tickets.add(1)

    def _finish(self, event: TicketFinished) -> None:
        ticket = event.origin.ticket
        card = self._forget(ticket)
        if card is not None and card.began is not None:
            seconds = max(0.0, event.time - card.began)
            labels = {names.TICKET_STATE: event.state}
            self._instruments.ticket_seconds.record(seconds, labels)

        # A call that was cancelled while it waited says no more.
        for call, waiting in list(self._queued.items()):
            if waiting.ticket == ticket:
                self._leave_queue(call)

    def _forget(self, ticket: str) -> _Ticket | None:
        card = self._tickets.pop(ticket, None)
        if card is not None:
            is_waiting = card.began is None
            counter = (
                self._instruments.waiting_tickets
                if is_waiting
                else self._instruments.running_tickets
            )
            counter.add(-1)

        return card

    # --- notes ----------------------------------------------------------------

    def _annotate(self, event: Event, work: Work | None) -> None:
        if work is None or not work.span.is_recording():
            return

        worded = worded_facts(event)
        facts = {
            f"mma.{name}": self._clean(value) if isinstance(value, str) else value
            for name, value in _told(facts_of(event))
            if name not in worded
        }
        place = place_of(event.origin)
        work.span.add_event(f"mma.{kind_name(type(event))}", {**place, **facts})


def place_of(origin: Origin) -> Labels:
    """Return where in the run something is, as attributes of a span."""
    place: Labels = {}
    for name, value in (
        (names.TIER, origin.tier),
        (names.TRACK, origin.track),
        (names.TICKET, origin.ticket),
        (names.TASK, origin.task),
    ):
        if value:
            place[name] = value

    if origin.ticket:
        place[names.ATTEMPT] = origin.attempt

    return place


def _labels(event: CallEvent) -> Labels:
    provider, _, model = event.model.partition(":")
    return {
        names.PROVIDER: names.provider_name(provider),
        names.REQUEST_MODEL: model,
        names.TIER: event.origin.tier,
    }


def _told(facts: Mapping[str, Any]) -> Iterable[tuple[str, AttributeValue]]:
    for name, value in facts.items():
        if value is not None and not isinstance(value, dict):
            yield name, value
