"""Tier 4: turns a failed command's output into a hint; keeps nothing."""

from mma_agents.prompts import prompt
from mma_agents.tier import TierAgent, refusals
from mma_runtime.errors import AnswerUnusable
from mma_runtime.events import HintGiven
from mma_runtime.kernel import handles
from mma_runtime.llm.chat import ChatRequest, user
from mma_runtime.llm.tokens import CHARACTERS_PER_TOKEN, estimate_tokens
from mma_runtime.tiers import Equipment, GiveHint

HINT_TOKENS = 50
"""The longest hint, in tokens; a longer one is cut at a word."""

EXCERPT = 6_000
"""How much of an output is read, in characters; its end says most."""


class QA(TierAgent):
    """One shot and stateless: no hint knows of another."""

    role = "qa"

    def __init__(self, equipment: Equipment) -> None:
        super().__init__(equipment)
        self._calls = 0

    @handles
    async def hint(self, request: GiveHint) -> str:
        """Say in at most `HINT_TOKENS` tokens what to change; refuse without a hint."""
        equipment = self.equipment
        origin = self.origin("hint")
        self._calls += 1
        question = prompt(
            "hint",
            command=request.command,
            exit_code="none, out of time"
            if request.exit_code is None
            else str(request.exit_code),
            output=_excerpt(request.output),
        )
        with refusals():
            completion = await equipment.model.complete(
                ChatRequest(
                    model=equipment.model.name,
                    system=self.conversation.system,
                    turns=(user(question),),
                    temperature=equipment.sampling.temperature,
                    max_output_tokens=equipment.sampling.max_output_tokens,
                    reasoning_effort=equipment.sampling.reasoning_effort,
                    origin=origin,
                    turn=self._calls,
                )
            )
            hint = shorten(completion.turn.text.strip())
            if not hint:
                raise AnswerUnusable(origin.tier, 1, "an empty reply")

        equipment.emit(
            HintGiven(
                origin=origin,
                hint=hint,
                tokens=estimate_tokens(hint),
                raw_characters=len(request.output),
            )
        )
        return hint


def shorten(hint: str) -> str:
    """Cut *hint* at the last word that keeps it within `HINT_TOKENS` tokens."""
    if estimate_tokens(hint) <= HINT_TOKENS:
        return hint

    room = HINT_TOKENS * CHARACTERS_PER_TOKEN - 1
    return hint[:room].rsplit(None, 1)[0] + "…"


def _excerpt(output: str) -> str:
    if len(output) <= EXCERPT:
        return output

    return f"[… {len(output) - EXCERPT} characters left out …]\n{output[-EXCERPT:]}"
