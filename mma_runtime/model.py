"""What tier agents call: a model, or the first of several that is to be had."""

import itertools
import random
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import anyio

from mma_runtime.attempt import Call, OnChunk, call_name
from mma_runtime.errors import ProviderError
from mma_runtime.events import ModelFellBack
from mma_runtime.governor import too_long
from mma_runtime.llm.chat import ChatRequest, Completion
from mma_runtime.llm.provider import Provider
from mma_runtime.reservations import WrapUp
from mma_runtime.retries import RetryPolicy
from mma_runtime.route import Route


class Model:
    """A model that tier agents call, with others to fall back on.

    *route* is the model, *fallbacks* are others, tried in order when it is not to be
    had. *provider*, *name* and *address* (`provider:model`) are those of the first.
    """

    def __init__(
        self, route: Route, *fallbacks: Route, retry: RetryPolicy | None = None
    ) -> None:
        self.provider: Provider = route.provider
        self.name: str = route.name
        self.address: str = route.address
        self.has_fallbacks: bool = bool(fallbacks)
        self._route = route
        self.routes: tuple[Route, ...] = (route, *fallbacks)
        self._retry = retry or RetryPolicy()

    def complete(
        self,
        request: ChatRequest,
        on_chunk: OnChunk | None = None,
        *,
        wrap_up: WrapUp = WrapUp.NONE,
    ) -> Coroutine[Any, Any, Completion]:
        """Send *request* and return the completion; *on_chunk* sees it grow.

        Retries what may succeed when sent again. *wrap_up* says what the call has to do
        with its ticket's concluding turn. A cancelled call closes its connection and is
        counted as estimated or unknown, not as zero.

        Raises:
            ProviderError: The model cannot be reached or does not take the request.
            BudgetExhausted: A budget has no room for the call.
        """
        # No coroutine of its own: it would be one more for each call under way.
        call = Call(request, on_chunk, wrap_up)
        if self.has_fallbacks:
            return self._fall_back(call)

        return self._ask(self._route, call)

    async def _ask(self, route: Route, call: Call) -> Completion:
        """Ask one model until it answers or it is of no use to ask again."""
        first_failure: float | None = None
        for tries in itertools.count(1):
            number = next(call.numbers)
            try:
                return await route.attempt(call, number)
            except ProviderError as error:
                now = anyio.current_time()
                if first_failure is None:
                    call.since = first_failure = now

                elapsed = now - first_failure
                draw = random.random()  # noqa: S311 - a jitter, not a secret
                wait = self._retry.delay(error, tries, draw, elapsed)
                final = self._retry.why_final(error, tries, elapsed)
                rests = route.gate.paused_for()
                retry_in = None if wait is None else max(wait, rests)
                route.tell_failed(call.request, number, str(error), retry_in, final)
                if wait is None:
                    asked = error.facts.retry_after
                    if asked is not None and asked > self._retry.patience:
                        raise too_long(error, asked) from error

                    if tries > 1 and error.retryable:
                        raise _given_up(error, tries, now - first_failure) from error

                    raise

            # Where the account rests, its gate does the waiting. When the time of a
            # budget is up, the next attempt is refused.
            await anyio.sleep(0 if rests else min(wait, call.deadline - now))

        raise AssertionError  # pragma: no cover - `count` has no end

    async def _fall_back(self, call: Call) -> Completion:
        before: Route | None = None
        why: ProviderError | None = None
        failure: ProviderError | None = None
        for route in self.routes:
            if before is not None:
                self._step(call, before, route, why)

            before, why = route, None
            openings = route.breaker.admits(anyio.current_time())
            if openings is None:
                continue

            call.request = replace(call.request, model=route.name)
            try:
                completion = await self._ask(route, call)
            except ProviderError as error:
                now = anyio.current_time()
                if not route.breaker.failed(error, now, openings):
                    raise

                why = failure = error
            except BaseException:
                route.breaker.left(openings)
                raise
            else:
                route.breaker.answered()
                return completion

        if failure is not None:
            raise failure

        # All are left alone: better to try than not.
        call.request = replace(call.request, model=self.name)
        return await self._ask(self._route, call)

    def _step(
        self, call: Call, route: Route, to: Route, error: ProviderError | None
    ) -> None:
        origin, turn = call.request.origin, call.request.turn
        route.emit(
            ModelFellBack(
                origin=origin,
                call=call_name(origin, turn, 1),
                model=route.address,
                to=to.address,
                error="" if error is None else str(error),
                seconds=route.breaker.rests_for(anyio.current_time()),
            )
        )


def _given_up(error: ProviderError, tries: int, seconds: float) -> ProviderError:
    """Word that a call was sent again in vain."""
    tried = f"given up after {tries} attempts in {seconds:,.0f} s"
    message = f"{error.message}; {tried}" if error.message else tried
    return type(error)(message, error.facts)
