"""What tier agents call: a model, or the first one of several that is available."""

import random
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import anyio

from mma_runtime.costs.reservations import WrapUp
from mma_runtime.errors import ProviderError, ProviderOverloaded, RateLimited
from mma_runtime.events import ModelFellBack
from mma_runtime.governor import too_long
from mma_runtime.governor.queueing import LONG_WAIT
from mma_runtime.governor.retries import RetryPolicy
from mma_runtime.llm.chat import ChatRequest, Completion
from mma_runtime.llm.provider import Provider
from mma_runtime.model.attempt import Call, OnChunk, call_name
from mma_runtime.model.route import Route

BRIEF_REST = 5.0
"""A rest of an account that a call waits for though another model is free, in seconds.

Shorter ones are how an account's unknown limits are felt for, and soon over.
"""


_PLAIN = RetryPolicy()

BUSY = (RateLimited, ProviderOverloaded)
"""Errors after which an account rests."""


class Model:
    """A model that tier agents call, with others to fall back on.

    *route* is the model, *fallbacks* are others, tried in order when it is not
    available. *provider*, *name* and *address* (`provider:model`) are the first one's.
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
        self._retry = retry or _PLAIN

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
        tries = 0
        while True:
            tries += 1
            call.attempts = number = call.attempts + 1
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
                goes_elsewhere = isinstance(error, BUSY) and call.patience < min(
                    rests, LONG_WAIT
                )
                if goes_elsewhere:
                    wait, final = None, "another model is asked meanwhile"

                retry_in = None if wait is None else max(wait, rests)
                route.tell_failed(call.request, number, str(error), retry_in, final)
                if wait is None:
                    if goes_elsewhere:
                        raise

                    asked = error.facts.retry_after
                    if asked is not None and asked > self._retry.patience:
                        raise too_long(error, asked) from error

                    if tries > 1 and error.retryable:
                        raise _given_up(error, tries, now - first_failure) from error

                    raise

            # Where the account rests, its gate does the waiting. When the time of a
            # budget is up, the next attempt is refused.
            left = max(0.0, call.deadline - now)
            await anyio.sleep(0 if rests else min(wait, left))

    async def _fall_back(self, call: Call) -> Completion:
        before: Route | None = None
        why: ProviderError | None = None
        failure: ProviderError | None = None
        resting: list[Route] = []
        for place, route in enumerate(self.routes, 1):
            if before is not None:
                self._step(call, before, route, why)

            has_others = bool(resting) or any(map(_is_free, self.routes[place:]))
            result = await self._try(route, call, has_others=has_others)
            if isinstance(result, Completion):
                return result

            before, why = route, result
            failure = result or failure
            if route.gate.paused_for() and not route.breaker.is_open:
                resting.append(route)

        if failure is not None and not resting:
            raise failure

        # Where all are left alone it is better to try than not.
        last = min(resting or [self._route], key=_rests)
        call.patience = LONG_WAIT
        call.request = replace(call.request, model=last.name)
        completion = await self._ask(last, call)
        last.breaker.answered()
        return completion

    async def _try(
        self, route: Route, call: Call, *, has_others: bool
    ) -> Completion | ProviderError | None:
        """Ask one of several models; return why not, or `None` if it is left alone."""
        openings = route.breaker.admits(anyio.current_time())
        if openings is None:
            return None

        if has_others and not _is_free(route):
            route.breaker.left(openings)
            return None

        call.patience = BRIEF_REST if has_others else LONG_WAIT
        call.request = replace(call.request, model=route.name)
        try:
            completion = await self._ask(route, call)
        except ProviderError as error:
            if isinstance(error, BUSY) and has_others and not _is_free(route):
                # Its gate knows until when, and then lets one call try.
                route.breaker.left(openings)
            elif not route.breaker.failed(error, anyio.current_time(), openings):
                raise

            return error
        except BaseException:
            route.breaker.left(openings)
            raise

        route.breaker.answered()
        return completion

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
                seconds=_rests(route),
            )
        )


def _rests(route: Route) -> float:
    """Return the seconds for which the model is left alone yet, or its account."""
    breaker = route.breaker.rests_for(anyio.current_time())
    return max(breaker, route.gate.paused_for())


def _is_free(route: Route) -> bool:
    return _rests(route) <= BRIEF_REST


def _given_up(error: ProviderError, tries: int, seconds: float) -> ProviderError:
    """Word that a call was sent again in vain."""
    tried = f"given up after {tries} attempts in {seconds:,.0f} s"
    message = f"{error.message}; {tried}" if error.message else tried
    return type(error)(message, error.facts)
