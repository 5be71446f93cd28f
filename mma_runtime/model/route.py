"""One model at one provider: what it costs, how fast it may be asked, one attempt."""

import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from math import inf

import anyio

from mma_runtime.costs import CostEvent, CostState, Ledger, Release
from mma_runtime.costs.reservations import WRAP_UP_INPUT, Reservation, WrapUp
from mma_runtime.errors import (
    ProtocolViolated,
    ProviderError,
    ProviderFacts,
    ProviderOverloaded,
    RateLimited,
)
from mma_runtime.events import (
    AccountRested,
    Event,
    LimitLearnt,
    ModelCallFailed,
    ModelCallFinished,
    ModelCallStarted,
)
from mma_runtime.governor import Gate
from mma_runtime.governor.breaker import Breaker
from mma_runtime.governor.queueing import Permit
from mma_runtime.kernel import Ref
from mma_runtime.llm.chat import ChatRequest, Chunk, Completion
from mma_runtime.llm.pricing import Rates
from mma_runtime.llm.provider import Provider
from mma_runtime.llm.tokens import InputBound
from mma_runtime.llm.usage import NO_USAGE, Usage
from mma_runtime.model.admission import Admission
from mma_runtime.model.attempt import (
    Attempt,
    Call,
    OnChunk,
    call_name,
    was_turned_away,
)
from mma_runtime.observing import ChatWatch, RunObserver
from mma_runtime.rate_limits import RateLimits

_ZERO = Decimal(0)

BeforeSend = Callable[[ChatRequest, int, Reservation], Awaitable[None]]
"""Takes a request, the number of its attempt, and what is reserved for it."""

DEFAULT_OUTPUT = 4_096
"""The output limit where a budget needs one and nobody knows the model's, in tokens.

Every model in use takes as much.
"""

REASONING_OUTPUT = 32_768
"""The same of a model that thinks unseen, in tokens; its thoughts are in it.

Every such model in use takes as much, and with less may not come to its answer.
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
        self._capabilities = provider.capabilities(name)
        # The limit that holds where none is sent along with the request.
        self._unasked = (
            self._capabilities.default_output or self._capabilities.max_output
        )
        self._costs = costs
        self.emit = emit
        self._rates = rates
        self._bound = InputBound()
        self._observer = observer
        self._admission = Admission(
            self.address, costs=costs, gate=self.gate, emit=emit, unasked=self._unasked
        )
        self._ledger: Ledger | None = None
        self.before_send: BeforeSend | None = None

    def write_to(self, ledger: Ledger) -> None:
        """Put calls down in *ledger*, of which no level is limited, without asking."""
        self._admission.tree = ledger.tree
        self._ledger = ledger

    async def attempt(self, call: Call, number: int) -> Completion:
        """Send the request of *call*, as its attempt with that *number*.

        Who has waited longest goes first.

        Raises:
            ProviderError: The provider did not answer as asked.
            BudgetExhausted: There is no room for the attempt, or its time was up.
        """
        request, on_chunk = call.request, call.on_chunk
        wish = self._wish(request, call.wrap_up)
        thinks = self._thinks(request)
        attempt = Attempt(request, number, wish, thinks=thinks)
        try:
            permit = await self._admission.admit(attempt, call)
        except BaseException:
            self._costs.tell(Release(wish))
            raise

        call.deadline = wish.deadline
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
        if self._observer is None:
            sending = self._send(attempt, permit, on_chunk)
        else:
            sending = self._send_watched(attempt, permit, on_chunk)

        try:
            if wish.deadline == inf:
                return await sending

            with anyio.CancelScope(deadline=wish.deadline):
                return await sending
        finally:
            self._leave_nothing(attempt, permit)

        raise self._admission.out_of_time(attempt)

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

    def _wish(self, request: ChatRequest, wrap_up: WrapUp) -> Reservation:
        tokens = self._bound.of(request)
        asked = request.max_output_tokens
        wanted = asked or self._unasked or self._default_output(request)
        rates, quote, later = self._rates, None, None
        if rates is not None:
            quote = rates.quote(tokens)
            if wrap_up is WrapUp.KEEP:
                # What it says and what tools say may lead to another step of the price.
                later = rates.quote(tokens + wanted + WRAP_UP_INPUT)

        return Reservation(
            request.origin,
            self.address,
            tokens=tokens,
            wanted=wanted,
            quote=quote,
            later=later,
            asked=asked is not None,
            billed=self._billed,
            wrap_up=wrap_up,
        )

    def _thinks(self, request: ChatRequest) -> bool:
        return self._capabilities.thinks(request.reasoning_effort)

    def _default_output(self, request: ChatRequest) -> int:
        return REASONING_OUTPUT if self._thinks(request) else DEFAULT_OUTPUT

    # --- the call -------------------------------------------------------------

    async def _send_watched(
        self, attempt: Attempt, permit: Permit, on_chunk: OnChunk | None
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
        self, attempt: Attempt, permit: Permit, on_chunk: OnChunk | None
    ) -> Completion:
        completion: Completion | None = None
        try:
            stream = self.provider.stream(attempt.request)
            try:
                async for chunk in stream:
                    if isinstance(chunk, Completion):
                        completion = chunk
                        continue

                    if isinstance(chunk, Usage):
                        attempt.told = chunk
                        continue

                    if not attempt.received:
                        self.gate.accepted(permit)

                    attempt.take(chunk)
                    if on_chunk is not None:
                        on_chunk(chunk)
            finally:
                await stream.aclose()
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

    def _not_sent(self, attempt: Attempt, permit: Permit) -> None:
        self.gate.leave(permit, sent=False)
        attempt.has_left = True
        self._release(attempt)

    def _leave_nothing(self, attempt: Attempt, permit: Permit) -> None:
        """Give back and count what is not yet: an odd answer can stop its counting."""
        if not attempt.has_left:
            self.gate.leave(permit)

        if not attempt.is_counted:
            self._cost(attempt, CostState.UNKNOWN, NO_USAGE)

    def _incomplete(self, attempt: Attempt) -> ProtocolViolated:
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

    def _settle(self, attempt: Attempt, permit: Permit, completion: Completion) -> None:
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
        self, attempt: Attempt, permit: Permit, error: BaseException
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

        attempt.has_left = True
        if not isinstance(error, ProviderError):
            # Whoever catches a provider's error tells of it, and of the next attempt.
            words = str(error) if isinstance(error, Exception) else "cancelled"
            self.tell_failed(attempt.request, attempt.number, words, None)

        if received or attempt.told.output:
            self._cost(attempt, CostState.ESTIMATED, attempt.estimate(received))
        elif was_turned_away(error):
            self._release(attempt, turned_away=True)
        else:
            self._cost(attempt, CostState.UNKNOWN, NO_USAGE)

    def _answered(
        self,
        attempt: Attempt,
        permit: Permit,
        usage: Usage,
        limits: RateLimits | None,
    ) -> None:
        known = self.gate.limits if limits is not None else {}
        self.gate.succeeded(permit, usage, limits)
        attempt.has_left = True
        if limits is not None:
            self._tell_learnt(attempt, known)

    def _tell_learnt(self, attempt: Attempt, known: dict[str, int]) -> None:
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

    def _refused(self, attempt: Attempt, permit: Permit, error: ProviderError) -> None:
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

    def _release(self, attempt: Attempt, *, turned_away: bool = False) -> None:
        attempt.is_counted = True
        self._costs.tell(Release(attempt.wish, turned_away))

    def _cost(self, attempt: Attempt, state: CostState, usage: Usage) -> Decimal | None:
        rates, usd, saved = self._rates, None, _ZERO
        if rates is not None and state is not CostState.UNKNOWN:
            rates = rates.earlier(time.monotonic() - attempt.began)
            usd = rates.cost(usage)
            if usage.cache_read or usage.cache_write:
                saved = rates.saved(usage)

        event = CostEvent(
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
        attempt.is_counted = True
        if self._ledger is not None and state is CostState.BILLED:
            # There is nothing to warn of, and nothing that is not known.
            self._ledger.add(event)
        else:
            self._costs.tell(event)

        return usd


def _heard(watch: ChatWatch, on_chunk: OnChunk | None) -> OnChunk:
    def hear(chunk: Chunk) -> None:
        watch.chunk()
        if on_chunk is not None:
            on_chunk(chunk)

    return hear
