"""One model at one provider: what it costs, how fast it may be asked, one attempt."""

import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, aclosing
from dataclasses import replace
from decimal import Decimal
from math import inf

import anyio

from mma_runtime.breaker import Breaker
from mma_runtime.budget_tree import ENOUGH
from mma_runtime.costs import CostEvent, CostState, Release, Reserve
from mma_runtime.errors import (
    BudgetExhausted,
    ProtocolViolated,
    ProviderError,
    ProviderFacts,
    ProviderOverloaded,
    RateLimited,
    ScriptUnmatched,
)
from mma_runtime.events import (
    AccountRested,
    BudgetReached,
    CallShrunk,
    Event,
    LimitLearnt,
    ModelCallFailed,
    ModelCallFinished,
    ModelCallQueued,
    ModelCallStarted,
    Origin,
)
from mma_runtime.governor import Gate
from mma_runtime.kernel import Ref
from mma_runtime.llm.chat import ChatRequest, Chunk, Completion, ToolCallDelta
from mma_runtime.llm.pricing import Rates
from mma_runtime.llm.provider import Provider
from mma_runtime.llm.tokens import InputBound, estimate_request, estimate_tokens
from mma_runtime.llm.usage import NO_USAGE, Usage
from mma_runtime.observing import ChatWatch, RunObserver
from mma_runtime.queueing import Demand, Permit
from mma_runtime.rate_limits import RateLimits
from mma_runtime.reservations import Reservation, State, WrapUp

_ZERO = Decimal(0)

OnChunk = Callable[[Chunk], None]

BeforeSend = Callable[[ChatRequest, int, Reservation], Awaitable[None]]
"""Takes a request, the number of its attempt, and what is reserved for it."""

DEFAULT_OUTPUT = 4_096
"""The output limit where a budget needs one and nobody knows the model's, in tokens.

Every model in use takes as much.
"""


class Route:
    """A model that calls can go to.

    *address* is `provider:model`. *rates* is `None` where no price is known. Each
    attempt is reserved before it, let through by *gate*, and settled after it: one cost
    event for *costs*, also when it fails or is cancelled, and events for *emit*.
    `before_send` is awaited once an attempt may be sent, and before it is. *observer*
    looks on while it is under way.
    """

    def __init__(
        self,
        provider: Provider,
        name: str,
        *,
        costs: Ref,
        emit: Callable[[Event], None],
        rates: Rates | None,
        gate: Gate | None = None,
        breaker: Breaker | None = None,
        observer: RunObserver | None = None,
    ) -> None:
        self.provider = provider
        self.name = name
        self.address: str = f"{provider.name}:{name}"
        self.breaker: Breaker = breaker or Breaker()
        self.gate: Gate = gate or Gate(adapts=False)
        self._billed = provider.priced_as(name)[2]
        self._largest = provider.capabilities(name).max_output
        self._costs = costs
        self.emit = emit
        self._rates = rates
        self._bound = InputBound()
        self._observer = observer
        self.before_send: BeforeSend | None = None

    async def attempt(
        self,
        request: ChatRequest,
        number: int,
        since: float,
        on_chunk: OnChunk | None,
        wrap_up: WrapUp,
    ) -> Completion:
        """Send *request* as the attempt with that *number* of its call.

        *since* is when the call began to wait, in the event loop's time; 0 is now. Who
        has waited longest goes first.

        Raises:
            ProviderError: The provider did not answer as asked.
            BudgetExhausted: There is no room for the attempt, or its time was up.
        """
        wish = self._wish(request, wrap_up)
        attempt = _Attempt(request, number, wish)
        try:
            permit = await self._admit(attempt, since)
        except BaseException:
            self._costs.tell(Release(wish))
            raise

        if self.before_send is not None:
            try:
                await self.before_send(request, number, wish)
            except BaseException:
                self._not_sent(attempt, permit)
                raise

        self.emit(
            ModelCallStarted(
                origin=request.origin,
                call=attempt.call,
                model=self.address,
                attempt=number,
            )
        )
        send = self._send if self._observer is None else self._send_watched
        if wish.deadline == inf:
            return await send(attempt, permit, on_chunk)

        with anyio.CancelScope(deadline=wish.deadline):
            return await send(attempt, permit, on_chunk)

        raise self._out_of_time(attempt)

    def tell_failed(
        self,
        request: ChatRequest,
        number: int,
        error: str,
        retry_in: float | None,
        final: str = "",
    ) -> None:
        """Tell of a failed attempt, and of the seconds until the next.

        *final* says why there is none.
        """
        self.emit(
            ModelCallFailed(
                origin=request.origin,
                call=call_name(request.origin, request.turn, number),
                model=self.address,
                error=error,
                retry_in=retry_in,
                final=final,
            )
        )

    # --- before ---------------------------------------------------------------

    def _wish(self, request: ChatRequest, wrap_up: WrapUp) -> Reservation:
        tokens = self._bound.of(request)
        asked = request.max_output_tokens
        return Reservation(
            request.origin,
            self.address,
            tokens=tokens,
            wanted=asked or self._largest or DEFAULT_OUTPUT,
            quote=self._rates.quote(tokens) if self._rates is not None else None,
            asked=asked is not None,
            billed=self._billed,
            wrap_up=wrap_up,
        )

    async def _admit(self, attempt: "_Attempt", since: float) -> Permit:
        wish = attempt.wish
        await self._reserve(attempt)
        if wish.output is not None and wish.output != self._largest:
            attempt.request = replace(attempt.request, max_output_tokens=wish.output)
            self._tell_if_short(attempt, wish.output)

        demand = self._demand(attempt.request, since)
        permit = self.gate.enter_nowait(demand)
        if permit is not None:
            return permit

        self._queued(attempt, "rate limit")
        with anyio.CancelScope(deadline=wish.deadline):
            return await self.gate.enter(demand)

        raise self._out_of_time(attempt)

    async def _reserve(self, attempt: "_Attempt") -> None:
        wish = attempt.wish
        await self._costs.ask(Reserve(wish))
        if wish.state is State.WAITING:
            self._queued(attempt, "budget")
            await wish.decided()

        if wish.error is None:
            return

        if isinstance(wish.error, BudgetExhausted):
            self.emit(
                reached(wish.origin, wish.error, call=attempt.call, model=self.address)
            )

        raise wish.error

    def _tell_if_short(self, attempt: "_Attempt", allowed: int) -> None:
        """Tell of an output limit that the answer may well need more of."""
        wish = attempt.wish
        if allowed < wish.wanted and (wish.asked or allowed < ENOUGH):
            self.emit(
                CallShrunk(
                    origin=wish.origin,
                    call=attempt.call,
                    model=self.address,
                    wanted=wish.wanted,
                    allowed=allowed,
                )
            )

    def _out_of_time(self, attempt: "_Attempt") -> BudgetExhausted:
        wish = attempt.wish
        # The run's own time, the first of them, is its supervisor's to keep.
        below = wish.levels[1:]
        level = next(one for one in below if one.deadline == wish.deadline)
        seconds = f"{level.budget.seconds:g}"
        error = BudgetExhausted(level.name, "seconds", seconds, seconds, name=level.of)
        self.emit(reached(wish.origin, error, call=attempt.call, model=self.address))
        return error

    def _demand(self, request: ChatRequest, since: float) -> Demand:
        origin = request.origin
        if not self.gate.counts_tokens:
            return Demand(origin.run, origin.tier, since=since)

        return Demand(
            origin.run,
            origin.tier,
            estimate_request(request),
            request.max_output_tokens or 0,
            since,
        )

    def _queued(self, attempt: "_Attempt", reason: str) -> None:
        self.emit(
            ModelCallQueued(
                origin=attempt.wish.origin,
                call=attempt.call,
                model=self.address,
                reason=reason,
            )
        )

    # --- the call -------------------------------------------------------------

    async def _send_watched(
        self, attempt: "_Attempt", permit: Permit, on_chunk: OnChunk | None
    ) -> Completion:
        assert self._observer is not None  # noqa: S101 - asked by the caller
        request, number = attempt.request, attempt.number
        with ExitStack() as stack:
            try:
                watched = self._observer.chat(request, self.address, number)
                watch = stack.enter_context(watched)
            except BaseException as error:
                self._not_sent(attempt, permit)
                self.tell_failed(request, number, repr(error), None)
                raise

            if watch.headers:
                attempt.request = replace(attempt.request, headers=watch.headers)

            completion = await self._send(attempt, permit, _heard(watch, on_chunk))
            watch.completed(completion)
            return completion

    async def _send(
        self, attempt: "_Attempt", permit: Permit, on_chunk: OnChunk | None
    ) -> Completion:
        completion: Completion | None = None
        try:
            async with aclosing(self.provider.stream(attempt.request)) as stream:
                async for chunk in stream:
                    if isinstance(chunk, Completion):
                        completion = chunk
                        continue

                    if not attempt.received:
                        self.gate.accepted(permit)

                    attempt.take(chunk)
                    if on_chunk is not None:
                        on_chunk(chunk)
        except BaseException as error:
            if completion is None:
                self._settle_failed(attempt, permit, error)
            else:
                # The answer had come whole when its reader failed.
                self._settle(attempt, permit, completion)

            raise

        if completion is None:
            failure = self._incomplete(attempt)
            self._settle_failed(attempt, permit, failure)
            raise failure

        self._settle(attempt, permit, completion)
        return completion

    def _not_sent(self, attempt: "_Attempt", permit: Permit) -> None:
        self.gate.leave(permit, sent=False)
        self._costs.tell(Release(attempt.wish))

    def _incomplete(self, attempt: "_Attempt") -> ProtocolViolated:
        return ProtocolViolated(
            "the stream ended without a completion",
            ProviderFacts(
                provider=self.provider.name,
                model=self.name,
                in_stream=True,
                partial_text="".join(attempt.received),
            ),
        )

    # --- after ----------------------------------------------------------------

    def _settle(
        self, attempt: "_Attempt", permit: Permit, completion: Completion
    ) -> None:
        usage, state = completion.usage, CostState.BILLED
        if usage is None:
            turn = completion.turn
            said = turn.text + "".join(call.raw for call in turn.tool_calls)
            usage, state = attempt.estimate(said), CostState.ESTIMATED

        usd = self._cost(attempt, state, usage)
        self._answered(attempt, permit, usage, completion.limits)
        self.emit(
            ModelCallFinished(
                origin=attempt.wish.origin,
                call=attempt.call,
                model=self.address,
                finish=completion.finish.value,
                input_tokens=usage.input,
                output_tokens=usage.output,
                usd=usd,
                billed=self._billed,
                seconds=time.monotonic() - attempt.began,
            )
        )

    def _settle_failed(
        self, attempt: "_Attempt", permit: Permit, error: BaseException
    ) -> None:
        received = "".join(attempt.received)
        known = self.gate.limits
        if isinstance(error, ProviderError) and error.limits is not None:
            self.gate.learn(error.limits)
            self._tell_learnt(attempt, known)

        if isinstance(error, RateLimited | ProviderOverloaded) and not received:
            self._refused(attempt, permit, error)
        else:
            self.gate.leave(permit)

        if not isinstance(error, ProviderError):
            # Whoever catches a provider's error tells of it, and of the next attempt.
            words = str(error) if isinstance(error, Exception) else "cancelled"
            self.tell_failed(attempt.request, attempt.number, words, None)

        if received:
            self._cost(attempt, CostState.ESTIMATED, attempt.estimate(received))
        elif _was_turned_away(error):
            self._costs.tell(Release(attempt.wish, turned_away=True))
        else:
            self._cost(attempt, CostState.UNKNOWN, NO_USAGE)

    def _answered(
        self,
        attempt: "_Attempt",
        permit: Permit,
        usage: Usage,
        limits: RateLimits | None,
    ) -> None:
        if limits is None:
            self.gate.succeeded(permit, usage)
            return

        known = self.gate.limits
        self.gate.succeeded(permit, usage, limits)
        self._tell_learnt(attempt, known)

    def _tell_learnt(self, attempt: "_Attempt", known: dict[str, int]) -> None:
        for unit, limit in self.gate.limits.items():
            if known.get(unit) != limit:
                self.emit(
                    LimitLearnt(
                        origin=attempt.wish.origin,
                        call=attempt.call,
                        model=self.address,
                        unit=unit,
                        limit=limit,
                    )
                )

    def _refused(
        self, attempt: "_Attempt", permit: Permit, error: ProviderError
    ) -> None:
        before = self.gate.most_in_flight
        self.gate.refused(permit, error)
        self.emit(
            AccountRested(
                origin=attempt.wish.origin,
                call=attempt.call,
                model=self.address,
                error=str(error),
                seconds=self.gate.paused_for(),
                in_flight=self.gate.most_in_flight or 0,
                before=before or 0,
            )
        )

    def _cost(
        self, attempt: "_Attempt", state: CostState, usage: Usage
    ) -> Decimal | None:
        rates, usd, saved = self._rates, None, _ZERO
        if rates is not None and state is not CostState.UNKNOWN:
            usd = rates.cost(usage)
            if usage.cache_read or usage.cache_write:
                saved = rates.saved(usage)

        self._costs.tell(
            CostEvent(
                origin=attempt.wish.origin,
                call=attempt.call,
                model=self.address,
                state=state,
                usage=usage,
                usd=usd,
                billed=self._billed,
                saved=saved,
                reservation=attempt.wish,
            )
        )
        return usd


class _Attempt:
    """One attempt on its way, and what has come of it."""

    __slots__ = ("began", "call", "number", "received", "request", "wish")

    def __init__(self, request: ChatRequest, number: int, wish: Reservation) -> None:
        self.request = request
        self.number = number
        self.wish = wish
        self.call = call_name(request.origin, request.turn, number)
        self.received: list[str] = []
        self.began = time.monotonic()

    def take(self, chunk: Chunk) -> None:
        """Keep the text of *chunk*, to estimate what an unfinished answer costs."""
        if isinstance(chunk, ToolCallDelta):
            self.received.append(chunk.fragment)
        else:
            self.received.append(chunk.text)

    def estimate(self, said: str) -> Usage:
        """Count the request and what was *said* ourselves; never above what is held."""
        output = estimate_tokens(said)
        if self.wish.output is not None:
            output = min(output, self.wish.output)

        return Usage(
            input=min(estimate_request(self.request), self.wish.tokens), output=output
        )


def call_name(origin: Origin, turn: int, attempt: int) -> str:
    """Name one attempt of a call."""
    return f"{origin.call(turn)}.{attempt}"


def _heard(watch: ChatWatch, on_chunk: OnChunk | None) -> OnChunk:
    def hear(chunk: Chunk) -> None:
        watch.chunk()
        if on_chunk is not None:
            on_chunk(chunk)

    return hear


def _was_turned_away(error: BaseException) -> bool:
    # An HTTP error before the first chunk: the provider did no work and bills none.
    if not isinstance(error, ProviderError) or error.facts.in_stream:
        return False

    facts = error.facts
    return (
        facts.status is not None or not facts.sent or isinstance(error, ScriptUnmatched)
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
