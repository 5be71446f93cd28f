"""One writer for a journal: a lock that ends with its process, and names it."""

import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from mma_runtime.errors import JournalInUse, JournalUnavailable

_TRIES = 3
_PAUSE = 0.02


class WriterLock:
    """Held by the process that writes the journal at *path*. Blocks for a moment.

    The system frees it when the process ends, however it ends: a lock that can be had
    is free, whatever the file says. The file tells others who holds it.

    Raises:
        JournalInUse: Another writer holds it; named as far as it can be read.
        JournalUnavailable: The lock's file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = lock_file(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._file, flags, 0o644)
        except OSError as error:
            raise JournalUnavailable(str(path), str(error.strerror)) from error

        if not self._taken():
            os.close(self._descriptor)
            raise JournalInUse(str(path), holder(path) or "another process")

        # Who holds it is a courtesy: on a full disk the file stays empty.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, _myself(), 0)

    def _taken(self) -> bool:
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # It may be somebody who only looks who holds it.
                time.sleep(_PAUSE)
            else:
                return True

        return False

    def release(self) -> None:
        """Let others write; the file stays, since removing it would race with them."""
        os.close(self._descriptor)


def lock_file(path: Path) -> Path:
    """Return the file beside the journal at *path* that its lock is taken on."""
    return path.with_name(path.name + ".lock")


def holder(path: Path) -> str | None:
    """Say who writes the journal at *path* just now; `None`: nobody."""
    try:
        descriptor = os.open(lock_file(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None

    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _worded(os.pread(descriptor, 4_096, 0))

        return None
    finally:
        os.close(descriptor)


def _myself() -> bytes:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    return json.dumps(facts).encode()


def _worded(text: bytes) -> str:
    try:
        facts = json.loads(text)
        return f"process {facts['pid']} on {facts['host']} since {facts['since']} UTC"
    except (ValueError, KeyError, TypeError):
        return "another process"
