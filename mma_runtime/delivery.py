"""One ticket on its way: checkout, worker, commands, review, merge, and once more."""

import shlex
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from mma_runtime.board import TicketCard
from mma_runtime.crew import UNUSABLE, Crew
from mma_runtime.errors import (
    MergeConflict,
    ProviderError,
    Refused,
    ToolFailed,
    WorkspaceError,
)
from mma_runtime.events import Origin, ReviewGiven, TicketReturned, TicketStarted
from mma_runtime.job import Job
from mma_runtime.kernel import Ref
from mma_runtime.outcome import TicketState
from mma_runtime.tiers import (
    CommandVerdict,
    DoTicket,
    GiveHint,
    ReviewTicket,
    ReworkTicket,
    Tier,
)
from mma_runtime.tools.command import CommandResult, run_command
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


class Delivery:
    """Takes one ticket through as many workers as the job allows."""

    def __init__(
        self, job: Job, crew: Crew, card: TicketCard, lead: Ref | None
    ) -> None:
        self._job = job
        self._crew = crew
        self._card = card
        self._lead = lead
        self._history: list[str] = []

    async def run(self) -> None:
        """Work until the ticket is completed, bounded or failed; the card tells.

        When it is cancelled, the worker and its tools end at once and the diff that
        there is by then is kept in the run's folder.
        """
        card = self._card
        card.state = TicketState.RUNNING
        for attempt in range(1, self._job.attempts + 1):
            card.attempts = attempt
            try:
                card.state = await self._attempt(attempt)
            except _Rejected as rejected:
                card.reason = rejected.reason
                self._history.append(rejected.reason)
                self._job.emit(
                    TicketReturned(
                        origin=self._origin(attempt),
                        by=rejected.by,
                        reason=rejected.reason,
                    )
                )
                if rejected.final:
                    break
            else:
                return

        card.state = TicketState.FAILED

    async def _attempt(self, attempt: int) -> TicketState:
        job, ticket = self._job, self._card.ticket
        async with AsyncExitStack() as stack:
            checkout = None
            if job.workspace is not None:
                checkout = await job.workspace.checkout(f"{ticket.id}-{attempt}")
                stack.push_async_callback(self._discard, checkout, attempt)

            toolbox = self._toolbox(checkout)
            qa = None
            if Tier.QA in job.tiers and checkout is not None:
                qa = await self._hire(Tier.QA, attempt)
                stack.callback(self._crew.release, qa)

            worker = await self._hire(Tier.WORKER, attempt, toolbox, qa)
            stack.callback(self._crew.release, worker)
            settings = job.tiers[Tier.WORKER]
            job.emit(
                TicketStarted(
                    origin=self._origin(attempt),
                    model=ticket.model or settings.address,
                    max_tool_rounds=settings.max_rounds,
                )
            )
            return await self._work(worker, qa, checkout, attempt)

    async def _work(
        self, worker: Ref, qa: Ref | None, checkout: Checkout | None, attempt: int
    ) -> TicketState:
        card, ticket = self._card, self._card.ticket
        request: DoTicket | ReworkTicket = DoTicket(
            ticket=ticket,
            files=await self._files(checkout),
            history=tuple(self._history),
        )
        for returns in range(MAX_RETURNS + 1):
            try:
                report = await worker.ask(request)
            except UNUSABLE as error:
                raise self._unusable("worker", error) from error

            card.rounds += report.rounds
            if report.error is not None:
                raise self._unusable("worker", report.error)

            card.answer = report.answer
            card.reason = report.reason
            if report.bounded:
                return TicketState.BOUNDED

            by, remarks = await self._judge(qa, checkout, attempt)
            if not remarks:
                break

            if returns == MAX_RETURNS:
                raise _Rejected(by, remarks)

            self._job.emit(
                TicketReturned(origin=self._origin(attempt), by=by, reason=remarks)
            )
            request = ReworkTicket(remarks=remarks)

        await self._merge(checkout)
        return TicketState.COMPLETED

    async def _judge(
        self, qa: Ref | None, checkout: Checkout | None, attempt: int
    ) -> tuple[str, str]:
        """Return who is not content and with what; no remarks are an acceptance."""
        ticket = self._card.ticket
        verdicts: list[CommandVerdict] = []
        for command in ticket.acceptance:
            if checkout is None:
                break

            result = await run_command(
                shlex.split(command), checkout.root, home=checkout.home
            )
            if not result.succeeded:
                return "commands", await self._explain(qa, command, result)

            verdicts.append(CommandVerdict(command=command, passed=True))

        if self._lead is None:
            return "", ""

        diff = await checkout.diff() if checkout else None
        try:
            verdict = await self._lead.ask(
                ReviewTicket(
                    ticket=ticket,
                    attempt=attempt,
                    diff=diff.text if diff else "",
                    verdicts=tuple(verdicts),
                )
            )
        except UNUSABLE as error:
            raise self._unusable("review", error) from error

        self._job.emit(
            ReviewGiven(
                origin=self._origin(attempt),
                accepted=verdict.accepted,
                remarks=verdict.remarks,
            )
        )
        if verdict.accepted:
            return "", ""

        return "review", verdict.remarks or "not accepted, without a reason"

    def _unusable(self, by: str, error: BaseException) -> _Rejected:
        cause = error.__cause__ if isinstance(error, Refused) else error
        self._card.provider_failed = isinstance(cause, ProviderError)
        # Another worker would meet the same wall; what a provider calls retryable has
        # been retried, but may have passed by the next attempt.
        final = isinstance(cause, ProviderError) and not cause.retryable
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

    async def _merge(self, checkout: Checkout | None) -> None:
        if checkout is None or self._job.workspace is None:
            return

        diff = await checkout.diff()
        try:
            await self._job.workspace.merge(diff)
        except MergeConflict as conflict:
            raise _Rejected("merge", str(conflict)) from conflict

        self._card.files = diff.files

    async def _discard(self, checkout: Checkout, attempt: int) -> None:
        """Remove the checkout; what was not merged is kept as a patch first."""
        with anyio.CancelScope(shield=True):
            if not self._card.files and self._job.folder is not None:
                diff = await checkout.diff()
                if diff:
                    name = f"{self._card.ticket.id}-{attempt}.patch"
                    await self._keep(self._job.folder / "unmerged" / name, diff.patch)

            await checkout.discard()

    async def _files(self, checkout: Checkout | None) -> tuple[tuple[str, str], ...]:
        """Read the ticket's target and context files, as far as they exist."""
        if checkout is None:
            return ()

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
        attempt: int,
        toolbox: Toolbox = NO_TOOLS,
        qa: Ref | None = None,
    ) -> Ref:
        card = self._card
        return await self._crew.hire(
            tier,
            track=card.track,
            ticket=card.ticket.id,
            attempt=attempt,
            task="ticket",
            address=card.ticket.model if tier is Tier.WORKER else None,
            toolbox=toolbox,
            qa=qa,
        )

    def _origin(self, attempt: int) -> Origin:
        return Origin(
            run=self._job.run,
            tier=Tier.WORKER.value,
            track=self._card.track,
            ticket=self._card.ticket.id,
            attempt=attempt,
            task="ticket",
        )


def _end_of(output: str) -> str:
    if len(output) <= OUTPUT_CHARACTERS:
        return output

    missing = len(output) - OUTPUT_CHARACTERS
    return f"[… {missing:,} characters left out …]\n{output[-OUTPUT_CHARACTERS:]}"
