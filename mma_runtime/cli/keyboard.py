"""A terminal that somebody types on, read without holding up the event loop."""

import os
import sys
import termios
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO

import anyio


class Keyboard:
    """Reads lines from the terminal *fd*, which must not block.

    The terminal stays in its usual mode: it echoes and lets lines be corrected, and
    Ctrl-C is a signal as ever.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def line(self) -> str | None:
        """Wait for a line; `None` when none will come any more.

        Cancelling the wait leaves what was typed so far to the next `line`.
        """
        while True:
            await anyio.wait_readable(self._fd)
            try:
                typed = os.read(self._fd, 65_536)
            except BlockingIOError:
                # Somebody else has read it, or Ctrl-C has thrown it away.
                continue
            except OSError:
                # The terminal is gone.
                return None

            return typed.decode(errors="replace").rstrip("\r\n") if typed else None

    def forget(self) -> None:
        """Throw away what was typed and not read: it was not meant for what comes."""
        termios.tcflush(self._fd, termios.TCIFLUSH)

    @contextmanager
    def lent(self) -> Generator[None]:
        """Leave the terminal to another program for a block, then mend its mode."""
        mode = termios.tcgetattr(self._fd)
        try:
            yield
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)


@contextmanager
def open_keyboard() -> Generator[Keyboard | None]:
    """Open the terminal that the program was started on for a block.

    It is `None` where nobody can be asked: without a terminal for questions and for
    answers, in the background, or where the terminal is another user's.
    """
    fd = _open_terminal() if _is_somebody_there() else None
    if fd is None:
        yield None
        return

    try:
        yield Keyboard(fd)
    finally:
        os.close(fd)


def _is_somebody_there() -> bool:
    # A stream that was closed before the program began is none.
    streams: tuple[TextIO | None, ...] = (sys.stdin, sys.stderr)
    if not all(stream is not None and stream.isatty() for stream in streams):
        return False

    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        # Another session's terminal: there is no background to be in.
        return True


def _open_terminal() -> int | None:
    # Opened anew, since a mode of stdin itself would be the shell's as well.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(os.ttyname(sys.stdin.fileno()), flags)
    except OSError:
        return None
