"""The supervisor: parent of a run's tier agents, routes tasks between them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from heapq import heappop, heappush

import anyio
from anyio.lowlevel import checkpoint

from mma_runtime.board import TicketCard, TrackCard
from mma_runtime.costs import BudgetSpent, CostAggregator
from mma_runtime.crew import UNUSABLE, Crew
from mma_runtime.delivery import Delivery
from mma_runtime.errors import BudgetExhausted
from mma_runtime.events import (
    Origin,
    TicketPlanned,
    TrackFinished,
    TrackPlanned,
)
from mma_runtime.job import Job
from mma_runtime.kernel import Actor, Message, Ref, handles
from mma_runtime.outcome import RunState, TicketState, TrackState
from mma_runtime.plan import Priority, Ticket, Track
from mma_runtime.tiers import AcceptTrack, PlanEpic, PlanTrack, Tier, Verdict
from mma_runtime.workspace import directory_map

STARTS = 4
"""How many tickets start before those at work get their turn.

Were all started at once, none could end before the last one had begun, and all that
thousands of them hold would be in memory together, for the collector to go through.
"""

_PRIORITIES = tuple(Priority)
_Start = Callable[[TicketCard], None]


@dataclass(frozen=True, slots=True)
class CancelRun(Message):
    """Stop the run at once; what was done and spent stays on the board."""

    reason: str = "cancelled"


@dataclass(frozen=True, slots=True)
class StartRun(Message):
    """Begin with the job."""


class Supervisor(Actor):
    """Runs one job; when it has stopped, its board tells how it went.

    The routes run in a task group of its own, so that it takes messages meanwhile:
    cancelling a run, or the aggregator's word that the budget is spent, ends them at
    once. What a route asked for is cancelled with it.
    """

    restart = "temporary"

    def __init__(self, job: Job) -> None:
        self.job = job
        self.board = job.board
        self.crew: Crew
        self._scope = anyio.CancelScope()
        self._working = 0
        self._queued = 0
        self._waiting: list[tuple[int, int, TicketCard, _Start]] = []
        self._may_start = anyio.Event()

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
        costs = await self.spawn(
            "costs", CostAggregator, job.ledger, self.ref, job.emit
        )
        self.crew = Crew(job, self, costs)
        self._routes.start_soon(self._play)

    @handles
    async def cancel(self, message: CancelRun) -> None:
        """End the run as cancelled."""
        self._end(RunState.CANCELLED, message.reason)

    @handles
    async def budget_spent(self, message: BudgetSpent) -> None:
        """End the run as over its budget."""
        self._end(RunState.OVER_BUDGET, str(message.exhausted))

    def _end(self, state: RunState, reason: str) -> None:
        self.board.end(state, reason)
        self._scope.cancel()

    async def _play(self) -> None:
        seconds = self.job.ledger.budget.seconds
        try:
            with self._scope, anyio.move_on_after(seconds) as limit:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._start_tickets)
                    await self._route()
                    group.cancel_scope.cancel()

            if limit.cancelled_caught and seconds is not None:
                spent = BudgetExhausted(
                    "run", "seconds", f"{seconds:g}", f"{seconds:g}"
                )
                self.board.end(RunState.OVER_BUDGET, str(spent))
        except Exception as error:
            # A bug of ours: it crashes the supervisor, and the outcome names it.
            self.board.problem = f"internal error: {type(error).__name__}: {error}"
            raise
        finally:
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
            files = await directory_map(self.job.workspace.tree)

        plan = await orchestrator.ask(PlanEpic(epic=epic, directory_map=files))
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
        view = ""
        if self.job.workspace is not None:
            view = await directory_map(self.job.workspace.tree)

        tickets = await self._plan(lead, track, view)
        cards = self.board.add_tickets(tickets, track.id)
        await self._tickets(cards, lead)
        self.crew.release(lead)
        undone = [c for c in cards.values() if c.state is not TicketState.COMPLETED]
        if undone:
            names = ", ".join(f"{c.ticket.id!r} is {c.state.value}" for c in undone)
            card.state, card.reason = TrackState.FAILED, names
            return

        verdict = Verdict(accepted=True, remarks="")
        if orchestrator is not None:
            summary = tuple(_summary(c) for c in cards.values())
            verdict = await orchestrator.ask(AcceptTrack(track=track, summary=summary))

        card.state = TrackState.ACCEPTED if verdict.accepted else TrackState.REJECTED
        card.reason = verdict.remarks

    async def _plan(self, lead: Ref, track: Track, view: str) -> tuple[Ticket, ...]:
        while True:
            taken = frozenset(self.board.tickets)
            plan = await lead.ask(PlanTrack(track=track, view=view, taken=taken))
            # Another track may have taken an id while this one was being planned; then
            # the lead is asked again, which is refused for an id that is not new.
            if self.board.tickets.keys().isdisjoint(t.id for t in plan.tickets):
                return plan.tickets

    async def _loose_tickets(self) -> None:
        lead = None
        if Tier.TECH_LEAD in self.job.tiers:
            lead = await self.crew.hire(Tier.TECH_LEAD)

        await self._tickets(self.board.add_tickets(self.job.tickets), lead)

    # --- tickets --------------------------------------------------------------

    async def _tickets(self, cards: dict[str, TicketCard], lead: Ref | None) -> None:
        """Start each ticket the moment that what it depends on is done."""
        for card in cards.values():
            self.job.emit(
                TicketPlanned(
                    origin=self._origin(track=card.track, ticket=card.ticket.id),
                    title=card.ticket.title or card.ticket.id,
                    depends_on=card.ticket.depends_on,
                )
            )

        order = TopologicalSorter(
            {name: card.ticket.depends_on for name, card in cards.items()}
        )
        order.prepare()
        unfinished = set(cards)
        finished = anyio.Event()

        def ended(card: TicketCard) -> None:
            self._working -= 1
            closed = [card]
            if card.state is TicketState.COMPLETED:
                order.done(card.ticket.id)
                queue_ready()
            else:
                closed += self.board.block_dependents(card)

            for each in closed:
                self.job.emit(each.finished(self.job.run))
                unfinished.discard(each.ticket.id)

            if not unfinished:
                finished.set()

            self._may_start.set()

        def queue_ready() -> None:
            for name in order.get_ready():
                self._queue(cards[name], start)

        def start(card: TicketCard) -> None:
            delivery = Delivery(self.job, self.crew, card, lead)
            group.start_soon(delivery.run, ended)

        async with anyio.create_task_group() as group:
            queue_ready()
            # The group may be without a task while others have all the workers.
            await finished.wait()

    def _queue(self, card: TicketCard, start: _Start) -> None:
        """Let a ready ticket wait for a worker, by priority, then in order."""
        self._queued += 1
        priority = _PRIORITIES.index(card.ticket.priority)
        heappush(self._waiting, (priority, self._queued, card, start))
        self._may_start.set()

    async def _start_tickets(self) -> None:
        while True:
            for _ in range(STARTS):
                if not self._waiting or self._working == self.job.workers:
                    self._may_start = anyio.Event()
                    await self._may_start.wait()
                    break

                self._working += 1
                _, _, card, start = heappop(self._waiting)
                start(card)
            else:
                await checkpoint()

    def _origin(self, *, track: str = "", ticket: str = "") -> Origin:
        return Origin(run=self.job.run, track=track, ticket=ticket)


def _summary(card: TicketCard) -> str:
    files = ", ".join(card.files) or "no files"
    return f"{card.ticket.id}: {card.state.value} ({files}). {card.answer}"
