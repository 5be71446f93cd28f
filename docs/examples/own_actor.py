"""An actor of one's own beside the tiers: it gives up tickets that become too dear.

It owns the sums, so nothing is locked. It lives under the runtime's supervision: when
it fails it is started again, and it ends after the runs do.

    python own_actor.py [SCENARIO [DOLLARS]]
"""

import sys
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

import anyio

from mma_runtime import Actor, Message, Request, Run, Runtime, handles
from mma_runtime.errors import Refused
from mma_runtime.events import ModelCallFinished


@dataclass(frozen=True, slots=True)
class Paid(Message):
    """A call for *ticket* has cost *usd* US dollars."""

    ticket: str
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Sums(Request[dict[str, Decimal]]):
    """Asks what each ticket has cost."""


class Thrift(Actor):
    """Gives up each ticket of *run* that has cost more than *limit* US dollars."""

    def __init__(self, run: Run, limit: Decimal) -> None:
        self._run = run
        self._limit = limit
        self._sums: dict[str, Decimal] = {}

    @handles
    async def add(self, message: Paid) -> None:
        """Add it up, and act."""
        total = self._sums.get(message.ticket, Decimal(0)) + message.usd
        self._sums[message.ticket] = total
        if message.ticket and total > self._limit:
            with suppress(Refused):  # It has ended already.
                await self._run.cancel_ticket(message.ticket, f"${total} is too dear")

    @handles
    async def report(self, _request: Sums) -> dict[str, Decimal]:
        """Say what each ticket has cost."""
        return self._sums


async def main() -> None:
    """Run a scenario under the eye of `Thrift`."""
    path = sys.argv[1] if len(sys.argv) > 1 else "scenarios/quickstart.yaml"
    limit = sys.argv[2] if len(sys.argv) > 2 else "0.05"
    async with Runtime() as runtime:
        run = await runtime.start(path)
        thrift = await runtime.spawn("thrift", Thrift, run, Decimal(limit))
        async for event in run.events():
            if isinstance(event, ModelCallFinished) and event.usd is not None:
                await thrift.send(Paid(event.origin.ticket, event.usd))

        for ticket, usd in (await thrift.ask(Sums())).items():
            print(f"{ticket or '(no ticket)':>14}  ${usd}")

        outcome = await run.outcome()
        print(outcome.state, outcome.reason)


anyio.run(main)
