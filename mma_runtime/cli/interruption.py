"""Ctrl-C and SIGTERM: the first ends the run in order, the second at once."""

import os
import signal
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus

from mma_runtime.cli.exit_codes import ExitCode


class Interruption:
    """Watches for signals while a run goes on.

    *tell* is given a line for people at each signal, *leave* is called before the
    process ends at once. Set `stop` to what the first signal is to call, with the
    reason in words, and `farewell` to what is said at the second.
    """

    def __init__(self, tell: Callable[[str], None], leave: Callable[[], None]) -> None:
        self.stop: Callable[[str], None] = lambda _reason: None
        self.farewell: str = "left at once"
        self._tell = tell
        self.signal: signal.Signals | None = None
        self._leave = leave

    @property
    def exit_code(self) -> int | None:
        """The code that tells of the signal, if there was one."""
        return None if self.signal is None else ExitCode.SIGNAL + self.signal

    async def watch(self, *, task_status: TaskStatus[None]) -> None:
        """Take signals until cancelled."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if self.signal is not None:
                    self._leave()
                    self._tell(self.farewell)
                    os._exit(ExitCode.SIGNAL + number)

                self.signal = number
                self._tell("stopping; again to leave at once")
                self.stop(f"interrupted by {number.name}")
