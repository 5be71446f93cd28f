"""Connections to MCP servers, each brought back by a supervisor when it is lost.

Needs the extra `mcp`.
"""

import logging
import os
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf
from secrets import token_hex
from typing import ClassVar, Self, TextIO, cast

import httpx2
from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    create_task_group,
    current_time,
    wait_readable,
)
from mcp import Client, StdioServerParameters
from mcp.client import Transport
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from mma_runtime.kernel import Actor, Message, Ref, Request, handles
from mma_runtime.kernel.supervision import Restart
from mma_runtime.tools.command import MARK, search_path
from mma_runtime.tools.servers import McpServer
from mma_runtime.tools.watch import watched

LOST = (ClosedResourceError, BrokenResourceError, httpx2.TransportError)
"""What a call raises when the connection is gone."""

_LOG = 4_096

# What it logs goes to the host's handlers; where there are none, not to stderr.
logging.getLogger("mcp").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Connect(Request[Client]):
    """Asks for the client of the connection as it is now."""


@dataclass(frozen=True, slots=True)
class Lost(Message):
    """Says that a client is of no use any more; the connection is to be made anew."""

    client: Client


@dataclass(frozen=True, slots=True)
class FindConnection(Request[Ref]):
    """Asks the keeper for the connection."""


class ConnectionLost(Exception):
    """An MCP server is gone; its connection fails with this and is brought back."""


class NoConnection(Exception):
    """A server could not be started or reached; *said* is the last of what it wrote."""

    def __init__(self, problem: str, said: str) -> None:
        super().__init__(f"{problem}; it said: {said}" if said else problem)


class _Log:
    """What a server writes to its stderr: the end of it, in bounded memory.

    Only a server that does not start is listened to; on a terminal it would be in the
    way.
    """

    def __init__(self) -> None:
        self._end = b""
        self._reading = -1
        self.writing: TextIO

    def __enter__(self) -> Self:
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        self.writing = os.fdopen(writing, "w")
        return self

    def __exit__(self, *_: object) -> None:
        self.writing.close()
        os.close(self._reading)

    async def listen(self) -> None:
        """Read what comes, so that the server never waits for a reader."""
        while True:
            await wait_readable(self._reading)
            self._take()

    def _take(self) -> None:
        self._end = (self._end + os.read(self._reading, _LOG))[-_LOG:]

    def last_line(self, secrets: Iterable[str]) -> str:
        """Return the last line, without *secrets*."""
        with suppress(BlockingIOError):
            self._take()

        lines = self._end.decode(errors="replace").strip().splitlines()
        line = lines[-1].strip() if lines else ""
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            line = line.replace(secret, "[secret]")

        return line


class Connection(Actor):
    """One connection to a server, alive as long as this actor's incarnation."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._client: Client

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Start the server, or reach it, and agree with it on a protocol."""
        seconds, said = self._server.start_seconds, ""
        # Around everything: the client's own tasks outlive the start.
        with CancelScope(deadline=current_time() + seconds) as start:
            async with create_task_group() as group, AsyncExitStack() as stack:
                log = stack.enter_context(_Log())
                group.start_soon(log.listen)
                stack.callback(group.cancel_scope.cancel)
                transport = await _transport(self._server, stack, log.writing)
                client = Client(transport, cache=None, read_timeout_seconds=seconds)
                try:
                    self._client = await stack.enter_async_context(client)
                except BaseException as error:
                    said = log.last_line(self._server.environment.values())
                    if not isinstance(error, Exception):
                        raise

                    raise NoConnection(first_cause(error), said) from error

                start.deadline = inf
                yield

        if start.cancelled_caught:
            raise NoConnection(f"it was not ready within {seconds:g} s", said)

    @handles
    async def connect(self, _: Connect) -> Client:
        """Return the client, which many may use at the same time."""
        return self._client

    @handles
    async def lost(self, message: Lost) -> None:
        """Fail, unless the loss is that of an earlier connection."""
        if message.client is self._client:
            raise ConnectionLost(self._server.name)


class Keeper(Actor):
    """Supervises one connection; when it gives up, one server's tools are gone.

    It tries for some 25 seconds: a server that is deployed anew takes that long.
    """

    restart: ClassVar[Restart] = "temporary"
    intensity: ClassVar[tuple[int, float]] = (8, 60.0)
    backoff: ClassVar[tuple[float, float]] = (0.1, 15.0)

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._connection: Ref | None = None

    @handles
    async def find(self, _: FindConnection) -> Ref:
        """Return the connection; made by the first who asks."""
        if self._connection is None:
            self._connection = await self.spawn("connection", Connection, self._server)

        return self._connection


async def _transport(
    server: McpServer, stack: AsyncExitStack, log: TextIO
) -> Transport:
    if server.url:
        client = httpx2.AsyncClient(
            headers=dict(server.headers),
            timeout=httpx2.Timeout(server.start_seconds, read=None),
        )
        stack.push_async_callback(client.aclose)
        return streamable_http_client(server.url, http_client=client)

    program, *rest = server.command
    mark = token_hex(16)
    await stack.enter_async_context(watched(f"{MARK}={mark}"))
    return stdio_client(
        StdioServerParameters(
            command=program,
            args=rest,
            # A server in Python runs with the interpreter that has us.
            env={"PATH": search_path(), **server.environment, MARK: mark},
            cwd=server.folder,
        ),
        errlog=log,
    )


def first_cause(error: BaseException) -> str:
    """Return what went wrong in the first place, in words."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        elif error.__cause__ is not None and not isinstance(error, NoConnection):
            error = error.__cause__
        else:
            return str(error) or type(error).__name__
