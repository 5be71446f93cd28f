from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mma_runtime.errors import Refused
from mma_runtime.outcome import TicketState
from mma_runtime.plan import Ticket
from mma_runtime.supervisor.board import Board, TicketCard
from mma_runtime.supervisor.order_book import OrderBook
from mma_runtime.supervisor.orders import Order, OrderTicket
from mma_runtime.supervisor.schedule import Schedule


class Floor:
    """Somebody works on the tickets *at_work*; the tracks *over* have ended."""

    def __init__(self, at_work: str = "", over: str = "none") -> None:
        self._at_work = at_work
        self._over = over

    def is_at_work(self, ticket: str) -> bool:
        return ticket == self._at_work

    def is_over(self, track: str) -> bool:
        return track == self._over

    def stop_work(self, ticket: str) -> None: ...

    def reopen(self, cards: Iterable[TicketCard], reason: str) -> None: ...

    def close(self, cards: Iterable[TicketCard]) -> None: ...

    async def some_news(self) -> None: ...


def book(floor: Floor, state: TicketState, track: str = "") -> OrderBook:
    board = Board()
    schedule = Schedule(board.tickets)
    ticket = Ticket(id="one", description="d")
    schedule.add(board.add_tickets([ticket], track).values())
    board.tickets["one"].state = state
    job = SimpleNamespace(board=board)
    return OrderBook(cast("Any", job), schedule, floor)


@pytest.mark.parametrize("order", [Order.RETRY, Order.SKIP])
async def test_what_is_still_being_stopped_does_not_begin_anew(order: Order) -> None:
    orders = book(Floor(at_work="one"), TicketState.CANCELLED)

    with pytest.raises(Refused, match="work on ticket 'one' is still being stopped"):
        await orders.follow(OrderTicket(ticket="one", order=order))


@pytest.mark.parametrize(
    ("order", "state"),
    [
        (Order.RETRY, TicketState.FAILED),
        (Order.SKIP, TicketState.FAILED),
        (Order.UNBLOCK, TicketState.BLOCKED),
    ],
)
@pytest.mark.parametrize(
    ("track", "named"), [("", "the run"), ("slugs", "track 'slugs'")]
)
async def test_nothing_begins_anew_where_nothing_is_open_any_more(
    order: Order, state: TicketState, track: str, named: str
) -> None:
    orders = book(Floor(over=track), state, track)

    with pytest.raises(Refused, match=f"{named} has no open ticket any more"):
        await orders.follow(OrderTicket(ticket="one", order=order))


async def test_an_unknown_ticket_is_refused() -> None:
    orders = book(Floor(), TicketState.PENDING)

    with pytest.raises(Refused, match="no ticket 'onw'; did you mean `one`"):
        await orders.follow(OrderTicket(ticket="onw", order=Order.SKIP))
