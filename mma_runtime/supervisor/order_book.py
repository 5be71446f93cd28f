"""What people order while a run goes on: followed, recorded, followed again later."""

from collections.abc import Iterable
from typing import Protocol

import anyio

from mma_runtime.errors import Refused
from mma_runtime.events import Origin, RunPaused, RunResumed, TicketPrioritised
from mma_runtime.journal import Entry, Record
from mma_runtime.journal.journal import STALL
from mma_runtime.journal.kinds import ORDER, STEP
from mma_runtime.plan import Priority
from mma_runtime.supervisor.board import TicketCard
from mma_runtime.supervisor.job import Job
from mma_runtime.supervisor.orders import Order, OrderTicket
from mma_runtime.supervisor.schedule import Schedule


class Floor(Protocol):
    """Where the work is done that orders are about: the dispatch."""

    def is_at_work(self, ticket: str) -> bool:
        """Tell whether somebody works on *ticket*, or is still being stopped."""
        ...

    def is_over(self, track: str) -> bool:
        """Tell whether no ticket of *track* is open any more."""
        ...

    def stop_work(self, ticket: str) -> None:
        """Cancel who is at work on *ticket*, if anybody is."""
        ...

    def reopen(self, cards: Iterable[TicketCard], reason: str) -> None:
        """Let tickets wait again that had ended."""
        ...

    def close(self, cards: Iterable[TicketCard]) -> None:
        """Take note of tickets that have ended."""
        ...

    async def some_news(self) -> None:
        """Wait until something has changed."""
        ...


class OrderBook:
    """Follows the orders of one run; each is a step in its journal.

    A resumed run follows them again, each between the same steps of others and once
    the same tickets have failed.
    """

    def __init__(self, job: Job, schedule: Schedule, floor: Floor) -> None:
        self.is_paused: bool = False
        self._job = job
        self._schedule = schedule
        self._floor = floor
        self._count = 0
        # Ordered before the run was resumed, and not since.
        self._paused_before = False

    async def pause(self, reason: str) -> None:
        """Start no further ticket."""
        self._paused_before = False
        if not self.is_paused:
            failed = self._failed()
            self._pause(reason)
            await self._record("pause", failed, reason=reason)

    async def resume(self, reason: str) -> None:
        """Start tickets again."""
        if self.is_paused:
            failed = self._failed()
            self._go_on(reason)
            await self._record("resume", failed, reason=reason)

    async def follow(self, request: OrderTicket) -> tuple[str, ...]:
        """Do what was ordered of a ticket; return the ids of those that changed.

        Raises `Refused` when its state does not allow it.
        """
        failed = self._failed()
        changed = self._do(request)
        await self._record(
            request.order.value,
            failed,
            ticket=request.ticket,
            reason=request.reason,
            priority=request.priority.value,
        )
        return changed

    async def follow_again(self) -> None:
        """Follow what was ordered before the run was resumed."""
        journal = self._job.journal
        while journal.next_step(ORDER) is not None:
            order = journal.due_order()
            if order is not None and self._did_again(order):
                self._count += 1
                journal.take_turn()
                continue

            with anyio.move_on_after(STALL) as wait:
                await self._floor.some_news()

            if wait.cancelled_caught:
                journal.give_up_order()

        await journal.caught_up()
        if self._paused_before and not journal.strict:
            # Who resumes a run that was paused wants it to go on.
            self._go_on()

    def _did_again(self, order: Record) -> bool:
        """Follow a recorded order, if its time has come."""
        facts, cards = order.facts, self._job.board.tickets
        if any(name not in cards or cards[name].is_open for name in facts["failed"]):
            return False

        match facts["order"]:
            case "pause":
                self._paused_before = True
                self._pause(facts["reason"])
            case "resume":
                self._go_on(facts.get("reason", ""))
            case what:
                request = OrderTicket(
                    ticket=order.origin.ticket,
                    order=Order(what),
                    reason=facts["reason"],
                    priority=Priority(facts["priority"]),
                )
                try:
                    self._do(request)
                except Refused:
                    return False

                past = self._job.journal.past
                if request.order is Order.CANCEL and past is not None:
                    past.cut_off(
                        request.ticket, cards[request.ticket].attempts, order.seq
                    )

        return True

    def _do(self, request: OrderTicket) -> tuple[str, ...]:
        schedule, reason = self._schedule, request.reason
        card = schedule.card(request.ticket)
        ended: list[TicketCard] = []
        reopened: list[TicketCard] = []
        match request.order:
            case Order.BLOCK:
                ended = schedule.block(card, reason or "blocked by hand")
            case Order.CANCEL:
                was_open = card.is_open
                ended = schedule.cancel(card, reason or "cancelled by hand")
                if not was_open:
                    # That it has ended was noted when it was blocked.
                    self._job.emit(card.finished(self._job.run))
                    ended = ended[1:]
            case Order.SKIP:
                self._demand_reopenable(card)
                was_open = card.is_open
                skipped, *reopened = schedule.skip(card, reason or "skipped by hand")
                ended = [skipped] if was_open else []
                if not was_open:
                    self._job.emit(skipped.finished(self._job.run))
            case Order.UNBLOCK:
                self._demand_reopenable(card)
                reopened = schedule.unblock(card)
            case Order.RETRY:
                self._demand_reopenable(card)
                reopened = schedule.retry(card)
            case Order.PRIORITISE:
                schedule.prioritise(card, request.priority)
                origin = Origin(
                    run=self._job.run, track=card.track, ticket=card.ticket.id
                )
                self._job.emit(
                    TicketPrioritised(origin=origin, priority=request.priority.value)
                )

        self._floor.reopen(reopened, reason)
        self._floor.close(ended)
        # Only an order to cancel can be given to a ticket that is at work.
        self._floor.stop_work(request.ticket)
        changed = dict.fromkeys(one.ticket.id for one in (card, *ended, *reopened))
        return tuple(changed)

    def _demand_reopenable(self, card: TicketCard) -> None:
        """Refuse where nobody would do *card*, or somebody is still at work on it."""
        if card.is_open:
            return

        name = card.ticket.id
        if self._floor.is_at_work(name):
            raise Refused(f"the work on ticket {name!r} is still being stopped")

        if self._floor.is_over(card.track):
            what = f"track {card.track!r}" if card.track else "the run"
            raise Refused(
                f"{what} has no open ticket any more; ticket {name!r} stays as it is"
            )

    def _pause(self, reason: str) -> None:
        self.is_paused = True
        self._job.emit(RunPaused(origin=Origin(run=self._job.run), reason=reason))

    def _go_on(self, reason: str = "") -> None:
        self.is_paused = self._paused_before = False
        origin = Origin(run=self._job.run)
        self._job.emit(RunResumed(origin=origin, reason=reason))
        self._floor.close(())

    def _failed(self) -> list[str]:
        """Return the tickets that have ended without being done."""
        cards = self._job.board.tickets.values()
        return [one.ticket.id for one in cards if not (one.is_open or one.is_done)]

    async def _record(
        self, order: str, failed: list[str], *, ticket: str = "", **facts: str
    ) -> None:
        self._count += 1
        track = self._job.board.tickets[ticket].track if ticket else ""
        await self._job.journal.append(
            Entry(
                kind=STEP,
                origin=Origin(run=self._job.run, track=track, ticket=ticket),
                call=f"{ORDER}{self._count}",
                facts={"order": order, "failed": failed, **facts},
            )
        )
