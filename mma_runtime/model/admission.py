"""What comes before each attempt at a model: room in the budgets, and the gate."""

from collections.abc import Callable
from dataclasses import replace

import anyio
from anyio.lowlevel import checkpoint

from mma_runtime.costs import Reserve
from mma_runtime.costs.reservations import State
from mma_runtime.costs.tree import ENOUGH, BudgetTree
from mma_runtime.errors import BudgetExhausted
from mma_runtime.events import (
    BudgetReached,
    CallShrunk,
    Event,
    ModelCallQueued,
    Origin,
)
from mma_runtime.governor import Gate
from mma_runtime.governor.queueing import Demand, Permit
from mma_runtime.kernel import Ref
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.llm.tokens import estimate_request
from mma_runtime.model.attempt import Attempt, Call


class Admission:
    """Admits attempts at the model *address*: reserved with *costs*, let in by *gate*.

    *unasked* is the output limit that holds where none is sent along, if it is known.
    `tree` may be set where no level of it is limited: then it is written to at once,
    and nobody is asked.
    """

    def __init__(
        self,
        address: str,
        *,
        costs: Ref,
        gate: Gate,
        emit: Callable[[Event], None],
        unasked: int | None,
    ) -> None:
        self._address = address
        self._costs = costs
        self._gate = gate
        self._emit = emit
        self._unasked = unasked
        self.tree: BudgetTree | None = None

    async def admit(self, attempt: Attempt, call: Call) -> Permit:
        """Wait until *attempt* of *call* may be sent.

        Raises `BudgetExhausted` when there is no room for it, or its time is up, and
        the gate's last refusal. Cancelled or refused, what it holds is the caller's to
        release.
        """
        wish = attempt.wish
        await self._reserve(attempt)
        if wish.output is not None and wish.output != self._unasked:
            attempt.request = replace(attempt.request, max_output_tokens=wish.output)
            self._tell_if_short(attempt, wish.output)

        demand = self._demand(attempt.request, call)
        permit = self._gate.enter_nowait(demand)
        if permit is not None:
            return permit

        self._queued(attempt, "rate limit")
        with anyio.CancelScope(deadline=wish.deadline):
            return await self._gate.enter(demand)

        raise self.out_of_time(attempt)

    async def _reserve(self, attempt: Attempt) -> None:
        wish = attempt.wish
        if self.tree is not None:
            # Nothing to be decided: no message, but other tasks get their turn.
            self.tree.reserve(wish, 0.0)
            await checkpoint()
            return

        await self._costs.ask(Reserve(wish))
        if wish.state is State.WAITING:
            self._queued(attempt, "budget")
            with anyio.CancelScope(deadline=wish.deadline) as scope:
                await wish.decided()

            if scope.cancelled_caught:
                raise self.out_of_time(attempt)

        if wish.error is None:
            return

        if isinstance(wish.error, BudgetExhausted):
            self._emit(
                reached(wish.origin, wish.error, call=attempt.call, model=self._address)
            )

        raise wish.error

    def _tell_if_short(self, attempt: Attempt, allowed: int) -> None:
        """Tell of an output limit that the answer may well need more of."""
        wish = attempt.wish
        if allowed < wish.wanted and (wish.asked or allowed < ENOUGH):
            self._emit(
                CallShrunk(
                    origin=wish.origin,
                    call=attempt.call,
                    model=self._address,
                    wanted=wish.wanted,
                    allowed=allowed,
                )
            )

    def out_of_time(self, attempt: Attempt) -> BudgetExhausted:
        """Tell that the time of *attempt* is up; return the error to raise."""
        wish = attempt.wish
        # The run's own time, the first of them, is its supervisor's to keep.
        below = wish.levels[1:]
        level = next(one for one in below if one.deadline == wish.deadline)
        seconds = f"{level.budget.seconds:g}"
        error = BudgetExhausted(level.name, "seconds", seconds, seconds, name=level.of)
        self._emit(reached(wish.origin, error, call=attempt.call, model=self._address))
        return error

    def _demand(self, request: ChatRequest, call: Call) -> Demand:
        origin = request.origin
        tokens = output = 0
        if self._gate.counts_tokens:
            tokens = estimate_request(request)
            output = request.max_output_tokens or 0

        since, patience = call.since, call.patience
        return Demand(origin.run, origin.tier, tokens, output, since, patience)

    def _queued(self, attempt: Attempt, reason: str) -> None:
        self._emit(
            ModelCallQueued(
                origin=attempt.wish.origin,
                call=attempt.call,
                model=self._address,
                reason=reason,
            )
        )


def reached(
    origin: Origin, exhausted: BudgetExhausted, *, call: str = "", model: str = ""
) -> BudgetReached:
    """Return the event of a budget that had no room for *call*, or for the run."""
    return BudgetReached(
        call=call,
        model=model,
        origin=origin,
        level=exhausted.level,
        name=exhausted.name,
        unit=exhausted.unit,
        limit=exhausted.limit,
        spent=exhausted.spent,
        reserved=exhausted.reserved,
        needed=exhausted.needed,
    )
