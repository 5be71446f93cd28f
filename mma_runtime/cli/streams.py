"""The standard streams, and what may become of them: closed, left, or full."""

import os
import sys
from typing import IO, Any, TextIO

import click


class OutputLost(click.ClickException):
    """The result of a command cannot be written to stdout.

    Not for a reader that has gone away: who reads no further has had enough.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"stdout cannot be written: {error.strerror}")

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - click's
        """Say so on stderr."""
        complain(f"mma: {self.message}")


def open_missing() -> None:
    """Put an open end that leads nowhere in the place of each closed stream.

    Otherwise the next file that is opened, a journal it may be, would have the closed
    stream's number, and would get what is written to that.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        pass

    os.close(fd)
    # A closed stream is None, whatever its type says.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()


def complain(text: str) -> None:
    """Say *text* on stderr; where that is full or has gone away, say nothing."""
    try:
        click.echo(text, err=True)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Send what is still written to *stream* nowhere, the flush at exit included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - for good
