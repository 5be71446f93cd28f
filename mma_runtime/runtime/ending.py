"""The end of a run: its result is checked, put into words, kept and handed over."""

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import anyio

from mma_runtime.bus import Bus
from mma_runtime.costs.escalation import escalations
from mma_runtime.costs.report import CostReport
from mma_runtime.errors import BudgetExhausted, NoRoom, WorkspaceError
from mma_runtime.events import (
    BranchPublished,
    ChangesApplied,
    ExpectationChecked,
    Origin,
)
from mma_runtime.outcome import Expectation, Outcome, RunState, TicketOutcome
from mma_runtime.runtime.expectations import check_expectations
from mma_runtime.runtime.forecast import go_on, resume_command, to_go_on
from mma_runtime.scenario.project import Apply
from mma_runtime.scenario.schema import Scenario
from mma_runtime.supervisor.board import CUT_OFF
from mma_runtime.supervisor.job import Job
from mma_runtime.tiers import Tier
from mma_runtime.workspace.room import no_room


class Ending:
    """Brings the run of *job* to its outcome, once its work is over.

    *apply* says how the result is handed over. *sandbox* names the walls that commands
    ran behind, *home* is the folder that a command to go on has to name; `None` for a
    run that cannot be gone on with.
    """

    def __init__(
        self,
        job: Job,
        scenario: Scenario,
        bus: Bus,
        *,
        apply: Apply,
        sandbox: str,
        home: Path | None,
    ) -> None:
        self._job = job
        self._scenario = scenario
        self._bus = bus
        self._apply = apply
        self._sandbox = sandbox
        self._home = home
        self._checks: anyio.CancelScope | None = None
        self._is_hurried = False

    def hurry(self) -> None:
        """Check no further expectation; does not wait."""
        self._is_hurried = True
        if self._checks is not None:
            self._checks.cancel()

    async def conclude(self) -> Outcome:
        """Close the books: check what is expected, and put all of it into words."""
        job, board = self._job, self._job.board
        costs = job.ledger.report()
        for card in board.close():
            # Its worker could not report: its calls tell how many rounds there were.
            card.rounds = sum(
                line.spent.calls
                for line in costs.lines
                if line.tier == Tier.WORKER and line.ticket == card.ticket.id
            )
            self._bus.emit(card.finished(self._job.run))

        state, reason = board.verdict()
        checked: tuple[Expectation, ...] = ()
        with anyio.CancelScope() as self._checks:
            if self._is_hurried:
                self._checks.cancel()

            checked = await self._checked(state, costs)

        if board.ended is not None and state is not board.ended[0]:
            # Cancelled while the expectations were checked.
            state, reason = board.verdict()

        for one in checked:
            self._bus.emit(
                ExpectationChecked(
                    origin=Origin(run=self._job.run),
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
            run=self._job.run,
            name=self._scenario.name,
            state=state,
            reason=reason,
            seconds=0.0,
            tracks=tuple(card.outcome() for card in board.tracks.values()),
            tickets=tickets,
            costs=costs,
            to_go_on_usd=to_go_on(tickets, costs, spent) if spent else None,
            resume_command=self._resume_command(state, tickets, costs, spent),
            expectations=checked,
            firewall=board.firewall.report(),
            sandbox=self._sandbox,
            escalations=escalations(((one.id, one.models) for one in tickets), costs),
        )

    def paused(self, outcome: Outcome, reason: str) -> Outcome:
        """Return *outcome* as that of a run which goes on when there is room again."""
        command = self._resume_command(RunState.PAUSED)
        return replace(
            outcome, state=RunState.PAUSED, reason=reason, resume_command=command
        )

    def _resume_command(
        self,
        state: RunState,
        tickets: tuple[TicketOutcome, ...] = (),
        costs: CostReport | None = None,
        exhausted: BudgetExhausted | None = None,
    ) -> str:
        if self._home is None:
            return ""

        if exhausted is not None and costs is not None:
            return resume_command(self._job.run, self._home, tickets, costs, exhausted)

        # What else has ended by itself would end so again.
        is_cut_off = state in (RunState.CANCELLED, RunState.PAUSED)
        return go_on(self._job.run, self._home) if is_cut_off else ""

    async def _checked(
        self, state: RunState, costs: CostReport
    ) -> tuple[Expectation, ...]:
        try:
            seen = await self._job.journal.view(
                f"expect {state.value}",
                Origin(run=self._job.run),
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
            sandbox=self._job.sandbox,
            once=self._job.once,
        )
        return json.dumps([asdict(one) for one in checked])

    async def keep(self, outcome: Outcome) -> Outcome:
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
            problem = no_room(error) or error
            reason = f"the result could not be kept: {problem}"
            outcome = replace(outcome, folder=workspace.folder, tree=workspace.tree)
            if not isinstance(problem, NoRoom):
                return replace(outcome, state=RunState.FAILED, reason=reason)

            return outcome if outcome.state in CUT_OFF else self.paused(outcome, reason)

        if applied:
            self._bus.emit(
                ChangesApplied(origin=Origin(run=self._job.run), files=applied)
            )

        if branch:
            self._bus.emit(
                BranchPublished(origin=Origin(run=self._job.run), branch=branch)
            )

        return replace(
            outcome,
            changes=diff.stat,
            folder=workspace.folder,
            tree=workspace.tree,
            patch=patch,
            applied=bool(applied),
            branch=branch or "",
        )
