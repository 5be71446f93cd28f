"""One ticket on its way: checkout, worker, commands, review, merge, and once more."""

from functools import partial
from pathlib import Path
from typing import Protocol

import anyio
from anyio import to_thread

from mma_runtime.board import TicketCard
from mma_runtime.crew import UNUSABLE, Crew
from mma_runtime.errors import (
    BudgetExhausted,
    MergeConflict,
    ProviderError,
    Refused,
    ToolFailed,
    WorkspaceError,
)
from mma_runtime.events import Origin, ReviewGiven, TicketReturned, TicketStarted
from mma_runtime.job import Job
from mma_runtime.journal.footprint import Footprint
from mma_runtime.journal.toolbox import RecordedToolbox, recorded_command
from mma_runtime.kernel import Ref
from mma_runtime.outcome import TicketState
from mma_runtime.plan import Ticket
from mma_runtime.tiers import (
    CommandVerdict,
    DoTicket,
    GiveHint,
    ReviewTicket,
    ReworkTicket,
    TicketReport,
    Tier,
)
from mma_runtime.tools.command import CommandResult
from mma_runtime.tools.native import native_tools
from mma_runtime.tools.toolbox import NO_TOOLS, Toolbox
from mma_runtime.workspace import Checkout

MAX_RETURNS = 2
"""How often a worker gets its ticket back before its attempt counts as failed."""

CONTEXT_BYTES = 40_000
"""The largest file that a worker is shown before it asks."""

OUTPUT_CHARACTERS = 4_000
"""How much of a failed command's output goes back with the ticket; its end."""


class _Rejected(Exception):
    """An attempt came to nothing; *by* is who said so, *final* that no other helps."""

    def __init__(self, by: str, reason: str, *, final: bool = False) -> None:
        self.by = by
        self.reason = reason
        self.final = final
        super().__init__(reason)


class Desk(Protocol):
    """Where deliveries report to: the supervisor."""

    def ended(self, card: TicketCard) -> None:
        """Take note that the ticket's delivery is over."""
        ...

    def room(self, track: str) -> int:
        """Return how many tickets Tier 2 may still add to *track*."""
        ...

    def taken(self) -> frozenset[str]:
        """Return the ids of all tickets of the run."""
        ...

    def add(self, tickets: tuple[Ticket, ...], track: str) -> None:
        """Have further tickets of *track* done; they have been checked."""
        ...


class Delivery:
    """Takes one ticket through as many workers as the job allows."""

    # Thousands may be under way at once, each suspended in its coroutines: what is kept
    # alive per ticket is what the garbage collector goes through again and again.
    __slots__ = (
        "_added",
        "_card",
        "_crew",
        "_desk",
        "_history",
        "_job",
        "_lead",
        "_spent",
    )

    def __init__(
        self, job: Job, crew: Crew, desk: Desk, card: TicketCard, lead: Ref | None
    ) -> None:
        self._job = job
        self._desk = desk
        self._added: tuple[Ticket, ...] = ()
        self._crew = crew
        self._card = card
        self._lead = lead
        self._history: tuple[str, ...] = ()
        self._spent = False

    async def run(self) -> None:
        """Work until the ticket is completed, or cannot be, and report.

        When it is cancelled, the worker and its tools end at once and the diff that
        there is by then is kept in the run's folder.
        """
        try:
            await self._try_all()
        finally:
            self._desk.ended(self._card)

    async def _try_all(self) -> None:
        card = self._card
        exhausted = self._job.board.exhausted
        if exhausted is not None and exhausted.level == "run":
            card.state, card.reason = TicketState.OVER_BUDGET, str(exhausted)
            return

        attempt = self._work if self._job.workspace is None else self._work_in_checkout
        tried = card.attempts
        for number in range(tried + 1, tried + self._job.attempts + 1):
            card.attempts = number
            try:
                card.state = await attempt()
            except _Rejected as rejected:
                self._note(rejected)
                if rejected.final:
                    break
            else:
                return

        card.state = TicketState.OVER_BUDGET if self._spent else TicketState.FAILED

    def _note(self, rejected: _Rejected) -> None:
        self._card.reason = rejected.reason
        self._history = (*self._history, rejected.reason)
        self._job.emit(
            TicketReturned(
                origin=self._origin(), by=rejected.by, reason=rejected.reason
            )
        )

    async def _work_in_checkout(self) -> TicketState:
        workspace, card = self._job.workspace, self._card
        assert workspace is not None  # noqa: S101 - asked by the caller
        place = f"checkout {card.ticket.id}/{card.attempts}"
        async with self._job.journal.ordered(place, self._origin()):
            checkout = await workspace.checkout(f"{card.ticket.id}-{card.attempts}")

        qa = None
        try:
            if Tier.QA in self._job.tiers:
                qa = await self._hire(Tier.QA)

            return await self._work(checkout, qa)
        finally:
            if qa is not None:
                self._crew.release(qa)

            await self._discard(checkout)

    async def _work(
        self, checkout: Checkout | None = None, qa: Ref | None = None
    ) -> TicketState:
        """Let one worker work and rework until its work is merged or rejected."""
        job, card = self._job, self._card
        toolbox = self._toolbox(checkout)
        footprint: Footprint | None = None
        if job.journal.is_on:
            footprint = Footprint(checkout) if checkout is not None else None
            toolbox = RecordedToolbox(toolbox, job.journal, footprint)

        worker = await self._hire(Tier.WORKER, toolbox, qa)
        try:
            settings = job.tiers[Tier.WORKER]
            job.emit(
                TicketStarted(
                    origin=self._origin(),
                    model=card.ticket.model or settings.address,
                    max_tool_rounds=settings.max_rounds,
                )
            )
            request: DoTicket | ReworkTicket = DoTicket(
                ticket=card.ticket,
                files=await self._files(checkout) if checkout else (),
                history=self._history,
            )
            for returns in range(MAX_RETURNS + 1):
                try:
                    report = await worker.ask(request)
                except UNUSABLE as error:
                    raise self._unusable("worker", error) from error

                self._take(report)
                if report.bounded:
                    return TicketState.BOUNDED

                by, remarks = await self._judge(checkout, qa, footprint, returns)
                if not remarks:
                    break

                if returns == MAX_RETURNS:
                    raise _Rejected(by, remarks)

                job.emit(TicketReturned(origin=self._origin(), by=by, reason=remarks))
                request = ReworkTicket(remarks=remarks)

            if checkout is not None:
                await self._merge(checkout)

            if self._added:
                self._desk.add(self._added, card.track)

            return TicketState.COMPLETED
        finally:
            self._crew.release(worker)

    def _take(self, report: TicketReport) -> None:
        card = self._card
        card.rounds += report.rounds
        card.answer = report.answer
        if report.error is not None:
            raise self._unusable("worker", report.error)

        card.reason = report.reason

    async def _judge(
        self,
        checkout: Checkout | None,
        qa: Ref | None,
        footprint: Footprint | None,
        returns: int,
    ) -> tuple[str, str]:
        """Return who is not content and with what; no remarks are an acceptance."""
        ticket, journal = self._card.ticket, self._job.journal
        name = f"{ticket.id}/{self._card.attempts}.{returns + 1}"
        verdicts: list[CommandVerdict] = []
        for number, command in enumerate(ticket.acceptance, 1):
            if checkout is None:
                break

            result = await recorded_command(
                journal,
                footprint,
                command,
                checkout,
                name=f"{name}.{number}",
                origin=self._origin(),
            )
            if not result.succeeded:
                return "commands", await self._explain(qa, command, result)

            verdicts.append(CommandVerdict(command=command, passed=True))

        if self._lead is None:
            return "", ""

        diff = await checkout.diff() if checkout else None
        await journal.step(f"review {name}", self._origin())
        room = self._desk.room(self._card.track)
        try:
            verdict = await self._lead.ask(
                ReviewTicket(
                    ticket=ticket,
                    attempt=self._card.attempts,
                    diff=diff.text if diff else "",
                    verdicts=tuple(verdicts),
                    taken=self._desk.taken() if room else frozenset(),
                    room=room,
                )
            )
        except UNUSABLE as error:
            raise self._unusable("review", error) from error

        self._job.emit(
            ReviewGiven(
                origin=self._origin(),
                accepted=verdict.accepted,
                remarks=verdict.remarks,
            )
        )
        if verdict.accepted:
            self._added = verdict.tickets
            return "", ""

        return "review", verdict.remarks or "not accepted, without a reason"

    def _unusable(self, by: str, error: BaseException) -> _Rejected:
        cause = error.__cause__ if isinstance(error, Refused) else error
        self._card.provider_failed = isinstance(cause, ProviderError)
        if isinstance(cause, BudgetExhausted):
            self._spent = True
            self._job.board.overspend(cause)

        # Another worker would meet the same wall; what a provider calls retryable has
        # been retried, but may have passed by the next attempt.
        final = self._spent or (
            isinstance(cause, ProviderError) and not cause.retryable
        )
        return _Rejected(by, str(error), final=final)

    async def _explain(
        self, qa: Ref | None, command: str, result: CommandResult
    ) -> str:
        """Tell the worker of a failed command, with a hint if there is Tier 4."""
        ended = "out of time" if result.timed_out else f"exit code {result.exit_code}"
        lines = [f"`{command}` failed: {ended}"]
        if qa is not None:
            try:
                hint = await qa.ask(
                    GiveHint(
                        command=command,
                        exit_code=result.exit_code,
                        output=result.output,
                    )
                )
            except UNUSABLE:
                # A hint is a help, not a need; the output itself follows.
                hint = ""

            lines += [f"Hint: {hint}"] if hint else []

        lines += ["Output:", _end_of(result.output)]
        return "\n".join(lines)

    async def _merge(self, checkout: Checkout) -> None:
        workspace = self._job.workspace
        assert workspace is not None  # noqa: S101 - the checkout is one of its own
        diff = await checkout.diff()
        place = f"merge {self._card.ticket.id}/{self._card.attempts}"
        accepted = self._job.journal.ordered(
            place, self._origin(), lambda: {"patch": diff.patch}
        )
        try:
            async with accepted:
                await workspace.merge(diff)
        except MergeConflict as conflict:
            raise _Rejected("merge", str(conflict)) from conflict

        self._card.files = diff.files

    async def _discard(self, checkout: Checkout) -> None:
        """Remove the checkout; what was not merged is kept as a patch first."""
        with anyio.CancelScope(shield=True):
            if not self._card.files and self._job.folder is not None:
                diff = await checkout.diff()
                if diff:
                    name = f"{checkout.name}.patch"
                    await self._keep(self._job.folder / "unmerged" / name, diff.patch)

            await checkout.discard()

    async def _files(self, checkout: Checkout) -> tuple[tuple[str, str], ...]:
        """Read the ticket's target and context files, as far as they exist."""
        ticket = self._card.ticket
        target = (ticket.target_file,) if ticket.target_file else ()
        found: list[tuple[str, str]] = []
        for name in dict.fromkeys((*target, *ticket.context)):
            try:
                content = await to_thread.run_sync(
                    partial(checkout.read_bytes, name, limit=CONTEXT_BYTES)
                )
                found.append((name, content.decode()))
            except (WorkspaceError, ToolFailed) as error:
                found.append((name, f"(not shown: {error})"))
            except UnicodeDecodeError:
                found.append((name, "(not shown: it is not UTF-8 text)"))

        return tuple(found)

    def _toolbox(self, checkout: Checkout | None) -> Toolbox:
        native = native_tools(checkout) if checkout is not None else ()
        tools = (*native, *self._job.tools)
        if not tools:
            return NO_TOOLS

        allowed = self._card.ticket.tools
        if allowed is None:
            allowed = self._job.tiers[Tier.WORKER].tools

        if allowed is not None:
            tools = tuple(tool for tool in tools if tool.name in allowed)

        keep = checkout.keep_output if checkout is not None else None
        return Toolbox(tools, keep=keep)

    async def _keep(self, path: Path, content: bytes) -> None:
        place = anyio.Path(path)
        await place.parent.mkdir(parents=True, exist_ok=True)
        await place.write_bytes(content)

    async def _hire(
        self,
        tier: Tier,
        toolbox: Toolbox = NO_TOOLS,
        qa: Ref | None = None,
    ) -> Ref:
        card = self._card
        return await self._crew.hire(
            tier,
            track=card.track,
            ticket=card.ticket.id,
            attempt=card.attempts,
            task="ticket",
            address=card.ticket.model if tier is Tier.WORKER else None,
            toolbox=toolbox,
            qa=qa,
        )

    def _origin(self) -> Origin:
        return Origin(
            run=self._job.run,
            tier=Tier.WORKER.value,
            track=self._card.track,
            ticket=self._card.ticket.id,
            attempt=self._card.attempts,
            task="ticket",
        )


def _end_of(output: str) -> str:
    if len(output) <= OUTPUT_CHARACTERS:
        return output

    missing = len(output) - OUTPUT_CHARACTERS
    return f"[… {missing:,} characters left out …]\n{output[-OUTPUT_CHARACTERS:]}"
