"""The end of processes: of a group, and on Linux of those that left it."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from anyio import move_on_after, sleep
from anyio.abc import Process

_PROC = Path("/proc")
_PAUSE = 0.002
_SWEEPS = 20


async def end_group(leader: Process, grace: float) -> None:
    """End the process group of *leader*: ask, wait *grace* seconds, then force."""
    if not _signal_group(leader, signal.SIGTERM):
        return

    pause = _PAUSE
    with move_on_after(grace):
        # Nobody tells when processes that are not our children end. Asking for the
        # return code is what makes trio take note of our child's end.
        while leader.returncode is None or _group_lives(leader):
            await sleep(pause)
            pause *= 2

        return

    _signal_group(leader, signal.SIGKILL)


def end_strays(variable: str, value: str) -> None:
    """End, by force, all processes that have *variable* in their environment.

    A process can leave its group (`setsid`), but hardly forgets what it was born with.
    Only Linux shows it; elsewhere this does nothing. Blocks for milliseconds.
    """
    mark = f"{variable}={value}".encode()
    # They may be having children while we look: until a sweep finds none.
    for _ in range(_SWEEPS):
        found = sum(_end_marked(process, mark) for process in _processes())
        if not found:
            return


def _end_marked(process: Path, mark: bytes) -> bool:
    # Held by its descriptor, the process cannot be mistaken for one that reuses its id.
    with suppress(OSError):
        descriptor = os.pidfd_open(int(process.name))
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                return True
        finally:
            os.close(descriptor)

    return False


def _group_lives(leader: Process) -> bool:
    if not _signal_group(leader, 0):
        return False

    # The dead whom nobody buries count as members; only Linux tells them apart.
    if not (_PROC / "self").exists():
        return True

    return any(_is_alive_in(leader.pid, process) for process in _processes())


def _is_alive_in(group: int, process: Path) -> bool:
    try:
        facts = (process / "stat").read_bytes()
    except OSError:
        return False

    # After the name, which is in brackets and may hold anything: state, parent, group.
    state, _, member_of, *_ = facts.rpartition(b")")[2].split()
    return int(member_of) == group and state not in b"ZX"


def _processes() -> Iterator[Path]:
    if (_PROC / "self").exists():
        yield from (each for each in _PROC.iterdir() if each.name.isdecimal())


def _signal_group(leader: Process, number: int) -> bool:
    """Send a signal to the group; return whether there is anybody in it."""
    try:
        os.killpg(leader.pid, number)
    except (ProcessLookupError, PermissionError):
        # macOS refuses permission for a group of which only the dead are left.
        return False

    return True
