"""Waiting for something to change."""

import anyio


class News:
    """Wakes all who wait when something has changed; no wait sees an earlier change.

    It holds nothing while nobody waits: runs have several of these, mostly unheard.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def tell(self) -> None:
        """Wake everybody."""
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        """Wait for the next change. Cancelling the wait leaves the others alone."""
        if self._event is None:
            self._event = anyio.Event()

        await self._event.wait()
