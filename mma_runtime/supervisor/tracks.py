"""Tiers 1 and 2: an epic becomes tracks, a track becomes tickets until it is done."""

from dataclasses import replace
from functools import partial
from typing import Protocol

import anyio

from mma_runtime.events import Origin, TrackFinished, TrackPlanned, TrackReviewed
from mma_runtime.kernel import Ref
from mma_runtime.outcome import TrackState
from mma_runtime.plan import Ticket, Track
from mma_runtime.supervisor.board import Board, TicketCard, TrackCard
from mma_runtime.supervisor.crew import UNUSABLE, Crew
from mma_runtime.supervisor.job import Job
from mma_runtime.tiers import (
    AcceptTrack,
    PlanEpic,
    PlanRework,
    PlanTrack,
    Tier,
    Verdict,
)
from mma_runtime.tiers.briefing import overview
from mma_runtime.tools.choice import given
from mma_runtime.tools.native import NATIVE_TOOLS
from mma_runtime.workspace import directory_map


class Office(Protocol):
    """Where tracks have their tickets done: the dispatch."""

    crew: Crew
    leads: dict[str, Ref | None]

    async def deliver(
        self, tickets: tuple[Ticket, ...], track: Track | None = None
    ) -> None:
        """Have *tickets* done, and wait until those of their track have ended."""
        ...

    async def step(self, what: str, track: str, ticket: str = "") -> None:
        """Meet other routes in the order that was recorded, or record it."""
        ...

    def room(self, track: str) -> int:
        """Return how many tickets Tier 2 may still add to *track*."""
        ...

    def taken(self) -> frozenset[str]:
        """Return the ids of all tickets of the run."""
        ...

    def origin(self, *, track: str = "", ticket: str = "") -> Origin:
        """Say where in the run something is."""
        ...


class Tracks:
    """Has the tracks of one job planned, done, reviewed and accepted."""

    def __init__(self, job: Job, office: Office) -> None:
        self._job = job
        self._board: Board = job.board
        self._office = office

    async def plan(self, epic: str) -> None:
        orchestrator = await self._office.crew.hire(Tier.ORCHESTRATOR)
        files = ""
        if self._job.workspace is not None:
            look = partial(directory_map, self._job.workspace.tree)
            files = await self._job.journal.view("epic", self._office.origin(), look)

        ground = self._job.ground
        request = PlanEpic(
            epic=epic, directory_map=files, docs=ground.docs, images=ground.images
        )
        plan = await orchestrator.ask(request)
        await self.route(plan.tracks, orchestrator)

    async def route(self, tracks: tuple[Track, ...], orchestrator: Ref | None) -> None:
        self._board.add_tracks(tracks)
        for track in tracks:
            self._job.emit(
                TrackPlanned(
                    origin=self._office.origin(track=track.id),
                    title=track.title or track.id,
                    goal=track.goal,
                )
            )

        async with anyio.create_task_group() as group:
            for track in tracks:
                card = self._board.tracks[track.id]
                group.start_soon(self._track, card, orchestrator)

    async def _track(self, card: TrackCard, orchestrator: Ref | None) -> None:
        try:
            await self._work_on(card, orchestrator)
        except UNUSABLE as error:
            self._board.note(error)
            card.state, card.reason = TrackState.FAILED, str(error)

        self._job.emit(
            TrackFinished(
                origin=self._office.origin(track=card.track.id),
                state=card.state.value,
                reason=card.reason,
            )
        )

    async def _work_on(self, card: TrackCard, orchestrator: Ref | None) -> None:
        track = card.track
        lead = await self._office.crew.hire(Tier.TECH_LEAD, track=track.id)
        self._office.leads[track.id] = lead
        request = await self._brief(track)
        await self._office.step("brief", track.id)
        tickets = await self._planned(lead, request)
        while True:
            await self._office.deliver(tickets, track)
            cards = [c for c in self._board.tickets.values() if c.track == track.id]
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

        self._office.crew.release(lead)

    async def _accept(
        self, track: Track, cards: list[TicketCard], orchestrator: Ref | None
    ) -> Verdict:
        if orchestrator is None:
            return Verdict(accepted=True, remarks="")

        await self._office.step("accept", track.id)
        summary = tuple(card.summary() for card in cards)
        self._board.firewall.went_up(*summary)
        verdict = await orchestrator.ask(AcceptTrack(track=track, summary=summary))
        self._job.emit(
            TrackReviewed(
                origin=self._office.origin(track=track.id),
                accepted=verdict.accepted,
                remarks=verdict.remarks,
            )
        )
        return verdict

    async def _brief(self, track: Track) -> PlanTrack:
        """Gather what a lead is told of its track and the project."""
        job = self._job
        settings = job.tiers[Tier.WORKER]
        known = (*NATIVE_TOOLS, *(tool.name for tool in job.tools))
        files = code = ""
        if job.workspace is not None:
            name, origin = f"track {track.id}", self._office.origin(track=track.id)
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
            taken=self._office.taken(),
            tools=given(settings.tools, known),
            is_denied=job.questions.denies,
        )

    async def _rework(self, lead: Ref, card: TrackCard) -> tuple[Ticket, ...]:
        """Have the lead plan what is missing; nothing when it may or can not."""
        await self._office.step("rework", card.track.id)
        room = self._office.room(card.track.id)
        if not room:
            return ()

        request = PlanRework(
            track=card.track, remarks=card.reason, taken=self._office.taken(), room=room
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
            await self._office.step("planned", request.track.id)
            # Another track may have taken an id while this one was being planned; then
            # the lead is asked again, which is refused for an id that is not new.
            if self._board.tickets.keys().isdisjoint(t.id for t in plan.tickets):
                return plan.tickets

            request = replace(request, taken=self._office.taken())
