"""A program on a terminal of its own, for tests that look at it and type."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios

# Seconds after which a test that waits for another process gives up.
GUARD = 60


class Terminal:
    """`mma` on a terminal of its own, 120 columns wide."""

    def __init__(self, args: list[str], environ: dict[str, str]) -> None:
        self._master, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            args, stdin=inner, stdout=inner, stderr=inner, env=environ
        )
        os.close(inner)
        self._ahead = b""

    def read(self, until: str = "") -> str:
        """Return what is shown next up to *until*, or up to the program's end."""
        wanted = until.encode()
        while not wanted or wanted not in self._ahead:
            try:
                assert select.select([self._master], [], [], GUARD)[0]
                self._ahead += os.read(self._master, 65_536)
            except OSError:  # How Linux tells that the other side is closed.
                break

        found = self._ahead.find(wanted) if wanted else -1
        end = found + len(wanted) if found >= 0 else len(self._ahead)
        shown, self._ahead = self._ahead[:end], self._ahead[end:]
        return shown.decode(errors="replace")

    def type(self, text: str) -> None:
        """Type *text* as a person would, Enter being a line end."""
        os.write(self._master, text.encode())

    def wait(self) -> int:
        """Return the program's exit code."""
        os.close(self._master)
        return self.process.wait(GUARD)


def environ(**more: str) -> dict[str, str]:
    plain = {"NO_COLOR", "CI", "COLUMNS", "LINES"}
    kept = {name: value for name, value in os.environ.items() if name not in plain}
    return kept | {"TERM": "xterm-256color"} | more
