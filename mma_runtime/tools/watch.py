"""Who ends the processes of a command when we are killed and cannot do it ourselves."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from subprocess import DEVNULL

from anyio import CancelScope, open_process
from anyio.abc import Process

# Of the pipe that it reads only we have the other end. We write the command's process
# group, and a word when the command is over; the pipe's end before that is ours. First
# goes the group, then all that bear the mark: on Linux a process cannot hide that.
_SCRIPT = """
while read -r word; do
  test "$word" = over && exit
  group=$word
done
test -n "$group" && kill -s KILL -- "-$group"
for sweep in 1 2 3 4 5 6 7 8 9; do
  found=$(grep -lzxF -e "$1" /proc/[0-9]*/environ)
  test -n "$found" || exit
  for place in $found; do
    place=${place#/proc/}
    kill -s KILL "${place%/environ}"
  done
done
"""


class Watch:
    """A small process beside a command, which outlives us by a moment.

    *lifeline* is our end of the pipe that it reads; nobody else may have it.
    """

    def __init__(self, process: Process, lifeline: int) -> None:
        self.lifeline: int = lifeline
        self._process = process

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, `None` while it is watching."""
        return self._process.returncode

    def note(self, leader: Process) -> None:
        """Say which process leads the command's group."""
        self._write(f"{leader.pid}\n")

    async def dismiss(self) -> None:
        """Say that the command is over, and wait for the watch's end."""
        self._write("over\n")
        os.close(self.lifeline)
        await self._process.aclose()

    def _write(self, line: str) -> None:
        # Somebody may have ended it, and a command goes on without.
        with suppress(BrokenPipeError):
            os.write(self.lifeline, line.encode())


@asynccontextmanager
async def watched(mark: str) -> AsyncGenerator[Watch]:
    """Have processes ended by force should we die before the block does.

    *mark* is a setting, `NAME=value`, that they have in their environment. Until the
    leader of their group is noted it is all that they are found by; that needs Linux.
    Raises `OSError` when there can be no watch.
    """
    reading, lifeline = os.pipe()
    try:
        process = await _start(mark, reading)
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(reading)

    watch = Watch(process, lifeline)
    try:
        yield watch
    finally:
        with CancelScope(shield=True):
            await watch.dismiss()


async def _start(mark: str, reading: int) -> Process:
    # Shielded: a process that is just being born would else be forgotten.
    with CancelScope(shield=True):
        return await open_process(
            ["/bin/sh", "-c", _SCRIPT, "sh", mark],
            stdin=reading,
            stdout=DEVNULL,
            stderr=DEVNULL,
            cwd="/",
            env={"PATH": os.defpath},
            # What ends us, such as a signal to our group, must not end it as well.
            start_new_session=True,
        )

    raise AssertionError("type checkers cannot know that this shield swallows nothing")
