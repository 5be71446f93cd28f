"""The handle through which everybody else speaks to an actor."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar, final

from anyio import CancelScope
from anyio.lowlevel import checkpoint_if_cancelled

from mma_runtime.kernel.cell import Cell
from mma_runtime.kernel.message import Message, Request, StreamRequest
from mma_runtime.kernel.reply import Reply, StreamReply
from mma_runtime.kernel.waiting import begin_wait, present_turn, refuse_cycle

ReplyT = TypeVar("ReplyT")
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What an actor was doing when it was asked for.

    *depth* and *capacity* are in messages, and *handled* counts those that are done
    with; *handling_seconds* is how long the message
    in hand has been handled, 0 when there is none.
    """

    depth: int
    capacity: int
    handled: int
    restarts: int
    handling_seconds: float


@final
class Ref:
    """A handle on an actor: it stays valid over restarts, and harmless after the end.

    Made by `spawn`, never by hand. Two refs are equal if they mean the same actor.
    """

    __slots__ = ("cell",)

    def __init__(self, cell: Cell) -> None:
        # For the kernel only.
        self.cell: Cell = cell

    @property
    def name(self) -> str:
        """The full name: `parent/child`."""
        return self.cell.name

    def tell(self, message: Message) -> None:
        """Send *message* without waiting, neither for room nor for its handling.

        To an actor that has ended, it is a dead letter.

        Raises:
            MailboxFull: there is no room, and the mailbox does not drop its oldest.
            UnhandledMessage: the actor has no handler for it.
        """
        cell = self.cell
        handlers = cell.kind.__handlers__
        handler = handlers.tells.get(type(message))
        if handler is None:
            handler = handlers.find(Message, message, cell.name)

        item = (handler, message, None)
        if not cell.mailbox.offer(item):
            cell.mailbox.squeeze_in(item)

    async def send(self, message: Message) -> None:
        """Send *message*, and wait for room in the mailbox if need be.

        A cancelled `send` has not sent, unless the actor took the message just then.

        Raises:
            AskCycle: there is no room, and the actor waits for the sender.
            MailboxFull: there is no room, and the actor's overflow is `reject`.
            UnhandledMessage: the actor has no handler for it.
        """
        await checkpoint_if_cancelled()
        cell = self.cell
        handlers = cell.kind.__handlers__
        handler = handlers.tells.get(type(message))
        if handler is None:
            handler = handlers.find(Message, message, cell.name)

        item = (handler, message, None)
        if not cell.mailbox.offer(item):
            turn = present_turn()
            if turn is not None:
                refuse_cycle(turn[0], cell)

            await cell.mailbox.wait_in(item)

    async def ask(self, request: Request[ReplyT]) -> ReplyT:
        """Ask, and wait for the answer.

        Cancelling the asker cancels the work on *request*, begun or not, and nothing
        else. There is no timeout parameter: write `with fail_after(seconds)`.

        Raises:
            ActorFailed: the handler raised; its error is the `__cause__`.
            ActorStopped: the actor has ended, or it ended before it answered.
            AskCycle: the actor waits, over others or not, for the asker.
            MailboxFull: there is no room, and the actor's overflow is not `wait`.
            Refused: the answer is no.
            UnhandledMessage: the actor has no handler for it.
        """
        cell = self.cell
        handlers = cell.kind.__handlers__
        handler = handlers.asks.get(type(request))
        if handler is None:
            handler = handlers.find(Request, request, cell.name)

        # Not `Reply[ReplyT](cell)`: calling an alias takes as long as the rest of this.
        reply: Reply[ReplyT] = Reply(cell)
        item = (handler, request, reply)
        asker = begin_wait(reply)
        try:
            life = cell.vacant
            if life is not None:
                await life.serve(item)
            elif not cell.mailbox.offer(item):
                await cell.mailbox.wait_in(item)

            return await reply.wait()
        finally:
            if not reply.done:
                cell.abandon(item)
            if asker is not None:
                del asker.waits[reply]

    @asynccontextmanager
    async def stream(
        self, request: StreamRequest[ItemT], *, buffer: int = 16
    ) -> AsyncGenerator[AsyncIterator[ItemT]]:
        """Ask for a stream: `async with ref.stream(request) as items`.

        The actor makes at most *buffer* items in advance and handles nothing else until
        the stream is over. Leaving the block early cancels the work, and nothing else.
        The iteration raises what `ask` raises, after the items that came before the
        error.

        Raises:
            ValueError: *buffer* is less than 1 item.
        """
        if buffer < 1:
            raise ValueError(f"a stream needs a buffer of at least 1, not {buffer}")

        cell = self.cell
        handlers = cell.kind.__handlers__
        handler = handlers.streams.get(type(request))
        if handler is None:
            handler = handlers.find(StreamRequest, request, cell.name)

        reply = StreamReply[ItemT](cell, buffer)
        item = (handler, request, reply)
        asker = begin_wait(reply)
        try:
            if not cell.mailbox.offer(item):
                await cell.mailbox.wait_in(item)

            yield reply
        finally:
            if not reply.done:
                cell.abandon(item)
            if asker is not None:
                del asker.waits[reply]

    def stop(self) -> None:
        """End the actor for good after the message in hand, within its grace.

        This passes what is queued, which is answered with `ActorStopped`. To have all
        of it handled first, ask for something last.
        """
        self.cell.stop()

    async def join(self) -> None:
        """Wait until the actor has ended for good.

        Cancelling the wait leaves the actor alone.
        """
        await self.cell.join()

    def link(self, scope: CancelScope) -> None:
        """Have *scope* cancelled when the actor has ended; at once if it has.

        For work that is done beside an actor and must not go on without it.
        """
        self.cell.link(scope)

    def statistics(self) -> Statistics:
        """Return a snapshot of the actor and its mailbox."""
        cell = self.cell
        return Statistics(
            depth=len(cell.mailbox.queue),
            capacity=cell.mailbox.capacity,
            handled=cell.handled,
            restarts=cell.restarts,
            handling_seconds=cell.handling_seconds,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other.cell is self.cell

    def __hash__(self) -> int:
        return hash(self.cell)

    def __repr__(self) -> str:
        return f"<Ref {self.cell.name!r} of {self.cell.kind.__qualname__}>"
