"""One run of a scenario: its events, its outcome, and the way from start to end."""

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from mma_runtime.board import CUT_OFF
from mma_runtime.bus import HISTORY, Bus, Subscription
from mma_runtime.cost_report import CostReport
from mma_runtime.errors import (
    ActorStopped,
    BudgetExhausted,
    JournalUnavailable,
    NoRoom,
    Refused,
    WorkspaceError,
)
from mma_runtime.escalation import escalations
from mma_runtime.events import (
    BranchPublished,
    ChangesApplied,
    ExpectationChecked,
    Origin,
    RunFinished,
    RunStarted,
)
from mma_runtime.forecast import resume_command, to_go_on
from mma_runtime.job import Job
from mma_runtime.journal import Loss
from mma_runtime.kernel import ActorSystem, Message, Ref
from mma_runtime.observing import around_run
from mma_runtime.orders import (
    CancelRun,
    Order,
    OrderTicket,
    PauseRun,
    ResumeRun,
    StartRun,
)
from mma_runtime.outcome import Expectation, Outcome, RunState, TicketOutcome
from mma_runtime.outfit import Outfit
from mma_runtime.plan import Priority
from mma_runtime.questions import Asked, Question
from mma_runtime.rounds import MAX_TOOL_ROUNDS
from mma_runtime.scenario.expect import check_expectations
from mma_runtime.scenario.project import Apply
from mma_runtime.scenario.schema import Scenario
from mma_runtime.staffing import Team
from mma_runtime.supervisor import Supervisor
from mma_runtime.tiers import Tier
from mma_runtime.tools.approval import Approval
from mma_runtime.workspace.room import no_room


class Run:
    """A run that `Runtime.start` began.

    *id* names it in events and in the runtime's home.
    """

    def __init__(
        self,
        job: Job,
        team: Team,
        scenario: Scenario,
        bus: Bus,
        *,
        apply: Apply,
        outfit: Outfit,
        home: Path,
    ) -> None:
        self.id: str = job.run
        self.name: str = scenario.name
        self.bus = bus
        self._job = job
        self._team = team
        self._scenario = scenario
        self._apply = apply
        self._outfit = outfit
        self._home = home
        self._began = time.monotonic()
        self._supervisor: Ref | None = None
        self._begun = anyio.Event()
        self._early: list[Message] = []
        self._checks: anyio.CancelScope | None = None
        self._is_stopped = False
        self._outcome: Outcome | None = None
        self._ended = anyio.Event()
        job.journal.trouble = self._halt

    @property
    def difference(self) -> str:
        """The first thing in a replay that was not as recorded; empty: none."""
        return self._job.journal.difference

    @property
    def reused(self) -> int:
        """How many replies and results were taken from the journal."""
        return self._job.journal.reused

    @property
    def loss(self) -> Loss | None:
        """What a damaged journal had lost when the run was resumed from it."""
        return self._job.journal.loss

    def events(self, *, replay: bool = True, capacity: int = HISTORY) -> Subscription:
        """Return the run's events, in order, to iterate over with `async for`.

        With *replay* they begin with what has happened already. The iteration ends
        with the run. A reader that falls more than *capacity* events behind is told by
        an `EventsSkipped` how many it missed; it never slows the run.
        """
        return self.bus.subscribe(replay=replay, capacity=capacity)

    async def outcome(self) -> Outcome:
        """Wait until the run has ended and return how.

        Cancelling the wait leaves the run alone.
        """
        await self._ended.wait()
        if self._outcome is None:
            raise RuntimeError("the runtime was torn down before the run could end")

        return self._outcome

    def costs(self) -> CostReport:
        """Return what has been spent so far."""
        if self._outcome is not None:
            return self._outcome.costs

        return self._job.ledger.report()

    async def cancel(self, reason: str = "cancelled") -> Outcome:
        """End the run now and return its outcome.

        Model calls and tools that are under way are cancelled, what was done and spent
        stays. A run that has ended already is not changed.
        """
        self.stop(reason)
        return await self.outcome()

    def stop(self, reason: str) -> None:
        """Begin to cancel the run; does not wait."""
        if self._ended.is_set():
            return

        self._job.board.end(RunState.CANCELLED, reason)
        self._is_stopped = True
        if self._checks is not None:
            self._checks.cancel()

        if self._supervisor is not None:
            self._supervisor.tell(CancelRun(reason))

    # --- orders ---------------------------------------------------------------

    @property
    def supervisor(self) -> Ref | None:
        """The run's supervisor while it is at work, for actors of one's own.

        It takes what follows as messages, too: those in `mma_runtime.orders`.
        """
        return self._supervisor

    async def block(self, ticket: str, reason: str = "") -> tuple[str, ...]:
        """Keep a waiting ticket, and all behind it, from being started.

        Returns the ids of the tickets that changed, as all orders do. An order whose
        caller is cancelled may have been followed already.

        Raises:
            Refused: there is no such ticket, it is not in a state for this order, or
                the run is not at work; says which.
        """
        return await self._order(ticket, Order.BLOCK, reason)

    async def unblock(self, ticket: str, reason: str = "") -> tuple[str, ...]:
        """Let a blocked ticket wait again, and those blocked because of it.

        Cancellation is as with `block`.

        Raises:
            Refused: as `block`; also while something that it depends on is not done.
        """
        return await self._order(ticket, Order.UNBLOCK, reason)

    async def skip(self, ticket: str, reason: str = "") -> tuple[str, ...]:
        """Do without a ticket that is not at work: what depends on it goes on.

        Raises what `block` raises; cancellation is as there.
        """
        return await self._order(ticket, Order.SKIP, reason)

    async def retry(self, ticket: str, reason: str = "") -> tuple[str, ...]:
        """Let a ticket that has failed start over.

        Cancellation is as with `block`.

        Raises:
            Refused: as `block`; also while something that it depends on has ended
                without being done.
        """
        return await self._order(ticket, Order.RETRY, reason)

    async def cancel_ticket(self, ticket: str, reason: str = "") -> tuple[str, ...]:
        """Give up one ticket, at work or not; what depends on it is blocked.

        A worker and its tools are cancelled; this does not wait for their end. Raises
        what `block` raises.
        """
        return await self._order(ticket, Order.CANCEL, reason)

    async def prioritise(self, ticket: str, priority: Priority) -> None:
        """Change when a ticket that has not started gets its turn.

        Raises what `block` raises; cancellation is as there.
        """
        await self._order(ticket, Order.PRIORITISE, priority=priority)

    @property
    def questions(self) -> tuple[Question, ...]:
        """What waits for somebody's word: tool calls, and tickets that may start."""
        return self._job.questions.open

    def answer(self, question: str, approval: Approval) -> None:
        """Answer the question with that id.

        Raises:
            Refused: it is not open, or not any more.
        """
        self._job.questions.answer(question, approval)

    def asked(self) -> Asked:
        """Return the run's questions, to iterate over with `async for`.

        Each comes once, those that are open already first, and the iteration ends with
        the run. One may have been settled otherwise by the time that it is looked at.
        """
        return Asked(self._job.questions)

    async def settled(self, question: str) -> None:
        """Wait until the question with that id is open no more.

        It was answered, its time was up, calls like it were approved, or what it was
        about has been cancelled.
        """
        await self._job.questions.settled(question)

    def attended(self) -> AbstractContextManager[None]:
        """Return a block in which questions wait for an answer however long it takes.

        Without it they wait as long as the scenario says.
        """
        return self._job.questions.attended()

    def approve(
        self,
        question: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        all_alike: bool = False,
    ) -> None:
        """Answer yes: let the tool call run, or the ticket start.

        With *arguments* the call runs with those. With *all_alike* calls like it run
        from now on without a question. Raises what `answer` raises.
        """
        self.answer(question, Approval.approve(arguments, all_alike=all_alike))

    def reject(self, question: str, reason: str = "") -> None:
        """Answer no, and tell the model why; raises what `answer` raises."""
        self.answer(question, Approval.reject(reason))

    def pause(self, reason: str = "") -> None:
        """Start no further ticket; those at work go on to their end."""
        self._tell(PauseRun(reason))

    def resume(self, reason: str = "") -> None:
        """Start tickets again."""
        self._tell(ResumeRun(reason))

    def _tell(self, message: Message) -> None:
        if self._supervisor is not None:
            self._supervisor.tell(message)
        elif not self._begun.is_set():
            self._early.append(message)

    async def _order(
        self,
        ticket: str,
        order: Order,
        reason: str = "",
        priority: Priority = Priority.MEDIUM,
    ) -> tuple[str, ...]:
        request = OrderTicket(
            ticket=ticket, order=order, reason=reason, priority=priority
        )
        await self._begun.wait()
        # What had been ordered before comes first.
        await self._job.journal.caught_up()
        try:
            if self._supervisor is not None:
                return await self._supervisor.ask(request)
        except ActorStopped:
            # It ended meanwhile.
            pass

        raise Refused(f"the run is not at work; ticket {ticket!r} stays as it is")

    # --- from start to end ----------------------------------------------------

    async def conduct(self, system: ActorSystem) -> None:
        """Run to the end; the runtime calls it once, in a task of its own.

        Not for hosts: `cancel` is what ends a run in order, a cancelled task does not.
        """
        try:
            with around_run(self._job.observer):
                await self._go(system)
        finally:
            self._job.journal.give_up_order()
            self._outfit.servers.stop()
            self._begun.set()
            self._ended.set()
            self._job.questions.close()
            self.bus.close()

    async def _go(self, system: ActorSystem) -> None:
        await self._work(system)
        await self._outfit.servers.aclose()
        outcome = await self._conclude()
        self._job.journal.conclude(outcome.state.value)
        outcome = await self._keep(outcome)
        self._outcome = replace(outcome, seconds=time.monotonic() - self._began)
        self.bus.emit(
            RunFinished(
                origin=Origin(run=self.id),
                state=self._outcome.state.value,
                reason=self._outcome.reason,
            )
        )
        await self._close_journal()

    async def _close_journal(self) -> None:
        try:
            await self._job.journal.aclose()
        except JournalUnavailable as error:
            if self._outcome is not None and self._outcome.completed:
                self._outcome = replace(
                    self._outcome, state=RunState.PAUSED, reason=str(error)
                )

    def _halt(self, reason: str) -> None:
        """Stop where the journal cannot follow, or is not followed any more."""
        replayed = self._job.journal.strict
        state = RunState.CANCELLED if replayed else RunState.PAUSED
        self._job.board.end(state, reason)
        if self._supervisor is not None:
            self._supervisor.tell(CancelRun(reason))

    async def _work(self, system: ActorSystem) -> None:
        worker = self._team.tiers[Tier.WORKER]
        self.bus.emit(
            RunStarted(
                origin=Origin(run=self.id),
                name=self.name,
                models=self._team.models,
                scripted=self._team.scripted,
                priced_as=self._team.priced_as,
                max_tool_rounds=worker.max_rounds or MAX_TOOL_ROUNDS,
                sandbox=self._outfit.confinement,
                mcp_servers=dict(self._outfit.servers.counts),
            )
        )
        today = datetime.now(tz=UTC).date()
        for warning in self._team.ending(today, Origin(run=self.id)):
            self.bus.emit(warning)

        if self._job.board.ended is not None:
            return

        self._supervisor = await system.spawn(self.id, Supervisor, self._job)
        if self._job.board.ended is None:
            for message in (*self._early, StartRun()):
                self._supervisor.tell(message)
        else:
            # Cancelled while it was being spawned, when there was nobody to tell.
            self._supervisor.stop()

        self._begun.set()
        await self._supervisor.join()
        self._supervisor = None

    async def _conclude(self) -> Outcome:
        """Check, keep and apply what the run made, and put it into words."""
        job, board = self._job, self._job.board
        costs = job.ledger.report()
        for card in board.close():
            # Its worker could not report: its calls tell how many rounds there were.
            card.rounds = sum(
                line.spent.calls
                for line in costs.lines
                if line.tier == Tier.WORKER and line.ticket == card.ticket.id
            )
            self.bus.emit(card.finished(self.id))

        state, reason = board.verdict()
        checked: tuple[Expectation, ...] = ()
        with anyio.CancelScope() as self._checks:
            if self._is_stopped:
                self._checks.cancel()

            checked = await self._checked(state, costs)

        if board.ended is not None and state is not board.ended[0]:
            # Cancelled while the expectations were checked.
            state, reason = board.verdict()

        for one in checked:
            self.bus.emit(
                ExpectationChecked(
                    origin=Origin(run=self.id),
                    name=one.name,
                    passed=one.passed,
                    detail=one.detail,
                )
            )

        failed = [one for one in checked if not one.passed]
        if state is RunState.COMPLETED and failed:
            state = RunState.FAILED
            reason = f"not as expected: {failed[0].name}: {failed[0].detail}"

        tickets = tuple(card.outcome() for card in board.tickets.values())
        spent = board.exhausted if state is RunState.OVER_BUDGET else None
        return Outcome(
            run=self.id,
            name=self.name,
            state=state,
            reason=reason,
            seconds=0.0,
            tracks=tuple(card.outcome() for card in board.tracks.values()),
            tickets=tickets,
            costs=costs,
            to_go_on_usd=to_go_on(tickets, costs, spent) if spent else None,
            resume_command=self._resume_command(tickets, costs, spent),
            expectations=checked,
            firewall=board.firewall.report(),
            sandbox=self._outfit.confinement,
            escalations=escalations(((one.id, one.models) for one in tickets), costs),
        )

    def _resume_command(
        self,
        tickets: tuple[TicketOutcome, ...],
        costs: CostReport,
        exhausted: BudgetExhausted | None,
    ) -> str:
        journal = self._job.journal
        if exhausted is None or not journal.is_on or journal.strict:
            return ""

        return resume_command(self.id, self._home, tickets, costs, exhausted)

    async def _checked(
        self, state: RunState, costs: CostReport
    ) -> tuple[Expectation, ...]:
        try:
            seen = await self._job.journal.view(
                f"expect {state.value}",
                Origin(run=self.id),
                partial(self._check, state, costs),
            )
        except (WorkspaceError, OSError) as error:
            full = no_room(error)
            if full is None:
                raise

            self._job.board.end(RunState.PAUSED, str(full))
            return ()

        return tuple(Expectation(**one) for one in json.loads(seen))

    async def _check(self, state: RunState, costs: CostReport) -> str:
        checked = await check_expectations(
            self._scenario.expect,
            state,
            costs,
            self._job.workspace,
            self._job.sandbox,
        )
        return json.dumps([asdict(one) for one in checked])

    async def _keep(self, outcome: Outcome) -> Outcome:
        """Write the patch, hand it over if that is wanted, and remove the checkouts."""
        workspace = self._job.workspace
        if workspace is None:
            return outcome

        try:
            patch = workspace.folder / "changes.patch"
            diff = await workspace.write_patch(patch)
            wanted = self._apply if outcome.completed and diff else False
            applied = await workspace.apply() if wanted is True else ()
            branch = await workspace.publish() if wanted == "branch" else None
            await workspace.close()
        except (WorkspaceError, OSError) as error:
            problem, state = no_room(error) or error, RunState.FAILED
            reason = f"the result could not be kept: {problem}"
            if isinstance(problem, NoRoom):
                state = RunState.PAUSED
                if outcome.state in CUT_OFF:
                    state, reason = outcome.state, outcome.reason

            return replace(
                outcome,
                state=state,
                reason=reason,
                folder=workspace.folder,
                tree=workspace.tree,
            )

        if applied:
            self.bus.emit(ChangesApplied(origin=Origin(run=self.id), files=applied))

        if branch:
            self.bus.emit(BranchPublished(origin=Origin(run=self.id), branch=branch))

        return replace(
            outcome,
            changes=diff.stat,
            folder=workspace.folder,
            tree=workspace.tree,
            patch=patch,
            applied=bool(applied),
            branch=branch or "",
        )
