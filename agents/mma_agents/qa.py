"""Tier 4: turns one failure into a hint or a patch; keeps nothing."""

from mma_agents.prompts import fenced
from mma_agents.tier import OneShotAgent, parse, refusals
from mma_runtime.errors import AnswerUnusable, PlanRejected, Refused
from mma_runtime.events import HintGiven, Origin
from mma_runtime.kernel import handles
from mma_runtime.llm.tokens import CHARACTERS_PER_TOKEN, estimate_tokens
from mma_runtime.tiers import FixLint, GiveHint, GiveTestHint, LintPatch, Tier

HINT_TOKENS = 50
"""The longest hint, in tokens; a longer one is cut at a word."""


class QA(OneShotAgent):
    """One shot and stateless: no answer knows of another."""

    tier = Tier.QA

    @handles
    async def hint(self, request: GiveHint) -> str:
        """Say in at most `HINT_TOKENS` tokens what to change; refuse without a hint."""
        exit_code = request.exit_code
        question = self.prompt(
            "give_hint",
            command=request.command,
            exit_code="none, out of time" if exit_code is None else str(exit_code),
            error=fenced(request.error),
            place=fenced(request.place) if request.place else "",
        )
        return await self._hint(question, request.raw_characters)

    @handles
    async def hint_test(self, request: GiveTestHint) -> str:
        """Say what to change for a test to pass, from the test and what it tests."""
        question = self.prompt(
            "hint_test",
            command=request.command,
            error=fenced(request.error),
            test=fenced(request.test),
            function=fenced(request.function),
        )
        return await self._hint(question, request.raw_characters)

    @handles
    async def fix_lint(self, request: FixLint) -> LintPatch:
        """Give the edits that content a linter; refuse without a usable answer."""
        question = self.prompt(
            "fix_lint",
            command=request.command,
            output=fenced(request.output),
            files="\n\n".join(
                f"### {path}\n\n{fenced(text)}" for path, text in request.files
            ),
        )
        with refusals():
            said = await self.once(question, self.origin("lint"), LintPatch)

        try:
            return parse(LintPatch, said.turn.text, said.finish)
        except PlanRejected as error:
            raise Refused(str(error)) from error

    async def _hint(self, question: str, raw_characters: int) -> str:
        origin: Origin = self.origin("hint")
        with refusals():
            completion = await self.once(question, origin)
            hint = shorten(completion.turn.text.strip())
            if not hint:
                raise AnswerUnusable(origin.tier, 1, "an empty reply")

        self.equipment.emit(
            HintGiven(
                origin=origin,
                hint=hint,
                tokens=estimate_tokens(hint),
                raw_characters=raw_characters,
            )
        )
        return hint


def shorten(hint: str) -> str:
    """Cut *hint* at the last word that keeps it within `HINT_TOKENS` tokens."""
    if estimate_tokens(hint) <= HINT_TOKENS:
        return hint

    room = HINT_TOKENS * CHARACTERS_PER_TOKEN - 1
    return hint[:room].rsplit(None, 1)[0] + "…"
