"""Which ticket goes next, and what becomes of those behind one that has ended.

Decides and changes cards; starts and cancels nothing.
"""

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush, heapreplace

from mma_runtime.errors import Refused, did_you_mean
from mma_runtime.events import TicketChosen
from mma_runtime.outcome import TicketState
from mma_runtime.plan import Priority, Severity
from mma_runtime.supervisor.board import TicketCard

_PRIORITIES = tuple(Priority)
_SEVERITIES = tuple(Severity)
_BEFORE_WORK = (TicketState.PENDING, TicketState.BLOCKED)
_FAILED = (
    TicketState.FAILED,
    TicketState.STUCK,
    TicketState.BOUNDED,
    TicketState.OVER_BUDGET,
    TicketState.CANCELLED,
)


class Schedule:
    """The order of a run's tickets.

    Of those that are ready the one with the highest priority goes first, then the one
    that most others wait for, then the one of the severest track, then the first added.
    *cards* is the board's table and grows with it.
    """

    def __init__(self, cards: Mapping[str, TicketCard]) -> None:
        self._cards = cards
        self._behind: dict[str, list[str]] = {}
        self._severity: dict[str, int] = {}
        self._place: dict[str, int] = {}
        self._weights: dict[str, int] = {}
        self._ready: list[tuple[int, int, int, int, str]] = []

    def add(
        self, cards: Iterable[TicketCard], severity: Severity = Severity.MEDIUM
    ) -> list[TicketCard]:
        """Take planned tickets in; what they depend on is on the board already.

        Returns those that are blocked at once: what they need ended without being done.
        """
        new = tuple(cards)
        for card in new:
            name = card.ticket.id
            self._place[name] = len(self._place)
            self._severity[name] = _SEVERITIES.index(severity)
            for need in card.ticket.depends_on:
                self._behind.setdefault(need, []).append(name)

        self._weigh()
        # Those that were ready before may have more behind them by now.
        self._ready = [self._key(self._cards[entry[-1]]) for entry in self._ready]
        heapify(self._ready)
        for card in new:
            self._queue_if_ready(card)

        needs = [need for card in new for need in self._needs(card)]
        lost = [need for need in needs if not (need.is_open or need.is_done)]
        return [card for need in lost for card in self.end(need)]

    def take(self) -> TicketCard | None:
        """Return the next ready ticket and put it to work, or `None`."""
        self._drop_stale()
        if not self._ready:
            return None

        card = self._cards[heappop(self._ready)[-1]]
        card.state = TicketState.RUNNING
        return card

    def take_named(self, name: str) -> TicketCard | None:
        """Put the ticket *name* to work out of its turn, once it is ready."""
        card = self._cards.get(name)
        if card is None or card.state is not TicketState.PENDING:
            return None

        if not all(self._cards[need].is_done for need in card.ticket.depends_on):
            return None

        card.state = TicketState.RUNNING
        return card

    def chosen(self, card: TicketCard, run: str) -> TicketChosen:
        """Return the event that tells why *card* was taken before others."""
        name = card.ticket.id
        return TicketChosen(
            origin=card.origin(run),
            priority=card.priority.value,
            dependants=self._weights.get(name, 0),
            severity=_SEVERITIES[self._severity[name]].value,
        )

    def end(self, card: TicketCard) -> list[TicketCard]:
        """Follow the end of *card*: what it held up is ready, or blocked and returned.

        Each blocked card names the ticket that it waits for and how that one ended.
        """
        if card.is_done:
            for name in self._behind.get(card.ticket.id, ()):
                self._queue_if_ready(self._cards[name])

            return []

        blocked: list[TicketCard] = []
        causes = [card]
        while causes:
            cause = causes.pop()
            for name in self._behind.get(cause.ticket.id, ()):
                waiting = self._cards[name]
                if waiting.state is TicketState.PENDING:
                    waiting.state = TicketState.BLOCKED
                    waiting.blocked_by = cause.ticket.id
                    waiting.reason = _waits_for(cause)
                    blocked.append(waiting)
                    causes.append(waiting)

        return blocked

    # --- what people may order ------------------------------------------------

    def card(self, name: str) -> TicketCard:
        """Return the card of ticket *name*; raises `Refused` when there is none."""
        if name not in self._cards:
            near = did_you_mean(name, self._cards)
            raise Refused(f"there is no ticket {name!r}{near}")

        return self._cards[name]

    def block(self, card: TicketCard, reason: str) -> list[TicketCard]:
        """Keep a waiting ticket, and all behind it, from being started.

        Returns the cards that are blocked now. Raises `Refused` when it is not waiting.
        """
        self._demand(card, (TicketState.PENDING,), "be blocked")
        card.state, card.reason, card.blocked_by = TicketState.BLOCKED, reason, ""
        return [card, *self.end(card)]

    def unblock(self, card: TicketCard) -> list[TicketCard]:
        """Let a blocked ticket wait again, and those that were blocked because of it.

        Raises `Refused` when it is not blocked, or while something that it depends on
        is not done.
        """
        self._demand(card, (TicketState.BLOCKED,), "be unblocked")
        self._refuse_for(card, [need for need in self._needs(card) if not need.is_done])
        return self._reopen(card)

    def retry(self, card: TicketCard) -> list[TicketCard]:
        """Let a ticket that has failed start over, and unblock those behind it.

        It may wait for what is still open, as any ticket does. Raises `Refused` when it
        has not failed, or something that it depends on has ended without being done.
        """
        self._demand(card, _FAILED, "be tried again")
        needs = self._needs(card)
        lost = [need for need in needs if not (need.is_open or need.is_done)]
        self._refuse_for(card, lost)
        return self._reopen(card)

    def skip(self, card: TicketCard, reason: str) -> list[TicketCard]:
        """Do without a ticket: what depends on it goes on as if it were done.

        Returns it and the cards that wait again. Raises `Refused` when it is at work or
        done.
        """
        self._demand(card, (*_BEFORE_WORK, *_FAILED), "be skipped")
        card.state, card.reason, card.blocked_by = TicketState.SKIPPED, reason, ""
        reopened = self._reopen_behind(card)
        self.end(card)
        return [card, *reopened]

    def cancel(self, card: TicketCard, reason: str) -> list[TicketCard]:
        """Give up a ticket; one at work has to be stopped by the caller.

        Returns the cards that ended by it, which for one at work is none yet.
        """
        self._demand(card, (TicketState.RUNNING, *_BEFORE_WORK), "be cancelled")
        running = card.state is TicketState.RUNNING
        card.state, card.reason, card.blocked_by = TicketState.CANCELLED, reason, ""
        return [] if running else [card, *self.end(card)]

    def prioritise(self, card: TicketCard, priority: Priority) -> None:
        """Give a ticket that has not started another priority."""
        self._demand(card, _BEFORE_WORK, "get another priority")
        card.priority = priority
        self._queue_if_ready(card)

    # --- inside ---------------------------------------------------------------

    def _demand(
        self, card: TicketCard, states: tuple[TicketState, ...], what: str
    ) -> None:
        if card.state not in states:
            raise Refused(
                f"ticket {card.ticket.id!r} is {card.state.value}; only a ticket that"
                f" is {' or '.join(states)} can {what}"
            )

    def _needs(self, card: TicketCard) -> list[TicketCard]:
        return [self._cards[name] for name in card.ticket.depends_on]

    def _refuse_for(self, card: TicketCard, unmet: list[TicketCard]) -> None:
        if unmet:
            raise Refused(
                f"ticket {card.ticket.id!r} "
                + "; ".join(_waits_for(need) for need in unmet)
            )

    def _reopen(self, card: TicketCard) -> list[TicketCard]:
        card.state, card.reason, card.blocked_by = TicketState.PENDING, "", ""
        card.provider_failed = False
        self._queue_if_ready(card)
        return [card, *self._reopen_behind(card)]

    def _reopen_behind(self, card: TicketCard) -> list[TicketCard]:
        """Let wait again what was blocked because of *card* alone."""
        reopened: list[TicketCard] = []
        causes = [card]
        while causes:
            cause = causes.pop()
            for name in self._behind.get(cause.ticket.id, ()):
                waiting = self._cards[name]
                is_blocked = waiting.state is TicketState.BLOCKED
                if is_blocked and waiting.blocked_by == cause.ticket.id:
                    waiting.state, waiting.reason = TicketState.PENDING, ""
                    waiting.blocked_by = ""
                    reopened.append(waiting)
                    causes.append(waiting)

        for waiting in reopened:
            for need in waiting.ticket.depends_on:
                cause = self._cards[need]
                if not (cause.is_open or cause.is_done):
                    # It was held up by two; the other one still does.
                    self.end(cause)

        for waiting in reopened:
            self._queue_if_ready(waiting)

        return [waiting for waiting in reopened if waiting.is_open]

    def _queue_if_ready(self, card: TicketCard) -> None:
        if self._is_ready(card):
            heappush(self._ready, self._key(card))

    def _is_ready(self, card: TicketCard) -> bool:
        needs = card.ticket.depends_on
        return card.state is TicketState.PENDING and (
            not needs or all(self._cards[need].is_done for need in needs)
        )

    def _key(self, card: TicketCard) -> tuple[int, int, int, int, str]:
        name = card.ticket.id
        return (
            _PRIORITIES.index(card.priority),
            -self._weights.get(name, 0),
            self._severity[name],
            self._place[name],
            name,
        )

    def _drop_stale(self) -> None:
        """Make the first entry one that is ready, at the place that it has by now."""
        ready = self._ready
        while ready:
            card = self._cards[ready[0][-1]]
            if not self._is_ready(card):
                heappop(ready)
            elif ready[0] != (key := self._key(card)):
                heapreplace(ready, key)
            else:
                return

    def _weigh(self) -> None:
        """Count for each ticket how many others wait for it, directly or not."""
        # As the bits of one number: the union of thousands is one operation. Without
        # dependencies there is nothing to count.
        waiting: dict[str, int] = {}
        stack = list(self._behind)
        while stack:
            name = stack[-1]
            direct = self._behind.get(name, ())
            missing = [other for other in direct if other not in waiting]
            if missing:
                stack += missing
                continue

            bits = 0
            for other in direct:
                bits |= waiting[other] | 1 << self._place[other]

            waiting[name] = bits
            stack.pop()

        self._weights = {name: bits.bit_count() for name, bits in waiting.items()}


def _waits_for(cause: TicketCard) -> str:
    return f"waits for {cause.ticket.id!r}, which is {cause.state.value}"
