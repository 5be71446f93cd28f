"""One ticket on its way: checkout, worker, judgement, merge, and once more."""

from dataclasses import replace
from functools import partial

import anyio
from anyio import to_thread

from mma_runtime.errors import (
    BudgetExhausted,
    ConfigurationError,
    MergeConflict,
    NoRoom,
    NotRepeated,
    ProviderError,
    Refused,
)
from mma_runtime.events import (
    MergeConflicted,
    Origin,
    TicketEscalated,
    TicketMerged,
    TicketReturned,
    TicketStarted,
)
from mma_runtime.journal.footprint import Footprint
from mma_runtime.journal.toolbox import RecordedToolbox
from mma_runtime.kernel import Ref
from mma_runtime.outcome import UNMERGED, TicketState
from mma_runtime.plan import Ticket
from mma_runtime.rounds.known_files import KnownFiles
from mma_runtime.supervisor.board import TicketCard
from mma_runtime.supervisor.crew import UNUSABLE, Crew
from mma_runtime.supervisor.desk import Desk, Rejected
from mma_runtime.supervisor.hints import Hints
from mma_runtime.supervisor.job import Job
from mma_runtime.supervisor.judging import GOOD, Bench, Judging
from mma_runtime.tiers import DoTicket, ReworkTicket, TicketReport, Tier
from mma_runtime.tiers.briefing import ticket_files
from mma_runtime.tools.approval import Gate
from mma_runtime.tools.choice import given
from mma_runtime.tools.native import NATIVE_TOOLS, native_tools
from mma_runtime.tools.toolbox import NO_TOOLS, Toolbox
from mma_runtime.workspace import Checkout, Diff
from mma_runtime.workspace.room import no_room
from mma_runtime.workspace.writing import replace_file

MAX_RETURNS = 2
"""How often a worker gets its ticket back before its attempt counts as failed."""

REASON_CHARACTERS = 1_500
"""How much a later worker is told of why an attempt failed."""


class Delivery:
    """Takes one ticket through as many workers as the job allows."""

    # Thousands may be under way at once, each suspended in its coroutines: what is kept
    # alive per ticket is what the garbage collector goes through again and again.
    __slots__ = (
        "_card",
        "_crew",
        "_desk",
        "_history",
        "_job",
        "_lead",
        "_place",
        "_rung",
    )

    def __init__(
        self, job: Job, crew: Crew, desk: Desk, card: TicketCard, lead: Ref | None
    ) -> None:
        self._job = job
        self._crew = crew
        self._desk = desk
        self._card = card
        self._lead = lead
        self._history: tuple[str, ...] = ()
        self._place: Origin | None = None
        self._rung = 0

    async def run(self) -> None:
        """Work until the ticket is completed, or cannot be, and report.

        When it is cancelled, the worker and its tools end at once and the diff that
        there is by then is kept in the run's folder.
        """
        card, journal = self._card, self._job.journal
        try:
            state = await self._try_all()
            if state is not TicketState.COMPLETED:
                # What people had ordered depends on what had failed by then.
                await journal.hold_end(card.ticket.id)

            card.state = state
        except Exception as error:
            full = no_room(error)
            if full is None:
                raise

            await journal.halt(str(full))
        finally:
            self._desk.ended(card)

    async def _try_all(self) -> TicketState:
        card = self._card
        exhausted = self._job.board.exhausted
        if exhausted is not None and exhausted.level == "run":
            card.reason = str(exhausted)
            return TicketState.OVER_BUDGET

        if not await self._may_start():
            return TicketState.CANCELLED

        tried = card.attempts
        ended = TicketState.FAILED
        for number in range(tried + 1, tried + self._job.attempts + 1):
            card.attempts = number
            self._climb()
            try:
                if self._job.workspace is None:
                    return await self._work()

                return await self._work_in_checkout()
            except Rejected as rejected:
                self._note(rejected)
                ended = rejected.state
                # A conflict is nobody's fault: the same model may resolve it.
                self._rung += rejected.by != "merge"
                if rejected.final:
                    break

        return ended

    async def _may_start(self) -> bool:
        """Ask whether the ticket may start, where that is to be asked.

        Where it is not, what a model has planned to run may be: no money is spent on
        what cannot be judged in the end.
        """
        job, card = self._job, self._card
        commands = card.ticket.commands if job.workspace is not None else ()
        if job.questions.is_stepped or card.ticket.step:
            answer = await job.questions.ask_ticket(self._origin(), commands)
            if not answer.approved:
                card.reason = answer.reason or "rejected, without a reason"

            return answer.approved

        # Tickets of a track are a model's, those of a scenario are in none.
        for command in commands if card.track else ():
            answer = await job.questions.ask_command(self._origin(), command)
            if not answer.approved:
                because = answer.reason or "without a reason"
                card.reason = f"its command {command!r} was rejected: {because}"
                return False

        return True

    def _climb(self) -> None:
        """Take the model of this attempt: the next rung, while there is one."""
        card = self._card
        before, model = card.models[-1:], self._address()
        card.models = (*card.models, model)
        if before and before[0] != model:
            self._job.emit(
                TicketEscalated(
                    origin=self._origin(),
                    model=model,
                    before=before[0],
                    reason=card.reason,
                )
            )

    def _address(self) -> str:
        settings = self._job.tiers[Tier.WORKER]
        ladder = (settings.address, *settings.ladder)
        return self._card.ticket.model or ladder[min(self._rung, len(ladder) - 1)]

    @property
    def _is_last_rung(self) -> bool:
        return self._rung >= len(self._job.tiers[Tier.WORKER].ladder)

    def _note(self, rejected: Rejected) -> None:
        card = self._card
        card.reason = rejected.reason
        shown = rejected.shown
        if len(shown) > REASON_CHARACTERS:
            shown = shown[:REASON_CHARACTERS] + " […]"

        self._history = (*self._history, f"Ended by {rejected.by}: {shown}")
        if not rejected.final:
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
            hints = None
            if Tier.QA in self._job.tiers:
                qa = await self._hire(Tier.QA)
                hints = Hints(qa, checkout, card.ticket.target_file)

            journal = self._job.journal
            footprint = Footprint(checkout, journal.seal) if journal.is_on else None
            bench = Bench(checkout=checkout, hints=hints, footprint=footprint)
            return await self._work(bench)
        finally:
            if qa is not None:
                self._crew.release(qa)

            await self._discard(checkout)

    async def _work(self, bench: Bench | None = None) -> TicketState:
        """Let one worker work and rework until its work is merged or rejected."""
        job, card = self._job, self._card
        known = KnownFiles(bench.checkout) if bench is not None else None
        worker = await self._hire(Tier.WORKER, bench, known)
        try:
            job.emit(
                TicketStarted(
                    origin=self._origin(),
                    model=card.models[-1],
                    max_tool_rounds=job.tiers[Tier.WORKER].max_rounds,
                )
            )
            judgement = GOOD
            request: DoTicket | ReworkTicket = await self._first_request(bench, known)
            added: tuple[Ticket, ...] = ()
            for returns in range(MAX_RETURNS + 1):
                try:
                    self._take(await worker.ask(request))
                    room = self._desk.room(card.track)
                    judgement = await Judging(
                        job, card, self._lead, self._origin
                    ).judge(
                        bench,
                        name=f"{card.ticket.id}/{card.attempts}.{returns + 1}",
                        taken=self._desk.taken() if room else frozenset(),
                        room=room,
                    )
                except (*UNUSABLE, NotRepeated) as error:
                    raise self._unusable(error) from error

                by, remarks = judgement.by, judgement.remarks
                if not remarks:
                    added = judgement.tickets
                    break

                if returns == MAX_RETURNS:
                    raise Rejected(by, remarks)

                job.emit(TicketReturned(origin=self._origin(), by=by, reason=remarks))
                request = ReworkTicket(remarks=remarks)

            if bench is not None:
                await self._merge(bench.checkout)

            if added:
                self._desk.add(added, card.track)

            return TicketState.COMPLETED
        finally:
            self._crew.release(worker)

    async def _first_request(
        self, bench: Bench | None, known: KnownFiles | None
    ) -> DoTicket:
        ticket = self._card.ticket
        if bench is None or known is None:
            return DoTicket(ticket=ticket, attempts=self._history)

        files, images, contents = await ticket_files(bench.checkout, ticket)
        for path, content in contents.items():
            known.know(path, content)

        return DoTicket(
            ticket=ticket, files=files, images=images, attempts=self._history
        )

    def _take(self, report: TicketReport) -> None:
        """Put down what a worker reports; raise when it did not finish."""
        card = self._card
        card.rounds += report.rounds
        card.answer = report.answer
        if report.error is not None:
            raise self._unusable(report.error)

        if card.state is TicketState.RUNNING:
            # Else it was cancelled as the report came, and has a reason.
            card.reason = report.reason

        if report.stuck:
            raise Rejected("worker", report.reason, state=TicketState.STUCK)

        if report.bounded:
            raise Rejected(
                "worker",
                report.reason,
                state=TicketState.BOUNDED,
                # The same model would come no further.
                final=self._is_last_rung,
            )

    def _unusable(self, error: BaseException) -> Rejected | NoRoom:
        if (full := no_room(error)) is not None:
            return full

        cause = error.__cause__ if isinstance(error, Refused) else error
        # What an actor failed with, and not that it failed.
        self._card.failure = error.__cause__ or error
        self._card.provider_failed = isinstance(cause, ProviderError)
        state = TicketState.FAILED
        if isinstance(cause, BudgetExhausted):
            state = TicketState.OVER_BUDGET
            self._job.board.overspend(cause)

        # Another worker would meet the same wall: what may be sent again has been. Only
        # what broke off after output had begun has not, and deserves a fresh attempt.
        final = isinstance(
            cause, BudgetExhausted | ConfigurationError | NotRepeated
        ) or (
            isinstance(cause, ProviderError)
            and not (cause.retryable and cause.facts.in_stream)
        )
        return Rejected("worker", str(error), state=state, final=final)

    async def _merge(self, checkout: Checkout) -> None:
        workspace, ticket = self._job.workspace, self._card.ticket
        assert workspace is not None  # noqa: S101 - the checkout is one of its own
        diff = await checkout.diff()
        place = f"merge {self._card.ticket.id}/{self._card.attempts}"
        # One record: what it was accepted for, and what is merged by that.
        accepted = self._job.journal.ordered(
            place,
            self._origin(),
            lambda: {"patch": diff.patch},
            {"commands": list(self._card.passed), "review": self._card.review},
        )
        try:
            async with accepted:
                await workspace.merge(diff, _message(ticket))
        except MergeConflict as conflict:
            self._job.emit(MergeConflicted(origin=self._origin(), files=conflict.paths))
            shown = f"{conflict}\n\n{conflict.shown}"
            raise Rejected("merge", str(conflict), shown=shown) from conflict

        self._card.files = diff.files
        self._job.emit(TicketMerged(origin=self._origin(), files=diff.files))

    async def _discard(self, checkout: Checkout) -> None:
        """Remove the checkout; what was not merged is kept as a patch first."""
        with anyio.CancelScope(shield=True):
            try:
                wanted = not self._card.files and self._job.folder is not None
                diff = await checkout.diff() if wanted else Diff()
            finally:
                # First: on a full disk it makes the room that the patch needs.
                await checkout.discard()

            if diff:
                await self._keep(f"{checkout.name}.patch", diff.patch)

    def _toolbox(self, bench: Bench | None) -> Toolbox:
        checkout = bench.checkout if bench is not None else None
        patterns = self._card.ticket.tools
        if patterns is None:
            patterns = self._job.tiers[Tier.WORKER].tools

        names = (*NATIVE_TOOLS, *(tool.name for tool in self._job.tools))
        chosen = given(patterns, names)
        tools = tuple(tool for tool in self._job.tools if tool.name in chosen)
        if checkout is not None:
            native = native_tools(checkout, chosen, sandbox=self._job.sandbox)
            tools = (*native, *tools)

        if not tools:
            return NO_TOOLS

        tools = self._job.once.guard(tools, self._origin())
        keep = checkout.keep_output if checkout is not None else None
        toolbox = Toolbox(
            tools, keep=keep, gate=self._gate(checkout), observer=self._job.observer
        )
        return self._recorded(toolbox, bench)

    def _gate(self, checkout: Checkout | None) -> Gate:
        ticket, questions = self._card.ticket, self._job.questions
        return Gate(
            # What is to happen once is for the judgement, not for the way there.
            questions.policy(
                tuple(c for c in ticket.commands if c not in ticket.once),
                is_stepped=ticket.step,
            ),
            tier=Tier.WORKER.value,
            approve=partial(questions.ask_call, self._origin()),
            consents=questions.consents,
            aliases=checkout.aliases if checkout is not None else None,
        )

    def _recorded(self, toolbox: Toolbox, bench: Bench | None) -> Toolbox:
        journal = self._job.journal
        if not journal.is_on:
            return toolbox

        ended = partial(self._job.once.take_ended, self._origin())
        return RecordedToolbox(
            toolbox, journal, bench.footprint if bench else None, ended
        )

    async def _keep(self, name: str, patch: bytes) -> None:
        folder = self._job.folder
        if folder is None:
            return

        place = folder / UNMERGED / name
        try:
            await anyio.Path(place.parent).mkdir(parents=True, exist_ok=True)
            await to_thread.run_sync(replace_file, place, patch)
        except OSError as error:
            full = no_room(error)
            if full is None:
                raise

            self._job.journal.trouble(str(full))

    async def _hire(
        self, tier: Tier, bench: Bench | None = None, known: KnownFiles | None = None
    ) -> Ref:
        origin, is_worker = self._origin(), tier is Tier.WORKER
        hints = bench.hints if bench is not None else None
        try:
            return await self._crew.hire(
                tier,
                origin=origin if is_worker else replace(origin, tier=tier.value),
                address=self._own_model() if is_worker else None,
                toolbox=self._toolbox(bench) if is_worker else NO_TOOLS,
                hint=hints.hint if hints is not None else None,
                known=known,
            )
        except ConfigurationError as error:
            raise Rejected("worker", str(error), final=True) from error

    def _own_model(self) -> str | None:
        """Return a model that is not the tier's, which alone has fallbacks."""
        address = self._address()
        return address if address != self._job.tiers[Tier.WORKER].address else None

    def _origin(self) -> Origin:
        card, place = self._card, self._place
        if place is None or place.attempt != card.attempts:
            place = self._place = Origin(
                run=self._job.run,
                tier=Tier.WORKER.value,
                track=card.track,
                ticket=card.ticket.id,
                attempt=card.attempts,
                task="ticket",
            )

        return place


def _message(ticket: Ticket) -> str:
    """Word the commit of a ticket."""
    return f"{ticket.title or ticket.id}\n\nTicket {ticket.id}."
