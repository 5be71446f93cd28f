"""Tier 2: turns its track into tickets and reviews what their workers made."""

from mma_agents.prompts import prompt
from mma_agents.tier import PlanningAgent
from mma_runtime.dag import plan_problems
from mma_runtime.errors import PlanRejected
from mma_runtime.kernel import handles
from mma_runtime.plan import TrackPlan
from mma_runtime.tiers import PlanTrack, ReviewTicket, Verdict


class TechLead(PlanningAgent):
    """Keeps the memory of one track: its plan and every review."""

    role = "tech_lead"

    @handles
    async def plan(self, request: PlanTrack) -> TrackPlan:
        """Cut the track into tickets; a plan that cannot be run goes back."""
        track = request.track
        question = prompt(
            "plan_track",
            id=track.id,
            title=track.title or track.id,
            goal=track.goal,
            acceptance="\n".join(f"- {item}" for item in track.acceptance) or "- goal",
            modules=", ".join(track.modules) or "anything",
            taken=", ".join(sorted(request.taken)) or "none",
            view=request.view,
        )

        def check(plan: TrackPlan) -> None:
            problems = plan_problems(
                (ticket.id, ticket.depends_on) for ticket in plan.tickets
            )
            problems += [
                f"ticket {ticket.id!r}: the id is taken by another track"
                for ticket in plan.tickets
                if ticket.id in request.taken
            ]
            if problems:
                raise PlanRejected(problems)

        return await self.answer(TrackPlan, question, self.origin("plan"), check)

    @handles
    async def review(self, request: ReviewTicket) -> Verdict:
        """Judge a ticket by its exact diff and whether its commands succeeded."""
        ticket = request.ticket
        question = prompt(
            "review_ticket",
            id=ticket.id,
            title=ticket.title or ticket.id,
            description=ticket.description,
            verdicts="\n".join(
                f"- `{verdict.command}`: {'passed' if verdict.passed else 'failed'}"
                for verdict in request.verdicts
            )
            or "none were asked for",
            diff=request.diff or "(no change)",
        )
        origin = self.origin("review", ticket=ticket.id, attempt=request.attempt)
        return await self.answer(Verdict, question, origin)
