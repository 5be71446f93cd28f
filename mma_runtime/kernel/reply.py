"""The place for the one answer to one request."""

from collections.abc import Awaitable
from typing import Any, Generic, TypeVar

from anyio import Event

T = TypeVar("T")


class Reply(Generic[T]):
    """The one answer to one request: made by the asker, filled once, read once.

    It belongs to one ask, so an answer that comes too late has nowhere to go. *owner*
    is whoever owes the answer.
    """

    __slots__ = ("_error", "_event", "_value", "done", "owner")

    _value: T

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.done = False
        self._error: BaseException | None = None
        self._event: Event | None = None

    def answer(self, value: T) -> None:
        """Answer with *value*; the first answer counts."""
        if not self.done:
            self._value = value
            self._finish()

    def fail(self, error: BaseException) -> None:
        """Answer with *error*, which is raised where the answer is waited for."""
        if not self.done:
            self._error = error
            self._finish()

    async def wait(self) -> T:
        """Return the answer, or raise the error that came instead."""
        if not self.done:
            self._event = Event()
            await self._event.wait()

        error, self._error = self._error, None
        if error is None:
            return self._value

        try:
            raise error
        finally:
            # The traceback holds this frame: without this, a cycle for the collector.
            del error

    async def fill(self, work: Awaitable[T]) -> None:
        """Do the work of the handler and answer with what it returns."""
        self.answer(await work)

    def _finish(self) -> None:
        self.done = True
        if self._event is not None:
            self._event.set()
