"""Who waits for a model, and who is next: by tier, by run, by time."""

from collections.abc import Collection, Iterator
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import NamedTuple

import anyio

from mma_runtime.errors import ProviderError
from mma_runtime.events.event import LOWER_TIER
from mma_runtime.governor.windows import NO_CHARGES, Charges

PATIENCE = 30.0
"""Seconds after which a waiting lower tier gets every other place."""

LONG_WAIT = 60.0
"""A rest of an account that callers are not left to wait for, in seconds."""


class Demand(NamedTuple):
    """Who wants to send a request, and how large: *output* is the most it may say.

    *since* is when its call was first wanted, in the event loop's time; 0 is now.
    *patience* is how long a rest of the account the caller waits for, in seconds.
    """

    run: str = ""
    tier: str = ""
    input: int = 0
    output: int = 0
    since: float = 0.0
    patience: float = LONG_WAIT


class Permit:
    """The leave to send one request; given back when it is over."""

    __slots__ = ("charges", "demand", "is_probe", "sent_at")

    def __init__(
        self, demand: Demand, sent_at: float, charges: Charges = NO_CHARGES
    ) -> None:
        self.demand: Demand = demand
        self.sent_at: float = sent_at
        self.charges: Charges = charges
        self.is_probe: bool = False


class Waiter:
    """A caller that waits for *model*; `gone` is one that does not any more."""

    __slots__ = ("demand", "error", "gone", "model", "news", "permit", "since")

    def __init__(self, demand: Demand, since: float, model: str = "") -> None:
        self.demand: Demand = demand
        self.since: float = since
        self.model: str = model
        self.permit: Permit | None = None
        self.error: ProviderError | None = None
        self.gone: bool = False
        self.news: anyio.Event = anyio.Event()


_Line = list[tuple[float, int, Waiter]]


class Queue:
    """Who waits for a place: by tier, then by turns between runs, then by time."""

    def __init__(self) -> None:
        # By model and run: who waits for one model is in nobody's way at another.
        self._lines: tuple[dict[tuple[str, str], _Line], ...] = ({}, {})
        self._served: tuple[dict[str, int], ...] = ({}, {})
        # How often the run that went last in each rank had been served before.
        self._turn = [0, 0]
        self._count = count()
        self._above_in_a_row = 0

    def __iter__(self) -> Iterator[Waiter]:
        """Iterate over all who wait, in no order."""
        for lines in self._lines:
            for line in lines.values():
                yield from (waiter for *_, waiter in line if not waiter.gone)

    def push(self, waiter: Waiter) -> None:
        """Put *waiter* in its line, by the time at which it first came."""
        rank = int(waiter.demand.tier == LOWER_TIER)
        run = waiter.demand.run
        lines, served = self._lines[rank], self._served[rank]
        key = (waiter.model, run)
        if key not in lines:
            lines[key] = []
            # Whoever was away does not get to make up for it.
            served[run] = max(served.get(run, 0), self._turn[rank])

        heappush(lines[key], (waiter.since, next(self._count), waiter))

    def head(self, now: float, held: Collection[str] = ()) -> tuple[Waiter, int] | None:
        """Return who is next, and from which rank; nobody for a *held* model."""
        above, below = (self._first(rank, held) for rank in (0, 1))
        if above is None or below is None:
            first = above or below
            return None if first is None else (first, int(above is None))

        aged = now - below.since > PATIENCE
        if aged and self._above_in_a_row:
            return below, 1

        return above, 0

    def pop(self, waiter: Waiter, rank: int) -> None:
        """Take out the head."""
        run = waiter.demand.run
        heappop(self._lines[rank][waiter.model, run])
        served = self._served[rank]
        self._turn[rank] = served[run]
        served[run] += 1
        self._above_in_a_row = 0 if rank else self._above_in_a_row + 1

    def _first(self, rank: int, held: Collection[str]) -> Waiter | None:
        lines, served = self._lines[rank], self._served[rank]
        best, standing = None, (inf, inf, inf)
        for key in tuple(lines):
            line = lines[key]
            while line and line[0][2].gone:
                heappop(line)

            if not line:
                del lines[key]
            elif key[0] not in held:
                since, number, waiter = line[0]
                if (served[key[1]], since, number) < standing:
                    best, standing = waiter, (served[key[1]], since, number)

        if not lines:
            served.clear()
            self._turn[rank] = 0

        return best
