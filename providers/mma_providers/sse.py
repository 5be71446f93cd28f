"""Server-sent events out of bytes that may be split anywhere."""

from mma_providers.failures import Malformed

LONGEST_EVENT = 32 * 1024 * 1024  # Bytes; more is no event but an attack or a bug.


class EventDecoder:
    """Collects bytes and gives out the data of the events that are complete.

    An event's name is left out: with these services the data says the same again.

    Decodes no text: events are cut at line ends, which no UTF-8 character contains.
    """

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take *data* and return the data of each event that it completes.

        Raises:
            Malformed: One event is longer than `LONGEST_EVENT`.
        """
        buffer = self._buffer + data
        held = b""
        if b"\r" in buffer:
            # A carriage return at the very end may be half of a line end.
            if buffer.endswith(b"\r"):
                buffer, held = buffer[:-1], b"\r"
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *blocks, rest = buffer.split(b"\n\n")
        if len(rest) > LONGEST_EVENT:
            raise Malformed("an event of the stream is too long")

        self._buffer = rest + held
        return [event for block in blocks if (event := _read(block)) is not None]

    def end(self) -> list[bytes]:
        """Return the data of the event that lacks only its blank line, if any."""
        return self.feed(b"\n\n")


def _read(block: bytes) -> bytes | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]

    data = [
        line[5:].removeprefix(b" ")
        for line in block.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        if line.startswith(b"data:")
    ]
    return b"\n".join(data) if data else None
