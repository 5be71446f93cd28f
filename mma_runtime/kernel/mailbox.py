"""A bounded queue with one reader, the actor."""

from collections import deque
from typing import Any, Literal

from anyio import Event

from mma_runtime.kernel.message import Handler, Terminated
from mma_runtime.kernel.reply import Reply

Overflow = Literal["wait", "reject", "drop_oldest"]
"""What a full mailbox does: let `send` and `ask` wait, refuse, or drop its oldest."""

Item = tuple[Handler, Any, Reply[Any] | None]
"""A message with its handler, and the place for the answer if one is due."""


class Mailbox:
    """First in, first out, and bounded; it survives restarts of its actor.

    `room` is the length up to which items are taken without further ado: 0 while
    senders wait (nobody overtakes them) and once the mailbox is closed.
    """

    __slots__ = ("_room", "_senders", "_wake", "capacity", "closed", "queue")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.closed = False
        self.queue: deque[Item] = deque()
        self._room = capacity
        self._wake: Event | None = None
        self._senders: dict[Event, Item] = {}

    def offer(self, item: Item) -> bool:
        """Take *item* if there is room."""
        queue = self.queue
        if len(queue) >= self._room:
            return False

        queue.append(item)
        if self._wake is not None:
            self.wake()

        return True

    def push(self, item: Item) -> None:
        """Take *item* whether there is room or not: a message of the kernel itself."""
        self.queue.append(item)
        self.wake()

    async def put(self, item: Item) -> bool:
        """Wait for room; `False` if the mailbox was closed meanwhile.

        If cancelled, *item* is not in the mailbox, unless it was taken just then.
        """
        admitted = Event()
        self._senders[admitted] = item
        self._room = 0
        try:
            await admitted.wait()
        except BaseException:
            if self._senders.pop(admitted, None) is None:
                self.withdraw(item)

            self._admit()
            raise

        return self._senders.pop(admitted, None) is None

    def take(self) -> Item:
        """Return the oldest item, and let the next sender in."""
        item = self.queue.popleft()
        if self._senders:
            self._admit()

        return item

    def withdraw(self, item: Item) -> bool:
        """Take *item* out again; `False` if it is not there (any more)."""
        for index, other in enumerate(self.queue):
            if other is item:
                del self.queue[index]
                self._admit()
                return True

        return False

    def drop_oldest(self) -> Item | None:
        """Take out the oldest item that is no message of the kernel itself."""
        for index, item in enumerate(self.queue):
            if not isinstance(item[1], Terminated):
                del self.queue[index]
                return item

        return None

    async def wait(self) -> None:
        """Wait until there is an item, or until `wake` is called."""
        if not self.queue:
            self._wake = Event()
            await self._wake.wait()

    def wake(self) -> None:
        """Wake the reader."""
        if self._wake is not None:
            self._wake.set()
            self._wake = None

    def close(self) -> list[Item]:
        """Take no more; return what is left, and turn the waiting senders away."""
        self.closed = True
        self._room = 0
        for admitted in self._senders:
            admitted.set()

        left = list(self.queue)
        self.queue.clear()
        return left

    def _admit(self) -> None:
        if self.closed:
            return

        while self._senders and len(self.queue) < self.capacity:
            admitted = next(iter(self._senders))
            self.queue.append(self._senders.pop(admitted))
            admitted.set()

        if not self._senders:
            self._room = self.capacity
