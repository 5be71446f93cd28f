"""Tier 3: does one ticket with tools; born with it and gone with it."""

from collections.abc import Sequence
from dataclasses import replace

from mma_agents.prompts import fenced, section
from mma_agents.tier import TRIES, TierAgent
from mma_runtime.errors import (
    AnswerUnusable,
    BudgetExhausted,
    NoRoom,
    NotRepeated,
    PlanRejected,
    ProviderError,
)
from mma_runtime.events import AnswerRejected, FilesRefreshed, WorkerStuck
from mma_runtime.kernel import handles
from mma_runtime.llm.chat import ToolCall
from mma_runtime.plan import Ticket
from mma_runtime.rounds import Aside, Bounded, Stuck, run_rounds
from mma_runtime.rounds.circles import Circles
from mma_runtime.rounds.known_files import FileNews
from mma_runtime.tiers import (
    DoTicket,
    Equipment,
    ReworkTicket,
    ShownFile,
    TicketReport,
    Tier,
)
from mma_runtime.tools.toolbox import RoundResults

ATTEMPTS = 3
"""How many earlier attempts a fresh worker is told of."""

# What may change a file is a change; of these that is only known by looking.
_UNCERTAIN = {"run_command", "write_file"}


class Worker(TierAgent):
    """Knows its ticket and nothing of the epic, the track or other tickets."""

    tier = Tier.WORKER

    def __init__(self, equipment: Equipment) -> None:
        super().__init__(equipment)
        self._circles: Circles | None = None
        self._warned = False

    @handles
    async def work(self, request: DoTicket) -> TicketReport:
        """Do the ticket; the report says how far it came."""
        self.check_images(request.images)
        ticket = request.ticket
        text = self.prompt(
            "do_ticket",
            files="".join(map(_shown, request.files)),
            id=ticket.id,
            title=ticket.title or ticket.id,
            description=ticket.description,
            target_file=ticket.target_file or "your choice",
            acceptance=_acceptance(ticket),
            attempts="".join(
                section("An earlier attempt failed", attempt)
                for attempt in request.attempts[-ATTEMPTS:]
            ),
        )
        self.conversation.say(text, request.images)
        return await self._go_on()

    @handles
    async def rework(self, request: ReworkTicket) -> TicketReport:
        """Go on with the same ticket, in the same checkout, after remarks on it."""
        self.conversation.refresh("")
        self.conversation.say(self.prompt("return_ticket", remarks=request.remarks))
        return await self._go_on()

    async def _go_on(self) -> TicketReport:
        """Work until the answer is one that may be given, or there is none."""
        rounds, tries, problem = 0, 0, ""
        while tries < TRIES and rounds < self.equipment.max_rounds:
            report = await self._go_rounds(self.equipment.max_rounds - rounds)
            rounds += report.rounds
            tries += 1
            problem = self._problem(report)
            if not problem:
                return replace(report, rounds=rounds)

            self.equipment.emit(
                AnswerRejected(
                    origin=self.equipment.origin, problem=problem, tries=tries
                )
            )
            self.conversation.say(f"That cannot be used: {problem}\n\nAnswer again.")

        error = AnswerUnusable(self.tier, tries, problem)
        return TicketReport(answer="", rounds=rounds, error=error)

    def _problem(self, report: TicketReport) -> str:
        """Return what is wrong with a worker's own closing answer, or nothing."""
        check = self.equipment.check
        if check is None or report.error or report.bounded or report.stuck:
            return ""

        try:
            check(report.answer)
        except PlanRejected as error:
            return str(error)

        return ""

    async def _go_rounds(self, max_rounds: int) -> TicketReport:
        equipment = self.equipment
        before = self.conversation.calls
        try:
            with self.observed(equipment.origin):
                ended = await run_rounds(
                    equipment.model,
                    equipment.toolbox,
                    self.conversation,
                    origin=equipment.origin,
                    emit=equipment.emit,
                    max_rounds=max_rounds,
                    sampling=equipment.sampling,
                    after_round=self._after_round,
                    conclude=self.prompt("conclude"),
                    context_tokens=equipment.context_tokens,
                )
        except (
            ProviderError,
            AnswerUnusable,
            BudgetExhausted,
            NotRepeated,
            NoRoom,
        ) as error:
            rounds = self.conversation.calls - before
            return TicketReport(answer="", rounds=rounds, error=error)

        match ended:
            case Stuck():
                return TicketReport(
                    answer=ended.partial,
                    rounds=ended.rounds,
                    stuck=True,
                    reason=ended.reason,
                )
            case Bounded():
                return TicketReport(
                    answer=ended.partial,
                    rounds=ended.rounds,
                    bounded=True,
                    reason=ended.reason,
                    error=ended.exhausted,
                )
            case _:
                return TicketReport(answer=ended.answer, rounds=ended.rounds)

    async def _after_round(
        self, calls: Sequence[ToolCall], results: RoundResults
    ) -> Aside:
        news = await self._news(calls, results)
        changed = news.changed or self._has_written(calls, results)
        if self._circles is None:
            self._circles = Circles()

        reason = self._circles.after_round(calls, results.results, changed=changed)
        if reason:
            event = WorkerStuck(
                origin=self.equipment.origin, reason=reason, told=not self._warned
            )
            self.equipment.emit(event)
            if self._warned:
                return Aside(stuck=reason)

        said = await self._hints(results)
        if reason:
            self._warned = True
            said.append(self.prompt("stuck", reason=reason))

        diff = news.diff
        refresh = self.prompt("refresh", diff=fenced(diff, "diff")) if diff else ""
        return Aside(text="\n\n".join(said), refresh=refresh)

    async def _news(self, calls: Sequence[ToolCall], results: RoundResults) -> FileNews:
        known = self.equipment.known
        if known is None:
            return FileNews()

        news = await known.after_round(calls, results.results)
        if news.diff:
            size = len(news.diff)
            self.equipment.emit(
                FilesRefreshed(origin=self.equipment.origin, characters=size)
            )

        return news

    def _has_written(self, calls: Sequence[ToolCall], results: RoundResults) -> bool:
        done = [
            call
            for call, result in zip(calls, results.results, strict=True)
            if not result.is_error and call.name not in _UNCERTAIN
        ]
        return not self.equipment.toolbox.is_read_only(done)

    async def _hints(self, results: RoundResults) -> list[str]:
        ask = self.equipment.hint
        if ask is None:
            return []

        hints = [(failure, await ask(failure)) for failure in results.failures]
        return [
            f"Hint on `{failure.command}`: {hint}" for failure, hint in hints if hint
        ]


def _acceptance(ticket: Ticket) -> str:
    told = [
        f"`{command}`"
        + (" (is run once, when you are done; not by you)" * (command in ticket.once))
        for command in ticket.commands
    ]
    return ", ".join(told) or "no command was named"


def _shown(file: ShownFile) -> str:
    return section(f"{file.path} ({file.view})", fenced(file.text))
