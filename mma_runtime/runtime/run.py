"""One run of a scenario: what its host sees of it, and its way from start to end."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from mma_runtime.arguments import check_kind, check_text
from mma_runtime.bus import HISTORY, Bus, Subscription
from mma_runtime.costs.report import CostReport
from mma_runtime.errors import (
    ActorStopped,
    ArgumentInvalid,
    JournalUnavailable,
    Refused,
)
from mma_runtime.events import RunFinished, RunStarted
from mma_runtime.journal import Loss
from mma_runtime.kernel import ActorSystem, Message, Ref
from mma_runtime.kernel.incarnation import describe
from mma_runtime.outcome import Outcome, RunState
from mma_runtime.plan import Priority
from mma_runtime.rounds import MAX_TOOL_ROUNDS
from mma_runtime.runtime.ending import Ending
from mma_runtime.runtime.outfit import Outfit
from mma_runtime.runtime.staffing import Team
from mma_runtime.scenario.project import Apply
from mma_runtime.scenario.schema import Scenario
from mma_runtime.supervisor import Supervisor
from mma_runtime.supervisor.dispatch import Dispatch
from mma_runtime.supervisor.job import Job
from mma_runtime.supervisor.orders import (
    Order,
    OrderTicket,
    PauseRun,
    ResumeRun,
    StartRun,
)
from mma_runtime.supervisor.question import Question
from mma_runtime.supervisor.questions import Asked
from mma_runtime.tiers import Tier
from mma_runtime.tools.approval import Approval


class Run:
    """A run that `Runtime.start` began.

    *id* names it in events and in the runtime's home. Only the runtime makes one, and
    only the runtime uses what is private of it.
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
        home: Path | None,
    ) -> None:
        self.id: str = job.run
        self.name: str = scenario.name
        self._bus = bus
        self._job = job
        self._team = team
        self._outfit = outfit
        self._dispatch = Dispatch(job)
        self._ending = Ending(
            job,
            scenario,
            bus,
            apply=apply,
            sandbox=outfit.confinement,
            home=home,
        )
        self._began = time.monotonic()
        self._supervisor: Ref | None = None
        self._has_begun = False
        self._early: tuple[Message, ...] = ()
        self._outcome: Outcome | None = None
        self._ended = anyio.Event()
        job.journal.trouble = self._halt

    @property
    def difference(self) -> str:
        """The first thing in a replay that was not as recorded; empty: none."""
        return self._job.journal.difference

    @property
    def reused(self) -> int:
        """How many replies and results of calls were taken from the journal."""
        return self._job.journal.reused

    @property
    def loss(self) -> Loss | None:
        """What a damaged journal had lost when the run was resumed from it."""
        return self._job.journal.loss

    @property
    def _failure(self) -> BaseException | None:
        """What kept a worker from its answer, if anything did."""
        cards = self._job.board.tickets.values()
        return next((card.failure for card in cards if card.failure), None)

    def events(self, *, replay: bool = True, capacity: int = HISTORY) -> Subscription:
        """Return the run's events, in order, to iterate over with `async for`.

        With *replay* they begin with what has happened already. The iteration ends
        with the run. A reader that falls more than *capacity* events behind is told by
        an `EventsSkipped` how many it missed; it never slows the run.
        """
        return self._bus.subscribe(replay=replay, capacity=capacity)

    async def outcome(self) -> Outcome:
        """Wait until the run has ended and return how.

        Cancelling the wait leaves the run alone.

        Raises:
            RuntimeError: The event loop was torn down before the run could end.
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
        stays. A run that has ended already is not changed. Cancelling the wait does not
        take it back. Raises what `outcome` raises.
        """
        self.stop(reason)
        return await self.outcome()

    def stop(self, reason: str) -> None:
        """Begin to cancel the run, for a *reason* in text; does not wait."""
        check_text("reason", reason)
        if self._ended.is_set():
            return

        self._ending.hurry()
        self._dispatch.end(RunState.CANCELLED, reason)

    # --- orders ---------------------------------------------------------------

    @property
    def supervisor(self) -> Ref | None:
        """The run's supervisor while it is at work, for actors of one's own.

        It takes what follows as messages, too: those in
        `mma_runtime.supervisor.orders`.
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

        Returns when its worker and its tools, which are cancelled, have ended. Raises
        what `block` raises; cancellation is as there.
        """
        changed = await self._order(ticket, Order.CANCEL, reason)
        await self._dispatch.work_ended(ticket)
        return changed

    async def prioritise(self, ticket: str, priority: Priority) -> None:
        """Change when a ticket that has not started gets its turn.

        Raises what `block` raises; cancellation is as there.
        """
        if priority not in list(Priority):
            wanted = f"one of {', '.join(map(repr, map(str, Priority)))}"
            raise ArgumentInvalid("priority", priority, wanted)

        await self._order(ticket, Order.PRIORITISE, priority=Priority(priority))

    @property
    def questions(self) -> tuple[Question, ...]:
        """What waits for somebody's word: tool calls, and tickets that may start."""
        return self._job.questions.open

    def answer(self, question: str, approval: Approval) -> None:
        """Answer the question with that id.

        Raises:
            Refused: it is not open, or not any more.
        """
        check_kind("approval", approval, Approval, "an `Approval`")
        self._job.questions.answer(question, approval)

    def pass_over(self, question: str, reason: str) -> None:
        """Wait no longer for an answer to the question with that id: none will come.

        What becomes of it is what the scenario says of questions that nobody answers;
        *reason* is told with it. Raises what `answer` raises.
        """
        check_text("reason", reason)
        self._job.questions.pass_over(question, reason)

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
        check_text("reason", reason)
        self._tell(PauseRun(reason))

    def resume(self, reason: str = "") -> None:
        """Start tickets again."""
        check_text("reason", reason)
        self._tell(ResumeRun(reason))

    def _tell(self, message: Message) -> None:
        if self._supervisor is not None:
            self._supervisor.tell(message)
        elif not self._has_begun:
            self._early += (message,)

    async def _order(
        self,
        ticket: str,
        order: Order,
        reason: str = "",
        priority: Priority = Priority.MEDIUM,
    ) -> tuple[str, ...]:
        check_text("ticket", ticket, "a ticket's id")
        check_text("reason", reason)
        request = OrderTicket(
            ticket=ticket, order=order, reason=reason, priority=priority
        )
        while not self._has_begun:
            await self._dispatch.some_news()

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

    async def _conduct(self, system: ActorSystem) -> None:
        """Run to the end; the runtime calls it once, in a task of its own.

        `cancel` is what ends a run in order, a cancelled task does not.
        """
        try:
            observer = self._job.observer
            if observer is None:
                await self._go(system)
            else:
                with observer.run():
                    await self._go(system)
        finally:
            self._job.journal.part()
            self._outfit.servers.stop()
            self._begin()
            self._ended.set()
            self._job.questions.close()
            self._bus.close()

    def _begin(self) -> None:
        self._has_begun = True
        self._dispatch.close(())

    async def _go(self, system: ActorSystem) -> None:
        await self._work(system)
        await self._outfit.servers.aclose()
        outcome = await self._ending.conclude()
        self._job.journal.conclude(outcome.state.value)
        outcome = await self._ending.keep(outcome)
        self._outcome = replace(outcome, seconds=time.monotonic() - self._began)
        self._bus.emit(
            RunFinished(
                origin=self._bus.origin,
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
                self._outcome = self._ending.paused(self._outcome, str(error))

    def _halt(self, reason: str) -> None:
        """Stop where the journal cannot follow, or is not followed any more."""
        replayed = self._job.journal.strict
        state = RunState.CANCELLED if replayed else RunState.PAUSED
        self._dispatch.end(state, reason)

    async def _work(self, system: ActorSystem) -> None:
        worker = self._team.tiers[Tier.WORKER]
        self._bus.emit(
            RunStarted(
                origin=self._bus.origin,
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
        for warning in self._team.ending(today, self._bus.origin):
            self._bus.emit(warning)

        if self._job.board.ended is not None:
            return

        supervisor = self._supervisor = await system.spawn(
            self.id, Supervisor, self._job, self._dispatch
        )
        try:
            for message in self._early:
                supervisor.tell(message)

            await supervisor.ask(StartRun())
            self._begin()
            await self._dispatch.play(supervisor)
        except Exception as error:  # noqa: BLE001 - a bug of ours: the outcome names it
            self._job.board.problem = f"internal error: {describe(error)}"
        finally:
            supervisor.stop()
            await supervisor.join()
            self._supervisor = None
