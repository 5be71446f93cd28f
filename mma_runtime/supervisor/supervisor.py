"""The supervisor: parent of a run's tier agents, takes orders while they work."""

from typing import ClassVar

from mma_runtime.costs import CostAggregator
from mma_runtime.kernel import Actor, handles
from mma_runtime.kernel.supervision import Restart
from mma_runtime.outcome import RunState
from mma_runtime.supervisor.crew import Crew
from mma_runtime.supervisor.dispatch import Dispatch
from mma_runtime.supervisor.job import Job
from mma_runtime.supervisor.orders import (
    CancelRun,
    OrderTicket,
    PauseRun,
    ResumeRun,
    StartRun,
)


class Supervisor(Actor):
    """Keeps the agents of one job, and passes orders on to its *dispatch*.

    The work itself is done beside it, in the run's own task, so that it takes messages
    meanwhile: cancelling a run ends it at once.
    """

    restart: ClassVar[Restart] = "temporary"
    # Most runs are given no order.
    in_askers_task: ClassVar[bool] = True

    def __init__(self, job: Job, dispatch: Dispatch) -> None:
        self._job = job
        self._dispatch = dispatch

    @handles
    async def start(self, _request: StartRun) -> None:
        """Make ready for work: what was ordered before has been done by then."""
        job = self._job
        costs = await self.spawn("costs", CostAggregator, job.ledger, job.emit)
        self._dispatch.crew = Crew(job, self, costs)

    @handles
    async def cancel(self, message: CancelRun) -> None:
        """End the run as cancelled."""
        self._dispatch.end(RunState.CANCELLED, message.reason)

    @handles
    async def pause(self, message: PauseRun) -> None:
        """Start no further ticket."""
        await self._dispatch.order_book.pause(message.reason)

    @handles
    async def resume(self, message: ResumeRun) -> None:
        """Start tickets again."""
        await self._dispatch.order_book.resume(message.reason)

    @handles
    async def order(self, request: OrderTicket) -> tuple[str, ...]:
        """Do what was ordered of a ticket; refuse what its state does not allow."""
        await self._dispatch.laid_out()
        return await self._dispatch.order_book.follow(request)
