"""Tier 1: turns an epic into tracks, and accepts or rejects what became of them."""

from mma_agents.prompts import prompt
from mma_agents.tier import PlanningAgent
from mma_runtime.dag import plan_problems
from mma_runtime.errors import PlanRejected
from mma_runtime.kernel import handles
from mma_runtime.plan import EpicPlan
from mma_runtime.tiers import AcceptTrack, PlanEpic, Verdict


class Orchestrator(PlanningAgent):
    """Sees the request, the map of files and summaries; no source and no logs."""

    role = "orchestrator"

    @handles
    async def plan(self, request: PlanEpic) -> EpicPlan:
        """Cut an epic into tracks; refuse when the model gives no usable plan."""
        question = prompt(
            "plan_epic", epic=request.epic, directory_map=request.directory_map
        )
        return await self.answer(EpicPlan, question, self.origin("plan"), _check)

    @handles
    async def accept(self, request: AcceptTrack) -> Verdict:
        """Judge a track by what its tickets came to."""
        track = request.track
        question = prompt(
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
