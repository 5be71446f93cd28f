"""Where deliveries report to, and how an attempt that came to nothing is told."""

from typing import Protocol

from mma_runtime.outcome import TicketState
from mma_runtime.plan import Ticket
from mma_runtime.supervisor.board import TicketCard


class Desk(Protocol):
    """Where deliveries report to: the dispatch."""

    def ended(self, card: TicketCard) -> None:
        """Take note that the ticket's delivery is over."""
        ...

    def room(self, track: str) -> int:
        """Return how many tickets Tier 2 may still add to *track*."""
        ...

    def taken(self) -> frozenset[str]:
        """Return the ids of all tickets of the run."""
        ...

    def add(self, tickets: tuple[Ticket, ...], track: str) -> None:
        """Have further tickets of *track* done; they have been checked."""
        ...


class Rejected(Exception):
    """An attempt came to nothing.

    *by* is who said so, *state* how the ticket ends if no other attempt is made,
    *final* that no other helps. *shown* is what the next worker is told, if it is more.
    """

    def __init__(
        self,
        by: str,
        reason: str,
        *,
        state: TicketState = TicketState.FAILED,
        final: bool = False,
        shown: str = "",
    ) -> None:
        self.by = by
        self.reason = reason
        self.state = state
        self.final = final
        self.shown: str = shown or reason
        super().__init__(reason)
