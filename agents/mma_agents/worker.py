"""Tier 3: does one ticket with tools; born with it and gone with it."""

from mma_agents.prompts import prompt
from mma_agents.tier import TierAgent
from mma_runtime.errors import (
    ActorFailed,
    ActorStopped,
    AnswerUnusable,
    BudgetExhausted,
    CommandFailed,
    ProviderError,
    Refused,
)
from mma_runtime.kernel import handles
from mma_runtime.llm.chat import user
from mma_runtime.rounds import Bounded, run_rounds
from mma_runtime.tiers import DoTicket, GiveHint, ReworkTicket, TicketReport
from mma_runtime.tools.toolbox import RoundResults

HISTORY = 3
"""How many earlier attempts a fresh worker is told of."""


class Worker(TierAgent):
    """Knows its ticket and nothing of the epic, the track or other tickets."""

    role = "worker"

    @handles
    async def work(self, request: DoTicket) -> TicketReport:
        """Do the ticket; the report says how far it came."""
        ticket = request.ticket
        files = "".join(
            f"\n## {path}\n\n```\n{text}\n```\n" for path, text in request.files
        )
        history = "".join(
            f"\n## An earlier attempt failed\n\n{text}\n"
            for text in request.history[-HISTORY:]
        )
        self.conversation.turns.append(
            user(
                prompt(
                    "do_ticket",
                    id=ticket.id,
                    title=ticket.title or ticket.id,
                    description=ticket.description,
                    target_file=ticket.target_file or "your choice",
                    acceptance=", ".join(f"`{c}`" for c in ticket.acceptance)
                    or "no command was named",
                    files=files,
                    history=history,
                )
            )
        )
        return await self._go_on()

    @handles
    async def rework(self, request: ReworkTicket) -> TicketReport:
        """Go on with the same ticket, in the same checkout, after remarks on it."""
        self.conversation.turns.append(
            user(prompt("rework_ticket", remarks=request.remarks))
        )
        return await self._go_on()

    async def _go_on(self) -> TicketReport:
        equipment = self.equipment
        before = self.conversation.calls
        try:
            ended = await run_rounds(
                equipment.model,
                equipment.toolbox,
                self.conversation,
                origin=equipment.origin,
                emit=equipment.emit,
                max_rounds=equipment.max_rounds,
                sampling=equipment.sampling,
                after_round=self._hints if equipment.qa else None,
            )
        except (ProviderError, AnswerUnusable, BudgetExhausted) as error:
            rounds = self.conversation.calls - before
            return TicketReport(answer="", rounds=rounds, error=error)

        if isinstance(ended, Bounded):
            return TicketReport(
                answer=ended.partial,
                rounds=ended.rounds,
                bounded=True,
                reason=ended.reason,
                error=ended.exhausted,
            )

        return TicketReport(answer=ended.answer, rounds=ended.rounds)

    async def _hints(self, results: RoundResults) -> str:
        hints: list[str] = []
        for failure in results.failures:
            hint = await self._hint(failure)
            hints += [f"Hint on `{failure.command}`: {hint}"] if hint else []

        return "\n".join(hints)

    async def _hint(self, failure: CommandFailed) -> str:
        if self.equipment.qa is None:
            return ""

        try:
            return await self.equipment.qa.ask(
                GiveHint(
                    command=failure.command,
                    exit_code=failure.exit_code,
                    output=failure.output,
                )
            )
        except (Refused, ActorFailed, ActorStopped):
            # A hint is a help, not a need: the worker has the output itself, and the
            # event of the failed call tells why there was none.
            return ""
