"""Server-sent events out of bytes that may be split anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass

from mma_providers.failures import Malformed

LONGEST_EVENT = 32 * 1024 * 1024  # Bytes; more is no event but an attack or a bug.


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; *kind* is empty where the server gives none."""

    kind: str
    data: bytes


class EventDecoder:
    """Collects bytes and gives out the events that are complete.

    Decodes no text: events are cut at line ends, which no UTF-8 character contains.
    """

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[ServerEvent]:
        """Take *data* and yield each event that it completes.

        Raises:
            Malformed: One event is longer than `LONGEST_EVENT`.
        """
        buffer = self._buffer + data
        if b"\r" in buffer:
            # A carriage return at the very end may be half of a line end.
            held = buffer.endswith(b"\r")
            buffer = buffer[:-1] if held else buffer
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            *blocks, rest = buffer.split(b"\n\n")
            self._buffer = rest + b"\r" if held else rest
        else:
            *blocks, self._buffer = buffer.split(b"\n\n")

        if len(self._buffer) > LONGEST_EVENT:
            raise Malformed("an event of the stream is too long")
        for block in blocks:
            event = _read(block)
            if event is not None:
                yield event

    def end(self) -> Iterator[ServerEvent]:
        """Yield the event that lacks only its blank line, where there is one."""
        yield from self.feed(b"\n\n")


def _read(block: bytes) -> ServerEvent | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return ServerEvent("", block[6:])

    kind = ""
    data: list[bytes] = []
    for line in block.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            kind = value.decode(errors="replace")
    return ServerEvent(kind, b"\n".join(data)) if data else None
