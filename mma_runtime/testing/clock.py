"""Event loops whose clock jumps to the next deadline when there is nothing to do."""

import asyncio  # noqa: TID251 - its loop is what gets another clock
import selectors
from typing import Any

from trio.testing import MockClock  # noqa: TID251 - trio's own virtual clock


class _Selector(selectors.SelectSelector):
    """Never waits: tells its loop how long it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            self.skipped += timeout

        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop with a clock of its own; for code that uses no threads."""

    def __init__(self) -> None:
        self._jumps = _Selector()
        super().__init__(self._jumps)

    def time(self) -> float:
        """Return the seconds that were not waited for."""
        return self._jumps.skipped


def virtual_backend(name: str) -> tuple[str, dict[str, Any]]:
    """Return `asyncio` or `trio` with virtual time, as anyio's tests and `run` take it.

    Time stands still while any task can run, and jumps to the next deadline when none
    can, so an hour costs no more than a second. What waits for a thread, a process or
    the network must not share a loop with it: its deadlines would come at once.

    Raises:
        ValueError: There is no such backend.
    """
    match name:
        case "trio":
            return name, {"clock": MockClock(autojump_threshold=0)}
        case "asyncio":
            return name, {"loop_factory": VirtualLoop}
        case _:
            raise ValueError(f"{name!r} is neither 'asyncio' nor 'trio'")
