"""The place for the one answer to one request, or for a stream of them."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar, Generic, Self, TypeVar

from anyio import Event

T = TypeVar("T")


class Reply(Generic[T]):
    """The one answer to one request: made by the asker, filled once, read once.

    It belongs to one ask, so an answer that comes too late has nowhere to go. *owner*
    is whoever owes the answer.
    """

    __slots__ = ("_error", "_event", "_value", "done", "owner")

    is_stream: ClassVar[bool] = False

    _value: T

    def __init__(self, owner: Any) -> None:
        self.owner: Any = owner
        self.done: bool = False
        self._error: BaseException | None = None
        self._event: Event | None = None

    def answer(self, value: T) -> None:
        """Answer with *value*."""
        self._value = value
        self._finish()

    def fail(self, error: BaseException) -> None:
        """Answer with *error*, which is raised where the answer is waited for.

        If it was answered already, that answer stands.
        """
        if not self.done:
            self._error = error
            self._finish()

    async def wait(self) -> T:
        """Return the answer, or raise the error that came instead."""
        if not self.done:
            self._event = Event()
            await self._event.wait()

        self._raise_error()
        return self._value

    def _finish(self) -> None:
        self.done = True
        if self._event is not None:
            self._event.set()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is None:
            return

        try:
            raise error
        finally:
            # The traceback holds this frame: without this, a cycle for the collector.
            del error


class StreamReply(Reply[None], AsyncIterator[T]):
    """A bounded stream of answers: the handler waits when *buffer* items lie ready."""

    __slots__ = ("_buffer", "_items", "_room")

    is_stream: ClassVar[bool] = True

    def __init__(self, owner: Any, buffer: int) -> None:
        super().__init__(owner)
        self._buffer = buffer
        self._items: deque[T] = deque()
        self._room: Event | None = None

    async def fill(self, work: AsyncGenerator[T]) -> None:
        """Run the handler, an async generator, while there is room for its items."""
        async with aclosing(work):
            async for item in work:
                while len(self._items) >= self._buffer:
                    self._room = Event()
                    await self._room.wait()

                self._items.append(item)
                if self._event is not None:
                    self._event.set()

        self.answer(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self.done:
                self._raise_error()
                raise StopAsyncIteration

            self._event = Event()
            await self._event.wait()

        if self._room is not None:
            self._room.set()

        return self._items.popleft()
