"""A loopback HTTP server that answers as it is told, byte for byte, and breaks at will.

It runs on a thread of its own, so that any test can use it: sync, asyncio, trio, or a
command in another process.
"""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Self

import anyio
import anyio.abc
from anyio.from_thread import BlockingPortal, start_blocking_portal


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing for *seconds*."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Silence:
    """Send nothing more and wait until the client leaves."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Break the connection in the middle of the answer."""


Step = bytes | Wait | Silence | Cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer: *before* is done ahead of the head, *body* after it, step by step.

    *status* is that of HTTP. A streamed body is sent chunk by chunk, one chunk for each
    item.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: tuple[Step, ...] = ()
    before: tuple[Step, ...] = ()
    streamed: bool = False

    def split(self, size: int) -> "Reply":
        """Return this reply with its body cut into pieces of *size* bytes."""
        pieces: list[Step] = []
        for step in self.body:
            if isinstance(step, bytes):
                cuts = range(0, len(step), size)
                pieces += [step[start : start + size] for start in cuts]
            else:
                pieces.append(step)
        return replace(self, body=tuple(pieces))


def json_reply(
    body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Reply:
    """Return a reply that holds *body* as JSON, with that HTTP *status*."""
    return Reply(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=(json.dumps(body).encode(),),
    )


def event_reply(
    steps: Iterable[Step], *, headers: Mapping[str, str] | None = None
) -> Reply:
    """Return a stream of server-sent events, given as bytes."""
    return Reply(
        headers={"content-type": "text/event-stream", **(headers or {})},
        body=tuple(steps),
        streamed=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A request that the server got; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The body, read as JSON; `None` when there is none."""
        return json.loads(self.raw) if self.raw else None


Responder = Callable[[Recorded], Reply]


class WireServer(AbstractContextManager["WireServer"]):
    """The server; *respond* makes the reply to each request, on the server's thread."""

    def __init__(self, respond: Responder) -> None:
        self.requests: list[Recorded] = []
        self.connections: int = 0
        self.port: int = 0
        self._respond = respond
        self._changed = threading.Condition()
        self._left = 0
        self._stack = ExitStack()
        self._portal: BlockingPortal
        self._scope: anyio.CancelScope

    @property
    def url(self) -> str:
        """The address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Start to listen on a free port."""
        self._portal = self._stack.enter_context(start_blocking_portal())
        self._portal.start_task(self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        """Break all connections and end."""
        self._portal.call(self._scope.cancel)
        self._stack.close()

    def wait_until_left(self, count: int = 1, *, within: float = 5.0) -> bool:
        """Wait until clients have left *count* answers early.

        Returns false if they did not *within* so many seconds. Blocks the thread.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._left >= count, within)

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        self._scope = anyio.CancelScope()
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            self.port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - no Django
            task_status.started()
            with self._scope:
                await listener.serve(self._talk)

    async def _talk(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        async with stream:
            try:
                await self._answer_all(stream)
            except (anyio.BrokenResourceError, anyio.EndOfStream, _ClientLeft):
                with self._changed:
                    self._left += 1
                    self._changed.notify_all()

    async def _answer_all(self, stream: anyio.abc.SocketStream) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                try:
                    buffer += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            request = _head(head)
            length = int(request.headers.get("content-length", "0"))
            while len(buffer) < length:
                buffer += await stream.receive()
            request = replace(request, raw=buffer[:length])
            buffer = buffer[length:]
            self.requests.append(request)
            if not await _send(stream, self._respond(request)):
                return


class _ClientLeft(Exception):
    """The client closed the connection during a silence."""


def _head(head: bytes) -> Recorded:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    pairs = (line.partition(":") for line in lines)
    return Recorded(
        method=method,
        path=path,
        query=query,
        headers={name.lower(): value.strip() for name, _, value in pairs},
        raw=b"",
    )


async def _send(stream: anyio.abc.SocketStream, reply: Reply) -> bool:
    """Send *reply*; false when the connection is not to be used again."""
    for step in reply.before:
        if not await _do(stream, step, chunked=False):
            return False

    headers = dict(reply.headers)
    if reply.streamed:
        headers["transfer-encoding"] = "chunked"
    else:
        size = sum(len(step) for step in reply.body if isinstance(step, bytes))
        headers["content-length"] = str(size)
    lines = [f"HTTP/1.1 {reply.status} Scripted"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    await stream.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    for step in reply.body:
        if not await _do(stream, step, chunked=reply.streamed):
            return False
    if reply.streamed:
        await stream.send(b"0\r\n\r\n")
    return True


async def _do(stream: anyio.abc.SocketStream, step: Step, *, chunked: bool) -> bool:
    match step:
        case bytes():
            if not chunked:
                await stream.send(step)
            elif step:
                await stream.send(b"%x\r\n%b\r\n" % (len(step), step))
        case Wait(seconds):
            await anyio.sleep(seconds)
        case Silence():
            try:
                await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                raise _ClientLeft from None
        case Cut():
            return False
    return True
