"""The system: the top of the tree of actors, and where it ends."""

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import ParamSpec, Self

from anyio import (
    AsyncContextManagerMixin,
    CancelScope,
    create_task_group,
    current_time,
)
from anyio.abc import TaskGroup

from mma_runtime.arguments import check_callable
from mma_runtime.errors import ActorStopped
from mma_runtime.kernel.actor import Actor, check_name, spawn
from mma_runtime.kernel.family import Family
from mma_runtime.kernel.ref import Ref
from mma_runtime.kernel.registry import Emit, Registry
from mma_runtime.kernel.supervision import Policy, Strategy

P = ParamSpec("P")


class ActorSystem(AsyncContextManagerMixin):
    """Actors by name, for the time of one `async with`; nothing of them outlives it.

    Leaving the block stops all actors, the youngest first: each finishes the message in
    hand, and what is not done within *grace* seconds altogether is cancelled. Leaving
    it by an error or by cancellation cancels them at once, in the same order.

    When an actor at the top fails too often, the block is cancelled, and the failure
    leaves it in an `ExceptionGroup`.

    *emit* is called with each event; it must neither block nor raise. For the actors at
    the top *strategy* is as in `Actor`, *intensity* how many restarts are allowed
    within how many seconds, and *backoff* the shortest and longest delay before one, in
    seconds. *jitter* returns a number from 0 to 1, which spreads restarts.
    """

    def __init__(
        self,
        emit: Emit | None = None,
        *,
        strategy: Strategy = Actor.strategy,
        intensity: tuple[int, float] = Actor.intensity,
        backoff: tuple[float, float] = Actor.backoff,
        grace: float = Actor.grace,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if emit is not None:
            check_callable("emit", emit, "a function of one event")

        self._emit = emit
        self._policy = Policy(strategy=strategy, intensity=intensity, backoff=backoff)
        self._grace = grace
        self._jitter = jitter
        self._registry: Registry | None = None
        self._family: Family | None = None

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        error: Exception | None = None
        async with create_task_group() as group:
            self._open(group)
            try:
                yield self
            except Exception as caught:  # noqa: BLE001 - raised below, unwrapped
                error = caught
                await self._close(-inf)
            except BaseException:
                await self._close(-inf)
                raise
            else:
                await self._close(current_time() + self._grace)

        failures = self._registry.failures if self._registry is not None else []
        if failures:
            causes = [*failures, error] if error is not None else failures
            raise ExceptionGroup("actors failed beyond repair", causes)

        if error is not None:
            raise error

    async def spawn(
        self, name: str, kind: Callable[P, Actor], *args: P.args, **kwargs: P.kwargs
    ) -> Ref:
        """Start an actor at the top and return once it has entered its lifespan.

        The arguments are for its constructor; the same ones serve each restart. If
        cancelled, the actor has ended before this returns.

        Raises:
            ActorStartFailed: the constructor or the entry of the lifespan raised.
            ArgumentInvalid: *kind* is no class of actors, or *name* no text without /.
            ActorStopped: the system is being left, or was not entered.
            NameTaken: another live actor has that name.
        """
        if self._registry is None or self._family is None:
            raise ActorStopped("system", "enter it with `async with` first")
        if self._family.is_closed:
            raise ActorStopped("system", "it has been left")

        family, registry = self._family, self._registry
        name = check_name(name)
        return await spawn(name, family, registry, kind, args=args, kwargs=kwargs)

    def whereis(self, name: str) -> Ref | None:
        """Return the live actor with that full name, if there is one."""
        if self._registry is None:
            return None

        cell = self._registry.actors.get(name)
        return Ref(cell) if cell is not None else None

    @property
    def dead_letters(self) -> int:
        """How many messages nobody handled so far."""
        return self._registry.dead_letters if self._registry is not None else 0

    def _open(self, group: TaskGroup) -> None:
        registry = self._registry = Registry(group, self._emit, self._jitter)
        self._family = Family(registry, self._policy, registry)

    async def _close(self, deadline: float) -> None:
        family = self._family
        registry = self._registry
        assert family is not None and registry is not None  # noqa: S101, PT018 - `_open`
        registry.is_closing = True
        try:
            with CancelScope(shield=deadline == -inf):
                await family.stop(deadline)
        except BaseException:
            with CancelScope(shield=True):
                await family.stop(-inf)

            raise
