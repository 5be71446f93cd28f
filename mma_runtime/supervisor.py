"""The supervisor: parent of a run's tier agents, routes tasks between them."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import ClassVar

import anyio
from anyio import TaskHandle
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from mma_runtime.admission import reached
from mma_runtime.board import Board, TicketCard, TrackCard
from mma_runtime.briefing import overview
from mma_runtime.costs import CostAggregator
from mma_runtime.crew import UNUSABLE, Crew
from mma_runtime.delivery import Delivery
from mma_runtime.errors import BudgetExhausted
from mma_runtime.events import (
    Origin,
    TicketDropped,
    TicketPlanned,
    TicketReopened,
    TrackFinished,
    TrackPlanned,
    TrackReviewed,
)
from mma_runtime.job import Job
from mma_runtime.kernel import Actor, Ref, handles
from mma_runtime.kernel.incarnation import describe
from mma_runtime.kernel.supervision import Restart
from mma_runtime.order_book import OrderBook
from mma_runtime.orders import (
    CancelRun,
    OrderTicket,
    PauseRun,
    ResumeRun,
    StartRun,
)
from mma_runtime.outcome import RunState, TicketState, TrackState
from mma_runtime.plan import Severity, Ticket, Track
from mma_runtime.schedule import Schedule
from mma_runtime.tiers import (
    AcceptTrack,
    PlanEpic,
    PlanRework,
    PlanTrack,
    Tier,
    Verdict,
)
from mma_runtime.tools.choice import given
from mma_runtime.tools.native import NATIVE_TOOLS
from mma_runtime.workspace import directory_map

STARTS = 4
"""How many tickets start before those at work get their turn.

Were all started at once, none could end before the last one had begun, and all that
thousands of them hold would be in memory together, for the collector to go through.
"""


class Supervisor(Actor):
    """Runs one job; when it has stopped, its board tells how it went.

    The routes run in a task group of its own, so that it takes messages meanwhile:
    cancelling a run ends them at once. What a route asked for is cancelled with it.
    """

    restart: ClassVar[Restart] = "temporary"

    def __init__(self, job: Job) -> None:
        self.job = job
        self.board: Board = job.board
        self.schedule: Schedule = Schedule(job.board.tickets)
        self.order_book: OrderBook = OrderBook(job, self.schedule, self)
        self.crew: Crew
        self._scope = anyio.CancelScope()
        self._leads: dict[str, Ref | None] = {}
        self._at_work: dict[str, TaskHandle[None]] = {}
        self._open: dict[str, int] = {}
        self._steps: dict[tuple[str, str], int] = {}
        self._news = anyio.Event()
        # Whether the scenario's own tickets are on the board, or never will be.
        self._laid_out = anyio.Event()
        job.journal.moved = self._heard

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Keep the routes' task group; it ends with the actor."""
        async with anyio.create_task_group() as self._routes:
            yield
            self._routes.cancel_scope.cancel()

    @handles
    async def start(self, _message: StartRun) -> None:
        """Begin; goes on in the background."""
        job = self.job
        costs = await self.spawn("costs", CostAggregator, job.ledger, job.emit)
        self.crew = Crew(job, self, costs)
        job.questions.unanswered = partial(self._end, RunState.PAUSED)
        self._routes.start_soon(self._play)

    @handles
    async def cancel(self, message: CancelRun) -> None:
        """End the run as cancelled."""
        self._end(RunState.CANCELLED, message.reason)

    @handles
    async def pause(self, message: PauseRun) -> None:
        """Start no further ticket."""
        await self.order_book.pause(message.reason)

    @handles
    async def resume(self, message: ResumeRun) -> None:
        """Start tickets again."""
        await self.order_book.resume(message.reason)

    @handles
    async def order(self, request: OrderTicket) -> tuple[str, ...]:
        """Do what was ordered of a ticket; refuse what its state does not allow."""
        if self.job.tickets:
            await self._laid_out.wait()

        return await self.order_book.follow(request)

    def _heard(self) -> None:
        self._news.set()

    def _end(self, state: RunState, reason: str) -> None:
        self.board.end(state, reason)
        self._scope.cancel()

    async def _play(self) -> None:
        seconds = self.job.ledger.budgets.run.seconds
        try:
            with self._scope, anyio.move_on_after(seconds) as limit:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._start_tickets, group)
                    group.start_soon(self.order_book.follow_again)
                    await self._route()
                    group.cancel_scope.cancel()

            if limit.cancelled_caught and seconds is not None:
                spent = BudgetExhausted(
                    "run", "seconds", f"{seconds:g}", f"{seconds:g}"
                )
                self.job.emit(reached(self._origin(), spent))
                self.board.end(RunState.OVER_BUDGET, str(spent))
        except Exception as error:
            # A bug of ours: it crashes the supervisor, and the outcome names it.
            self.board.problem = f"internal error: {describe(error)}"
            raise
        finally:
            self._laid_out.set()
            with anyio.CancelScope(shield=True):
                await self.crew.dismiss()

            self.ref.stop()

    async def _route(self) -> None:
        job = self.job
        try:
            if job.epic:
                await self._epic(job.epic)
            elif job.track is not None:
                await self._tracks((job.track,), orchestrator=None)
            else:
                await self._loose_tickets()
        except UNUSABLE as error:
            self.board.note(error)

    # --- tiers 1 and 2 --------------------------------------------------------

    async def _epic(self, epic: str) -> None:
        orchestrator = await self.crew.hire(Tier.ORCHESTRATOR)
        files = ""
        if self.job.workspace is not None:
            look = partial(directory_map, self.job.workspace.tree)
            files = await self.job.journal.view("epic", self._origin(), look)

        ground = self.job.ground
        request = PlanEpic(
            epic=epic, directory_map=files, docs=ground.docs, images=ground.images
        )
        plan = await orchestrator.ask(request)
        await self._tracks(plan.tracks, orchestrator)

    async def _tracks(
        self, tracks: tuple[Track, ...], orchestrator: Ref | None
    ) -> None:
        self.board.add_tracks(tracks)
        for track in tracks:
            self.job.emit(
                TrackPlanned(
                    origin=self._origin(track=track.id),
                    title=track.title or track.id,
                    goal=track.goal,
                )
            )

        async with anyio.create_task_group() as group:
            for track in tracks:
                card = self.board.tracks[track.id]
                group.start_soon(self._track, card, orchestrator)

    async def _track(self, card: TrackCard, orchestrator: Ref | None) -> None:
        try:
            await self._work_on(card, orchestrator)
        except UNUSABLE as error:
            self.board.note(error)
            card.state, card.reason = TrackState.FAILED, str(error)

        self.job.emit(
            TrackFinished(
                origin=self._origin(track=card.track.id),
                state=card.state.value,
                reason=card.reason,
            )
        )

    async def _work_on(self, card: TrackCard, orchestrator: Ref | None) -> None:
        track = card.track
        lead = await self.crew.hire(Tier.TECH_LEAD, track=track.id)
        self._leads[track.id] = lead
        request = await self._brief(track)
        await self._step("brief", track.id)
        tickets = await self._planned(lead, request)
        while True:
            await self._tickets(tickets, track)
            cards = [c for c in self.board.tickets.values() if c.track == track.id]
            undone = [c for c in cards if not c.is_done]
            if undone:
                names = ", ".join(f"{c.ticket.id!r} is {c.state.value}" for c in undone)
                card.state, card.reason = TrackState.FAILED, names
                break

            verdict = await self._accept(track, cards, orchestrator)
            card.reason = verdict.remarks
            if verdict.accepted:
                card.state = TrackState.ACCEPTED
                break

            tickets = await self._rework(lead, card)
            if not tickets:
                card.state = TrackState.REJECTED
                break

        self.crew.release(lead)

    async def _accept(
        self, track: Track, cards: list[TicketCard], orchestrator: Ref | None
    ) -> Verdict:
        if orchestrator is None:
            return Verdict(accepted=True, remarks="")

        await self._step("accept", track.id)
        summary = tuple(card.summary() for card in cards)
        self.board.firewall.went_up(*summary)
        verdict = await orchestrator.ask(AcceptTrack(track=track, summary=summary))
        self.job.emit(
            TrackReviewed(
                origin=self._origin(track=track.id),
                accepted=verdict.accepted,
                remarks=verdict.remarks,
            )
        )
        return verdict

    async def _brief(self, track: Track) -> PlanTrack:
        """Gather what a lead is told of its track and the project."""
        job = self.job
        settings = job.tiers[Tier.WORKER]
        known = (*NATIVE_TOOLS, *(tool.name for tool in job.tools))
        files = code = ""
        if job.workspace is not None:
            name, origin = f"track {track.id}", self._origin(track=track.id)
            look = partial(directory_map, job.workspace.tree)
            files = await job.journal.view(name, origin, look)
            read = partial(overview, job.workspace.files, track)
            code = await job.journal.view(f"{name} code", origin, read)

        return PlanTrack(
            track=track,
            directory_map=files,
            view=code,
            docs=job.ground.docs,
            images=job.ground.images,
            taken=self.taken(),
            tools=given(settings.tools, known),
            is_denied=job.questions.denies,
        )

    async def _rework(self, lead: Ref, card: TrackCard) -> tuple[Ticket, ...]:
        """Have the lead plan what is missing; nothing when it may or can not."""
        await self._step("rework", card.track.id)
        room = self.room(card.track.id)
        if not room:
            return ()

        request = PlanRework(
            track=card.track, remarks=card.reason, taken=self.taken(), room=room
        )
        try:
            tickets = await self._planned(lead, request)
        except UNUSABLE as error:
            # The rejection stands, for its own reason; this one is its footnote.
            card.reason += f" (no further tickets: {error})"
            return ()

        card.added += len(tickets)
        return tickets

    async def _planned(
        self, lead: Ref, request: PlanTrack | PlanRework
    ) -> tuple[Ticket, ...]:
        while True:
            plan = await lead.ask(request)
            await self._step("planned", request.track.id)
            # Another track may have taken an id while this one was being planned; then
            # the lead is asked again, which is refused for an id that is not new.
            if self.board.tickets.keys().isdisjoint(t.id for t in plan.tickets):
                return plan.tickets

            request = replace(request, taken=self.taken())

    async def _loose_tickets(self) -> None:
        lead = None
        if Tier.TECH_LEAD in self.job.tiers:
            lead = await self.crew.hire(Tier.TECH_LEAD)

        self._leads[""] = lead
        await self._tickets(self.job.tickets)

    # --- tickets --------------------------------------------------------------

    async def _tickets(
        self, tickets: tuple[Ticket, ...], track: Track | None = None
    ) -> None:
        """Have tickets done; each starts the moment that what it needs is done."""
        name = track.id if track is not None else ""
        self._add(tickets, track)
        while self._open[name]:
            # A new event for each wait: several tracks may wait at the same time.
            await self.some_news()

    def _add(self, tickets: tuple[Ticket, ...], track: Track | None) -> None:
        name = track.id if track is not None else ""
        for ticket in tickets:
            self.job.once.mark(ticket.once)

        cards = self.board.add_tickets(tickets, name)
        self._open[name] = self._open.get(name, 0) + len(cards)
        for card in cards.values():
            self.job.emit(
                TicketPlanned(
                    origin=card.origin(self.job.run),
                    title=card.ticket.title or card.ticket.id,
                    depends_on=card.ticket.depends_on,
                )
            )

        blocked = self.schedule.add(
            cards.values(), track.severity if track is not None else Severity.MEDIUM
        )
        self.close(blocked)
        self._laid_out.set()
        self._news.set()

    async def some_news(self) -> None:
        """Wait until something has changed."""
        if self._news.is_set():
            self._news = anyio.Event()

        await self._news.wait()

    async def _start_tickets(self, group: TaskGroup) -> None:
        """Start what is ready, as long as there are workers for it."""
        while True:
            for _ in range(STARTS):
                is_full = len(self._at_work) >= self.job.workers
                card = None if is_full else self._next()
                if card is None:
                    await self.some_news()
                    break

                await self._step(f"start {card.ticket.id}", card.track, card.ticket.id)

                self.job.emit(self.schedule.chosen(card, self.job.run))
                lead = self._leads.get(card.track)
                delivery = Delivery(self.job, self.crew, self, card, lead)
                handle = group.start_soon(delivery.run)
                if card.state is TicketState.RUNNING:
                    # Else it is done: a host may run with eager tasks.
                    self._at_work[card.ticket.id] = handle
            else:
                await checkpoint()

    def _next(self) -> TicketCard | None:
        """Return the ticket to start now: as recorded, or as the schedule says."""
        recorded = self.job.journal.next_step("start ")
        if recorded is None:
            return None if self.order_book.is_paused else self.schedule.take()

        return self.schedule.take_named(recorded.origin.ticket)

    async def _step(self, what: str, track: str, ticket: str = "") -> None:
        """Meet other routes in the order that was recorded, or record it."""
        if not self.job.journal.is_on:
            return

        key = (what, track)
        self._steps[key] = self._steps.get(key, 0) + 1
        await self.job.journal.step(
            f"{what} {track}.{self._steps[key]}",
            self._origin(track=track, ticket=ticket),
        )

    # --- what deliveries report to ---------------------------------------------

    def ended(self, card: TicketCard) -> None:
        """Let what waited for *card* go on, or block it."""
        self._at_work.pop(card.ticket.id, None)
        if card.state is TicketState.RUNNING:
            # Cut off with the whole run, which says so itself.
            return

        self.close([card, *self.schedule.end(card)])

    def room(self, track: str) -> int:
        """Return how many tickets Tier 2 may still add to *track*."""
        card = self.board.tracks.get(track)
        return self.job.max_added_tickets - card.added if card is not None else 0

    def taken(self) -> frozenset[str]:
        """Return the ids of all tickets."""
        return frozenset(self.board.tickets)

    def add(self, tickets: tuple[Ticket, ...], track: str) -> None:
        """Have tickets done that a review found; ids that are taken by now are not."""
        card = self.board.tracks[track]
        room = self.room(track)
        new: list[Ticket] = []
        for one in tickets:
            reason = ""
            if one.id in self.board.tickets:
                reason = "another ticket has its id by now"
            elif len(new) == room:
                reason = f"{self.job.max_added_tickets} tickets may be added to a track"

            if reason:
                origin = self._origin(track=track, ticket=one.id)
                self.job.emit(TicketDropped(origin=origin, reason=reason))
            else:
                new.append(one)

        card.added += len(new)
        self._add(tuple(new), card.track)

    # --- what orders are about --------------------------------------------------

    def stop_work(self, ticket: str) -> None:
        """Cancel who is at work on *ticket*, if anybody is."""
        if handle := self._at_work.get(ticket):
            handle.cancel()

    def reopen(self, cards: Iterable[TicketCard], reason: str) -> None:
        """Let tickets wait again that had ended."""
        for card in cards:
            self._open[card.track] += 1
            origin = card.origin(self.job.run)
            self.job.emit(TicketReopened(origin=origin, reason=reason))

    def close(self, cards: Iterable[TicketCard]) -> None:
        """Take note of tickets that have ended."""
        for card in cards:
            self.job.emit(card.finished(self.job.run))
            self._open[card.track] -= 1

        self._news.set()

    def _origin(self, *, track: str = "", ticket: str = "") -> Origin:
        return Origin(run=self.job.run, track=track, ticket=ticket)
