"""Tier 1: turns an epic into tracks, and accepts or rejects what became of them."""

from mma_agents.prompts import section
from mma_agents.tier import PlanningAgent
from mma_runtime.errors import PlanRejected
from mma_runtime.kernel import handles
from mma_runtime.plan import EpicPlan
from mma_runtime.plan.dag import plan_problems
from mma_runtime.tiers import AcceptTrack, PlanEpic, Tier, Verdict


class Orchestrator(PlanningAgent):
    """Sees the request, documents, names of files, summaries; no source, no logs."""

    tier = Tier.ORCHESTRATOR

    @handles
    async def plan(self, request: PlanEpic) -> EpicPlan:
        """Cut an epic into tracks; refuse when the model gives no usable plan."""
        self.check_images(request.images)
        question = self.prompt(
            "plan_epic",
            docs=section("Documents", request.docs),
            map=section("Files of the project", request.directory_map),
            epic=request.epic,
        )
        return await self.answer(
            EpicPlan, question, self.origin("plan"), _check, request.images
        )

    @handles
    async def accept(self, request: AcceptTrack) -> Verdict:
        """Judge a track by what its tickets came to."""
        track = request.track
        question = self.prompt(
            "accept_track",
            id=track.id,
            title=track.title or track.id,
            goal=track.goal,
            acceptance="\n".join(f"- {item}" for item in track.acceptance) or "- goal",
            summary="\n".join(f"- {line}" for line in request.summary),
        )
        origin = self.origin("accept", track=track.id)
        return await self.answer(Verdict, question, origin)


def _check(plan: EpicPlan) -> None:
    problems = plan_problems((track.id, ()) for track in plan.tracks)
    if problems:
        raise PlanRejected(problems)
