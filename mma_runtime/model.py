"""One model of one provider: retries, prices and events around each call."""

import itertools
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import anyio

from mma_runtime.costs import CostEvent, CostState
from mma_runtime.errors import (
    ProtocolViolated,
    ProviderError,
    ProviderFacts,
    ScriptUnmatched,
)
from mma_runtime.events import (
    Event,
    ModelCallFailed,
    ModelCallFinished,
    ModelCallStarted,
    Origin,
)
from mma_runtime.kernel import Ref
from mma_runtime.llm.chat import ChatRequest, Chunk, Completion, ToolCallDelta
from mma_runtime.llm.pricing import Rates
from mma_runtime.llm.provider import Provider
from mma_runtime.llm.tokens import estimate_request, estimate_tokens
from mma_runtime.llm.usage import NO_USAGE, Usage

OnChunk = Callable[[Chunk], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed call is sent again.

    At most *attempts* calls in all. The wait is random between 0 and *base* · 2ⁿ
    seconds, at most *longest*; a provider that names a time is obeyed up to
    *patience* seconds, beyond that the error is final. Nothing is sent again after
    output has begun: it would be paid for twice.
    """

    attempts: int = 4
    base: float = 0.5
    longest: float = 20.0
    patience: float = 60.0

    def delay(self, error: ProviderError, attempt: int, draw: float) -> float | None:
        """Return the wait in seconds before the next attempt, `None` to give up.

        *attempt* counts from 1 and *draw* is a random number from 0 to 1.
        """
        facts = error.facts
        begun = facts.in_stream and facts.partial_text
        if not error.retryable or begun or attempt >= self.attempts:
            return None

        if facts.retry_after is not None:
            return facts.retry_after if facts.retry_after <= self.patience else None

        return draw * min(self.longest, self.base * 2.0 ** (attempt - 1))


class Model:
    """A model that tier agents call.

    *address* is `provider:model`. *rates* is `None` where no price is known. Every call
    becomes events for *emit* and one cost event for *costs*, also when it fails or is
    cancelled.
    """

    def __init__(
        self,
        provider: Provider,
        name: str,
        *,
        costs: Ref,
        emit: Callable[[Event], None],
        rates: Rates | None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.provider = provider
        self.name = name
        self.address = f"{provider.name}:{name}"
        self._billed = provider.priced_as(name)[2]
        self._costs = costs
        self._emit = emit
        self._rates = rates
        self._retry = retry or RetryPolicy()

    async def complete(
        self, request: ChatRequest, on_chunk: OnChunk | None = None
    ) -> Completion:
        """Send *request* and return the completion; *on_chunk* sees it grow.

        Retries what may succeed when sent again. Raises `ProviderError`. A cancelled
        call closes its connection and is counted as estimated or unknown, not as zero.
        """
        for attempt in itertools.count(1):
            try:
                return await self._attempt(request, attempt, on_chunk)
            except ProviderError as error:
                delay = self._retry.delay(error, attempt, random.random())  # noqa: S311 - a jitter, not a secret
                self._emit(
                    ModelCallFailed(
                        origin=request.origin,
                        call=call_name(request.origin, request.turn, attempt),
                        model=self.address,
                        error=str(error),
                        retry_in=delay,
                    )
                )
                if delay is None:
                    raise

            await anyio.sleep(delay)

        raise AssertionError  # pragma: no cover - `count` has no end

    async def _attempt(
        self, request: ChatRequest, attempt: int, on_chunk: OnChunk | None
    ) -> Completion:
        call = call_name(request.origin, request.turn, attempt)
        self._emit(
            ModelCallStarted(
                origin=request.origin, call=call, model=self.address, attempt=attempt
            )
        )
        began = time.monotonic()
        received: list[str] = []
        completion: Completion | None = None
        try:
            async with aclosing(self.provider.stream(request)) as stream:
                async for chunk in stream:
                    match chunk:
                        case Completion():
                            completion = chunk
                        case ToolCallDelta():
                            received.append(chunk.fragment)
                        case _:
                            received.append(chunk.text)

                    if on_chunk is not None and not isinstance(chunk, Completion):
                        on_chunk(chunk)
        except BaseException as error:
            # Cancellation too: what was received by then has been paid for.
            if completion is None and not _was_turned_away(error):
                self._settle_unfinished(request, call, received)

            raise

        if completion is None:
            self._settle_unfinished(request, call, received)
            raise ProtocolViolated(
                "the stream ended without a completion",
                ProviderFacts(
                    provider=self.provider.name,
                    model=self.name,
                    in_stream=True,
                    partial_text="".join(received),
                ),
            )

        self._settle(request, call, completion, time.monotonic() - began)
        return completion

    def _settle(
        self, request: ChatRequest, call: str, completion: Completion, seconds: float
    ) -> None:
        usage = completion.usage
        known = usage is not None
        usd = self._rates.cost(usage) if usage is not None and self._rates else None
        self._costs.tell(
            CostEvent(
                origin=request.origin,
                call=call,
                model=self.address,
                state=CostState.BILLED if known else CostState.UNKNOWN,
                usage=usage or NO_USAGE,
                usd=usd,
                billed=self._billed,
            )
        )
        self._emit(
            ModelCallFinished(
                origin=request.origin,
                call=call,
                model=self.address,
                finish=completion.finish.value,
                input_tokens=usage.input if usage else 0,
                output_tokens=usage.output if usage else 0,
                usd=usd,
                billed=self._billed,
                seconds=seconds,
            )
        )

    def _settle_unfinished(
        self, request: ChatRequest, call: str, received: list[str]
    ) -> None:
        output = estimate_tokens("".join(received))
        usage = Usage(input=estimate_request(request), output=output)
        estimated = bool(received) and self._rates is not None
        self._costs.tell(
            CostEvent(
                origin=request.origin,
                call=call,
                model=self.address,
                state=CostState.ESTIMATED if estimated else CostState.UNKNOWN,
                usage=usage if received else NO_USAGE,
                usd=self._rates.cost(usage) if received and self._rates else None,
                billed=self._billed,
            )
        )


def call_name(origin: Origin, turn: int, attempt: int) -> str:
    """Name a call by what it is for, so that the same run names it the same again."""
    whom = origin.ticket or origin.track
    return f"{origin.task}/{whom}/{origin.attempt}.{turn}.{attempt}"


def _was_turned_away(error: BaseException) -> bool:
    # An HTTP error before the first chunk: the provider did no work and bills none.
    return (
        isinstance(error, ProviderError)
        and not error.facts.in_stream
        and (error.facts.status is not None or isinstance(error, ScriptUnmatched))
    )
