"""The dispatch: tickets go to workers as they become ready, until all have ended."""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial

import anyio
from anyio import TaskHandle
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from mma_runtime.errors import ActorStopped, BudgetExhausted
from mma_runtime.events import Origin, TicketDropped, TicketPlanned, TicketReopened
from mma_runtime.journal.kinds import BEGIN
from mma_runtime.kernel import Ref
from mma_runtime.model.admission import reached
from mma_runtime.news import News
from mma_runtime.outcome import RunState, TicketState
from mma_runtime.plan import Severity, Ticket, Track
from mma_runtime.supervisor.board import Board, TicketCard
from mma_runtime.supervisor.crew import UNUSABLE, Crew
from mma_runtime.supervisor.delivery import Delivery
from mma_runtime.supervisor.job import Job
from mma_runtime.supervisor.order_book import OrderBook
from mma_runtime.supervisor.schedule import Schedule
from mma_runtime.supervisor.tracks import Tracks
from mma_runtime.tiers import Tier

STARTS = 4
"""How many tickets start before those at work get their turn.

Were all started at once, none could end before the last one had begun, and all that
thousands of them hold would be in memory together, for the collector to go through.
"""


class Dispatch:
    """Has one job done; when it is over, the job's board tells how it went.

    It works in the task that calls `play`, with one more for each ticket at work and
    for each track. *crew*, which hires the agents, is there from then to its end.
    """

    crew: Crew

    def __init__(self, job: Job) -> None:
        self.leads: dict[str, Ref | None] = {}
        self._job = job
        self._board: Board = job.board
        self._schedule: Schedule = Schedule(job.board.tickets)
        self._order_book: OrderBook | None = None
        self._at_work: dict[str, TaskHandle[None]] = {}
        self._open: dict[str, int] = {}
        self._steps: dict[tuple[str, str], int] = {}
        self._news = News()
        self._group: TaskGroup | None = None
        # Whether the scenario's own tickets are on the board, or never will be.
        self._is_laid_out = False
        self._is_routed = False
        self._is_done = False
        if job.journal.is_on:
            job.journal.moved = self._news.tell

        job.questions.unanswered = self._unanswered

    @property
    def order_book(self) -> OrderBook:
        """What people order; most runs are given none."""
        if self._order_book is None:
            self._order_book = OrderBook(self._job, self._schedule, self)

        return self._order_book

    def end(self, state: RunState, reason: str) -> None:
        """End the run at once."""
        self._board.end(state, reason)
        if self._group is not None:
            self._group.cancel_scope.cancel()

    def _unanswered(self, reason: str) -> None:
        self.end(RunState.PAUSED, reason)

    async def play(self, supervisor: Ref) -> None:
        """Work until the job is done, or cannot be, and all agents have ended.

        It cannot be when *supervisor*, the parent of the agents, has ended.
        """
        seconds = self._job.ledger.budgets.run.seconds
        try:
            if self._board.ended is not None:
                return

            if seconds is None:
                await self._work(supervisor)
            else:
                await self._work_in_time(seconds, supervisor)

            if not self._is_done and self._board.ended is None:
                self._board.problem = "internal error: the supervisor has failed"
        finally:
            self._is_laid_out = True
            self._news.tell()
            with anyio.CancelScope(shield=True), suppress(ActorStopped):
                await self.crew.dismiss()

            # No circle keeps the ended run until garbage is collected.
            del self.crew

    async def laid_out(self) -> None:
        """Wait until the scenario's own tickets can be ordered about."""
        while self._job.tickets and not self._is_laid_out:
            await self._news.wait()

    async def _work_in_time(self, seconds: float, supervisor: Ref) -> None:
        with anyio.CancelScope() as scope:
            # From the first call on: what is only told again takes none of it.
            self._job.ledger.tree.run_ends = partial(setattr, scope, "deadline")
            await self._work(supervisor)
            return

        spent = BudgetExhausted("run", "seconds", f"{seconds:g}", f"{seconds:g}")
        self._job.emit(reached(self.origin(), spent))
        self._board.overspend(spent)
        self._board.end(RunState.OVER_BUDGET, str(spent))

    async def _work(self, supervisor: Ref) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            supervisor.link(group.cancel_scope)
            if self._job.journal.past is not None:
                group.start_soon(self.order_book.follow_again)

            if self._job.epic or self._job.track is not None:
                group.start_soon(self._route)
            else:
                await self._route()

            await self._start_tickets(group)
            self._is_done = True
            group.cancel_scope.cancel()

    async def _route(self) -> None:
        job = self._job
        try:
            if job.epic:
                await Tracks(job, self).plan(job.epic)
            elif job.track is not None:
                await Tracks(job, self).route((job.track,), orchestrator=None)
            else:
                await self._lay_out()
        except UNUSABLE as error:
            self._board.note(error)

        self._is_routed = True
        self._news.tell()

    async def _lay_out(self) -> None:
        if Tier.TECH_LEAD in self._job.tiers:
            self.leads[""] = await self.crew.hire(Tier.TECH_LEAD)

        self._add(self._job.tickets, None)

    # --- tickets --------------------------------------------------------------

    async def deliver(
        self, tickets: tuple[Ticket, ...], track: Track | None = None
    ) -> None:
        """Have *tickets* done, each the moment that what it needs is done.

        Returns once no ticket of *track* is open.
        """
        name = track.id if track is not None else ""
        self._add(tickets, track)
        while self._open[name]:
            await self._news.wait()

    def _add(self, tickets: tuple[Ticket, ...], track: Track | None) -> None:
        name = track.id if track is not None else ""
        for ticket in tickets:
            if ticket.once:
                self._job.once.mark(ticket.once)

        cards = self._board.add_tickets(tickets, name)
        self._open[name] = self._open.get(name, 0) + len(cards)
        for card in cards.values():
            self._job.emit(
                TicketPlanned(
                    origin=card.origin(self._job.run),
                    title=card.ticket.title or card.ticket.id,
                    depends_on=card.ticket.depends_on,
                )
            )

        blocked = self._schedule.add(
            cards.values(), track.severity if track is not None else Severity.MEDIUM
        )
        self.close(blocked)
        self._is_laid_out = True
        self._news.tell()

    async def some_news(self) -> None:
        """Wait until something has changed."""
        await self._news.wait()

    async def _start_tickets(self, group: TaskGroup) -> None:
        """Start what is ready, as long as there are workers for it, until all is."""
        started = 0
        # Tickets without a track are over when they are; tracks know it themselves.
        while not self._is_routed or self._open.get(""):
            is_full = len(self._at_work) >= self._job.workers
            if is_full and self._job.journal.begins_next:
                # Then there was room: who is at work longer now is lived anew, and
                # waits for what is recorded.
                is_full = False

            card = None if is_full else self._next()
            if card is None:
                await self._news.wait()
                continue

            await self.step(f"{BEGIN}{card.ticket.id}", card.track, card.ticket.id)
            self._job.emit(self._schedule.chosen(card, self._job.run))
            lead = self.leads.get(card.track)
            delivery = Delivery(self._job, self.crew, self, card, lead)
            handle = group.start_soon(delivery.run)
            if card.state is TicketState.RUNNING:
                # Else it is done: a host may run with eager tasks.
                self._at_work[card.ticket.id] = handle

            started += 1
            if started % STARTS == 0:
                await checkpoint()

    def _next(self) -> TicketCard | None:
        """Return the ticket to start now: as recorded, or as the schedule says."""
        recorded = self._job.journal.next_step(BEGIN)
        if recorded is None:
            book = self._order_book
            is_paused = book is not None and book.is_paused
            return None if is_paused else self._schedule.take()

        return self._schedule.take_named(recorded.origin.ticket)

    async def step(self, what: str, track: str, ticket: str = "") -> None:
        """Meet other routes in the order that was recorded, or record it."""
        if not self._job.journal.is_on:
            return

        key = (what, track)
        self._steps[key] = self._steps.get(key, 0) + 1
        await self._job.journal.step(
            f"{what} {track}.{self._steps[key]}",
            self.origin(track=track, ticket=ticket),
        )

    # --- what deliveries report to ---------------------------------------------

    def ended(self, card: TicketCard) -> None:
        """Let what waited for *card* go on, or block it."""
        self._at_work.pop(card.ticket.id, None)
        if card.state is TicketState.RUNNING:
            # Cut off with the whole run, which says so itself.
            return

        self.close([card, *self._schedule.end(card)])

    def room(self, track: str) -> int:
        """Return how many tickets Tier 2 may still add to *track*."""
        card = self._board.tracks.get(track)
        return self._job.max_added_tickets - card.added if card is not None else 0

    def taken(self) -> frozenset[str]:
        """Return the ids of all tickets."""
        return frozenset(self._board.tickets)

    def add(self, tickets: tuple[Ticket, ...], track: str) -> None:
        """Have tickets done that a review found; ids that are taken by now are not."""
        card = self._board.tracks[track]
        room = self.room(track)
        new: list[Ticket] = []
        for one in tickets:
            reason = ""
            if one.id in self._board.tickets:
                reason = "another ticket has its id by now"
            elif len(new) == room:
                reason = (
                    f"{self._job.max_added_tickets} tickets may be added to a track"
                )

            if reason:
                origin = self.origin(track=track, ticket=one.id)
                self._job.emit(TicketDropped(origin=origin, reason=reason))
            else:
                new.append(one)

        card.added += len(new)
        self._add(tuple(new), card.track)

    # --- what orders are about --------------------------------------------------

    def is_at_work(self, ticket: str) -> bool:
        """Tell whether somebody works on *ticket*, or is still being stopped."""
        return ticket in self._at_work

    def is_over(self, track: str) -> bool:
        """Tell whether no ticket of *track* is open any more."""
        return not self._open.get(track)

    async def work_ended(self, ticket: str) -> None:
        """Wait until nobody is at work on *ticket*."""
        while self.is_at_work(ticket):
            await self._news.wait()

    def stop_work(self, ticket: str) -> None:
        """Cancel who is at work on *ticket*, if anybody is."""
        if handle := self._at_work.get(ticket):
            handle.cancel()

    def reopen(self, cards: Iterable[TicketCard], reason: str) -> None:
        """Let tickets wait again that had ended."""
        for card in cards:
            self._open[card.track] += 1
            origin = card.origin(self._job.run)
            self._job.emit(TicketReopened(origin=origin, reason=reason))

    def close(self, cards: Iterable[TicketCard]) -> None:
        """Take note of tickets that have ended."""
        for card in cards:
            self._job.emit(card.finished(self._job.run))
            self._open[card.track] -= 1

        self._news.tell()

    def origin(self, *, track: str = "", ticket: str = "") -> Origin:
        return Origin(run=self._job.run, track=track, ticket=ticket)
