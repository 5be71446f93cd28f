"""What lives in a runtime's `async with` block: its runs and the host's own actors."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup, TaskStatus

from mma_runtime.bus import Bus
from mma_runtime.costs.report import CostReport
from mma_runtime.costs.tally import Tally
from mma_runtime.events import ActorEvent, Event
from mma_runtime.kernel import ActorSystem
from mma_runtime.kernel.incarnation import alone
from mma_runtime.runtime.run import Run
from mma_runtime.runtime.staffing import ProviderPool
from mma_runtime.runtime.tool_servers import SUFFIX


class Household:
    """The runs of a runtime, and beside them the host's own actors, its `guests`.

    Guests end after the runs, so that tools may ask them; what happens to them is on
    the `bus`. The providers of *pool* are closed when all is over.
    """

    def __init__(self, pool: ProviderPool) -> None:
        self._pool = pool
        self._runs: dict[str, Run] = {}
        self._spent = Tally()
        self._system: ActorSystem | None = None
        self._was_left = False
        self.bus: Bus = Bus()
        self.guests: ActorSystem = ActorSystem(emit=self.bus.emit)
        self._failure: BaseException | None = None
        self._tasks: TaskGroup
        self._closing: anyio.Event
        self._runs_ended: anyio.Event

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Let runs and guests live for the length of the block.

        Leaving it ends the runs in order, and so does cancelling it. Raises what a
        guest failed with, which ends the block, or what the block raised. An interrupt,
        or another exception that is no `Exception`, ends the block wherever it comes
        from, a tool or a provider, and leaves it.
        """
        self._closing, self._runs_ended = anyio.Event(), anyio.Event()
        error: BaseException | None = None
        try:
            async with anyio.create_task_group() as group:
                await group.start(self._serve)
                await group.start(self._house_guests, group.cancel_scope)
                try:
                    yield
                except Exception as caught:  # noqa: BLE001 - raised below, unwrapped
                    error = caught
                finally:
                    self._closing.set()
        except BaseExceptionGroup as wrapped:
            error = alone(wrapped)

        # Outside of the group, which would wrap it: a host catches what was raised.
        if self._failure is not None:
            raise self._failure from error

        if error is not None:
            raise error

    def in_use(self) -> ActorSystem:
        """Return where runs are at work; raises `RuntimeError` when none may begin."""
        if self._system is None:
            if self._was_left:
                raise RuntimeError("the runtime has been left: its `async with` ended")

            raise RuntimeError("use the runtime inside `async with`")

        if self._closing.is_set():
            # Those at work have been told to end; nobody would tell this one.
            raise RuntimeError("the runtime is being left")

        return self._system

    def begin(self, run: Run) -> None:
        """Let *run* go on in the background; raises as `in_use`."""
        system = self.in_use()
        self._runs[run.id] = run
        self._tasks.start_soon(self._conduct, run, system)

    def costs(self) -> CostReport:
        """Return what all runs have spent so far, those that have ended included."""
        return self._spent.report(run.costs() for run in self._runs.values())

    async def _serve(self, *, task_status: TaskStatus[None]) -> None:
        # Shielded from the host's cancellation, which ends the runs in order instead:
        # their workers and tools are cancelled, then their costs are counted.
        with anyio.CancelScope(shield=True):
            try:
                async with (
                    ActorSystem(emit=self._route) as self._system,
                    anyio.create_task_group() as self._tasks,
                ):
                    task_status.started()
                    await self._closing.wait()
                    for run in self._runs.values():
                        run.stop("the runtime was closed")
            finally:
                # Also after an interrupt: the guests wait for it behind a shield.
                self._system, self._was_left = None, True
                self._runs_ended.set()
                await self._pool.aclose()

    async def _house_guests(
        self, host: anyio.CancelScope, *, task_status: TaskStatus[None]
    ) -> None:
        """Keep the host's own actors until no run can need them any more."""
        try:
            with anyio.CancelScope(shield=True):
                async with self.guests:
                    task_status.started()
                    await self._runs_ended.wait()
        except Exception as failure:  # noqa: BLE001 - raised where the runtime is left
            self._failure = alone(failure)
            host.cancel()
        finally:
            self.bus.close()

    async def _conduct(self, run: Run, system: ActorSystem) -> None:
        try:
            await run._conduct(system)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - ours
        finally:
            self._spent.add(run.costs())
            del self._runs[run.id]

    def _route(self, event: Event) -> None:
        """Hand a kernel event to the run that the actor belongs to."""
        if isinstance(event, ActorEvent):
            run = self._runs.get(event.actor.partition("/")[0].removesuffix(SUFFIX))
            if run is not None:
                # The kernel knows of no runs; nobody else has seen the event yet.
                bus = run._bus  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - ours
                object.__setattr__(event, "origin", bus.origin)
                bus.emit(event)
