"""Tier 2: turns its track into tickets and reviews what their workers made."""

from collections.abc import Callable

from mma_agents.prompts import fenced, section
from mma_agents.tier import PlanningAgent
from mma_runtime.errors import PlanRejected
from mma_runtime.kernel import handles
from mma_runtime.llm.chat import Image
from mma_runtime.plan import Ticket, Track, TrackPlan
from mma_runtime.plan.checks import ticket_problems
from mma_runtime.tiers import (
    Equipment,
    PlanRework,
    PlanTrack,
    Review,
    ReviewTicket,
    Tier,
)


class TechLead(PlanningAgent):
    """Keeps the memory of one track: its plan and every review."""

    tier = Tier.TECH_LEAD

    def __init__(self, equipment: Equipment) -> None:
        super().__init__(equipment)
        self._track: Track | None = None
        self._own: set[str] = set()
        self._tools: tuple[str, ...] | None = None
        self._is_denied: Callable[[str], bool] | None = None

    @handles
    async def plan(self, request: PlanTrack) -> TrackPlan:
        """Cut the track into tickets; a plan that cannot be run goes back."""
        self.check_images(request.images)
        track = self._track = request.track
        self._tools = request.tools
        self._is_denied = request.is_denied
        brief = self.prompt(
            "brief_track",
            docs=section("Documents", request.docs),
            map=section("Files of the project", request.directory_map),
            view=section("Code", request.view),
            id=track.id,
            title=track.title or track.id,
            goal=track.goal,
            severity=track.severity.value,
            acceptance="\n".join(f"- {item}" for item in track.acceptance) or "- goal",
            modules=", ".join(track.modules) or "anything",
        )
        question = self.prompt(
            "plan_tickets",
            taken=", ".join(sorted(request.taken)) or "none",
            tools=", ".join(request.tools) or "none",
        )
        return await self._plan(
            f"{brief}\n\n{question}", request.taken, None, request.images
        )

    @handles
    async def rework(self, request: PlanRework) -> TrackPlan:
        """Plan what is missing for the track to be accepted."""
        self._track = request.track
        question = self.prompt(
            "rework_track",
            remarks=request.remarks,
            taken=", ".join(sorted(request.taken)) or "none",
            room=str(request.room),
        )
        return await self._plan(question, request.taken, request.room)

    @handles
    async def review(self, request: ReviewTicket) -> Review:
        """Judge a ticket by its exact diff and whether its commands succeeded."""
        ticket = request.ticket
        more = (
            self.prompt("add_tickets", room=str(request.room)) + "\n\n"
            if request.room
            else ""
        )
        question = self.prompt(
            "review_ticket",
            id=ticket.id,
            title=ticket.title or ticket.id,
            description=ticket.description,
            verdicts="\n".join(
                f"- `{verdict.command}`: {'passed' if verdict.passed else 'failed'}"
                for verdict in request.verdicts
            )
            or "none were asked for",
            diff=fenced(request.diff, "diff") if request.diff else "(no change)",
            more=more,
        )

        def check(review: Review) -> None:
            self._check(review.tickets, request.taken, request.room)

        origin = self.origin("review", ticket=ticket.id, attempt=request.attempt)
        review = await self.answer(Review, question, origin, check)
        self._own |= {one.id for one in review.tickets}
        return review

    async def _plan(
        self,
        question: str,
        taken: frozenset[str],
        room: int | None,
        images: tuple[Image, ...] = (),
    ) -> TrackPlan:
        def check(plan: TrackPlan) -> None:
            self._check(plan.tickets, taken, room)

        origin = self.origin("plan")
        plan = await self.answer(TrackPlan, question, origin, check, images)
        self._own |= {ticket.id for ticket in plan.tickets}
        return plan

    def _check(
        self, tickets: tuple[Ticket, ...], taken: frozenset[str], room: int | None
    ) -> None:
        if not tickets:
            return

        track = self._track
        if track is None:
            raise PlanRejected(["there is no track that tickets could be added to"])

        problems = ticket_problems(
            tickets,
            track=track,
            own=self._own,
            taken=taken,
            room=room,
            tools=self._tools,
            is_denied=self._is_denied,
        )
        if problems:
            raise PlanRejected(problems)
