"""The children of one parent: started in order, stopped in reverse, repaired."""

from contextlib import AsyncExitStack
from math import inf
from typing import Protocol

from anyio import CancelScope, Lock, current_time, sleep

from mma_runtime.errors import ActorStartFailed, RestartsExhausted
from mma_runtime.kernel.incarnation import describe
from mma_runtime.kernel.registry import Registry
from mma_runtime.kernel.supervision import (
    Policy,
    Restart,
    RestartBudget,
    affected,
    comes_back,
    delay,
)


class Child(Protocol):
    """What a family needs of its children; `Cell` is the one class that has it."""

    @property
    def name(self) -> str: ...

    @property
    def restart(self) -> Restart: ...

    @property
    def is_down(self) -> bool:
        """Whether it waits to be started again."""
        ...

    async def start_again(self, delay: float, reason: str) -> None: ...
    async def halt(self, reason: str) -> None: ...
    def stop(self, deadline: float) -> None: ...
    def tighten(self, deadline: float) -> None: ...
    def end(self, failure: BaseException | None) -> None: ...
    async def join(self) -> None: ...


class Parent(Protocol):
    """Who fails when a child fails too often: an actor, or the whole system."""

    def fail(self, error: RestartsExhausted, /) -> None: ...


class Family:
    """The children of one parent, in the order of their start.

    A failure is repaired in a task of its own, never in the parent's: a parent that
    waits for a child's answer must not be needed to restart that child.
    """

    __slots__ = (
        "_budget",
        "_children",
        "_lock",
        "_parent",
        "_policy",
        "_registry",
        "_repairs",
        "is_closed",
    )

    def __init__(
        self,
        registry: Registry,
        policy: Policy,
        parent: Parent,
    ) -> None:
        self.is_closed: bool = False
        self._registry = registry
        self._policy = policy
        self._parent = parent
        self._budget: RestartBudget | None = None
        self._children: dict[str, Child] = {}
        self._repairs: dict[CancelScope, None] = {}
        # Children that fail alone are repaired side by side; groups may overlap.
        self._lock = None if policy.strategy == "one_for_one" else Lock()

    def adopt(self, child: Child) -> None:
        """Take *child* as the youngest."""
        self._children[child.name] = child

    def forget(self, child: Child) -> None:
        """Let go of a child that has ended for good."""
        self._children.pop(child.name, None)

    def went_down(self, child: Child, failure: BaseException | None) -> None:
        """Decide about *child*, which ended unasked: it comes back, or it ends."""
        failed = failure is not None
        if self.is_closed or not comes_back(child.restart, failed=failed):
            child.end(failure)
        else:
            self._registry.group.start_soon(self._repair, child, failure)

    def tighten(self, deadline: float) -> None:
        """Give children that are being stopped no longer than until *deadline*."""
        for child in list(self._children.values()):
            child.tighten(deadline)

    async def stop(self, deadline: float) -> None:
        """Stop all children, the youngest first, and wait for each.

        If cancelled, it can be called again to go on.
        """
        while not self.stop_nowait(deadline):
            await self._children[next(reversed(self._children))].join()

    def stop_nowait(self, deadline: float) -> bool:
        """Stop children, the youngest first, until one has to be waited for.

        Returns whether there was none.
        """
        self.is_closed = True
        for scope in list(self._repairs):
            scope.cancel()

        while self._children:
            name, child = next(reversed(self._children.items()))
            child.stop(deadline)
            if name in self._children:
                return False

        return True

    async def _repair(self, child: Child, failure: BaseException | None) -> None:
        with CancelScope(shield=True) as scope:
            self._repairs[scope] = None
            try:
                async with AsyncExitStack() as stack:
                    if self._lock is not None:
                        await stack.enter_async_context(self._lock)

                    # It may have come back with its siblings, or have been stopped.
                    if child.is_down:
                        await self._bring_back(child, failure)
            finally:
                del self._repairs[scope]

    async def _bring_back(self, child: Child, failure: BaseException | None) -> None:
        if self._budget is None:
            self._budget = RestartBudget(*self._policy.intensity)

        restart = self._budget.spend(current_time())
        if restart is None:
            error = RestartsExhausted(child.name, *self._policy.intensity)
            error.__cause__ = failure
            child.end(failure)
            self._parent.fail(error)
            return

        children = list(self._children.values())
        group = affected(self._policy.strategy, children, child)
        for sibling in reversed(group):
            if sibling.restart == "temporary":
                sibling.stop(-inf)
                await sibling.join()
            else:
                await sibling.halt(f"it is restarted because {child.name!r} failed")

        why = describe(failure) if failure is not None else "it ended"
        seconds = delay(self._policy.backoff, restart, self._registry.jitter())
        await sleep(seconds)
        for sibling in group:
            if sibling.is_down:
                try:
                    await sibling.start_again(
                        seconds, why if sibling is child else f"{child.name!r} failed"
                    )
                except ActorStartFailed as error:
                    self.went_down(sibling, error)
                    return
