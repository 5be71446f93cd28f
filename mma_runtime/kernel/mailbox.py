"""A bounded queue with one reader, and what becomes of what does not fit."""

from collections import deque
from typing import Any, Literal, Protocol

from anyio import Event

from mma_runtime.errors import ActorStopped, MailboxFull
from mma_runtime.events import MessageDropped
from mma_runtime.kernel.message import Handler, Terminated
from mma_runtime.kernel.registry import Registry
from mma_runtime.kernel.reply import Reply

Overflow = Literal["wait", "reject", "drop_oldest"]
"""What a full mailbox does: let `send` and `ask` wait, refuse, or drop its oldest."""

Item = tuple[Handler, Any, Reply[Any] | None]
"""A message with its handler, and the place for the answer if one is due."""


class Bell(Protocol):
    """What rouses the reader of a mailbox, once: an event, or the reader itself."""

    def set(self) -> object: ...


class Mailbox:
    """First in, first out, and bounded; it survives restarts of its actor.

    `queue` is for the reader. Nobody overtakes a sender that waits for room.
    """

    __slots__ = (
        "_dead_letters",
        "_dropped",
        "_overflow",
        "_owner",
        "_registry",
        "_room",
        "_senders",
        "_wake",
        "capacity",
        "closed_by",
        "queue",
    )

    def __init__(
        self, owner: str, capacity: int, overflow: Overflow, registry: Registry
    ) -> None:
        self.capacity: int = capacity
        # Why no more is taken; empty while it is open.
        self.closed_by: str = ""
        self.queue: deque[Item] = deque()
        self._owner = owner
        self._overflow: Overflow = overflow
        self._registry = registry
        self._dead_letters = 0
        self._dropped = 0
        self._wake: Bell | None = None
        # The length up to which `offer` takes items: 0 while senders wait or if closed.
        self._room = capacity
        self._senders: dict[Event, Item] | None = None

    # --- senders --------------------------------------------------------------

    def offer(self, item: Item) -> bool:
        """Take *item* if there is room."""
        queue = self.queue
        if len(queue) >= self._room:
            return False

        queue.append(item)
        if self._wake is not None:
            self.wake()

        return True

    def squeeze_in(self, item: Item) -> None:
        """Do with *item*, for which there is no room, what is due without waiting.

        Raises:
            MailboxFull: nothing can be done.
        """
        if self.closed_by:
            self._turn_away(item)
        elif self._overflow == "drop_oldest":
            self._drop_oldest()
            self.push(item)
        else:
            raise MailboxFull(self._owner, self.capacity)

    async def wait_in(self, item: Item) -> None:
        """Do with *item*, for which there is no room, what is due; wait if allowed.

        If cancelled, *item* is not in the mailbox, unless it was taken just then.

        Raises:
            MailboxFull: the mailbox is full and rejects.
        """
        if self.closed_by or self._overflow != "wait":
            self.squeeze_in(item)
            return

        if self._senders is None:
            self._senders = {}

        admitted = Event()
        self._senders[admitted] = item
        self._room = 0
        try:
            await admitted.wait()
        except BaseException:
            if self._senders.pop(admitted, None) is None:
                self.withdraw(item)
            else:
                self._admit()

            raise

        if self._senders.pop(admitted, None) is not None:
            self._turn_away(item)

    def push(self, item: Item) -> None:
        """Take *item* whether there is room or not: a message of the kernel itself."""
        if not self.closed_by:
            self.queue.append(item)
            self.wake()

    def withdraw(self, item: Item) -> None:
        """Take *item* out again if it is still there."""
        for index, other in enumerate(self.queue):
            if other is item:
                del self.queue[index]
                self._admit()
                return

    # --- the reader -----------------------------------------------------------

    def take(self) -> Item:
        """Return the oldest item, and let the next sender in."""
        item = self.queue.popleft()
        if self._senders:
            self._admit()

        return item

    async def wait(self) -> None:
        """Wait until `wake` is called: an item has come, or something else is up."""
        event = self._wake = Event()
        await event.wait()

    def leave_to(self, bell: Bell | None) -> None:
        """Have *bell* set by the next `wake`, where nobody waits."""
        self._wake = bell

    def wake(self) -> None:
        """Wake the reader."""
        bell, self._wake = self._wake, None
        if bell is not None:
            bell.set()

    # --- the end --------------------------------------------------------------

    def close(self, reason: str) -> None:
        """Take no more; turn away what is left and who waits."""
        if self.closed_by:
            return

        self.closed_by = reason
        self._room = 0
        for admitted in self._senders or ():
            admitted.set()

        while self.queue:
            self._turn_away(self.queue.popleft())

    def dead_letter(self, message: object, reason: str) -> None:
        """Count a message that nobody handles, and tell of it."""
        self._dead_letters += 1
        self._registry.dead_letter(self._owner, message, reason, self._dead_letters)

    def _turn_away(self, item: Item) -> None:
        _, message, reply = item
        if reply is None:
            self.dead_letter(message, self.closed_by)
        else:
            reply.fail(ActorStopped(self._owner, self.closed_by))

    def _admit(self) -> None:
        if self.closed_by or self._senders is None:
            return

        while self._senders and len(self.queue) < self.capacity:
            admitted = next(iter(self._senders))
            self.queue.append(self._senders.pop(admitted))
            admitted.set()

        if not self._senders:
            self._room = self.capacity

    def _drop_oldest(self) -> None:
        for index, (_, message, reply) in enumerate(self.queue):
            if not isinstance(message, Terminated):
                del self.queue[index]
                self._tell_of_drop(message, reply)
                return

    def _tell_of_drop(self, message: object, reply: Reply[Any] | None) -> None:
        if reply is not None:
            reply.fail(MailboxFull(self._owner, self.capacity))

        self._dropped += 1
        emit = self._registry.emit
        if emit is not None:
            kind = type(message).__qualname__
            emit(MessageDropped(actor=self._owner, message=kind, count=self._dropped))
