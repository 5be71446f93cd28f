"""Tools of MCP servers, each behind a connection that a supervisor brings back.

Needs the extra `mcp`; nothing else imports this module but whoever has servers.
"""

import os
import re
from base64 import b64decode
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import httpx2
from anyio import BrokenResourceError, ClosedResourceError, fail_after
from mcp import Client, MCPError, StdioServerParameters
from mcp.client import Transport
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CONNECTION_CLOSED,
    AudioContent,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
)
from mcp_types import Tool as ListedTool

from mma_runtime.errors import (
    ActorFailed,
    ActorStartFailed,
    ActorStopped,
    ConfigurationError,
    ToolFailed,
    did_you_mean,
)
from mma_runtime.kernel import Actor, Message, Ref, Request, handles
from mma_runtime.llm.chat import Image, Text, ToolSpec
from mma_runtime.tools.servers import McpServer
from mma_runtime.tools.tool import Content

START_SECONDS = 30.0
"""How long a server may take until it is ready."""

_PAGES = 50
_NAME_LENGTH = 64
_HASH_LENGTH = 8
_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_LOST = (ClosedResourceError, BrokenResourceError, httpx2.TransportError)


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


class Connection(Actor):
    """One connection to a server, alive as long as this actor's incarnation."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._client: Client

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Start the server, or reach it, and agree with it on a protocol."""
        async with AsyncExitStack() as stack:
            transport = _transport(self._server, stack)
            # The limit is the client's: a scope of ours would end before its tasks do.
            client = Client(transport, cache=None, read_timeout_seconds=START_SECONDS)
            self._client = await stack.enter_async_context(client)
            yield

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
    """Supervises one connection; when it gives up, one server's tools are gone."""

    restart = "temporary"
    intensity = (5, 60.0)
    backoff = (0.1, 5.0)

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._connection: Ref | None = None

    @handles
    async def find(self, _: FindConnection) -> Ref:
        """Return the connection; made by the first who asks."""
        if self._connection is None:
            self._connection = await self.spawn("connection", Connection, self._server)

        return self._connection


Spawn = Callable[..., Awaitable[Ref]]
"""How an actor is started: `ActorSystem.spawn`, or that of an actor."""


async def open_server(spawn: Spawn, server: McpServer) -> tuple["McpTool", ...]:
    """Connect to *server* under a supervisor of its own and return its tools.

    The connection lives as long as whoever's *spawn* it is.

    Raises:
        ConfigurationError: it cannot be started or reached, or lacks a tool that is to
            be used.
    """
    keeper = await spawn(f"mcp-{server.name}", Keeper, server)
    try:
        connection = await keeper.ask(FindConnection())
        client = await connection.ask(Connect())
        listed = [each async for each in _list(client)]
    except (ActorFailed, ActorStartFailed, ActorStopped) as error:
        keeper.stop()
        raise ConfigurationError(
            f"the MCP server {server.name!r} cannot be used: {_worded(error)}"
        ) from error
    except (MCPError, *_LOST) as error:
        keeper.stop()
        raise ConfigurationError(
            f"the MCP server {server.name!r} does not list its tools: {_worded(error)}"
        ) from error

    names = [each.name for each in listed]
    for wanted in server.tools or ():
        if wanted not in names:
            keeper.stop()
            raise ConfigurationError(
                f"the MCP server {server.name!r} has no tool"
                f" {wanted!r}{did_you_mean(wanted, names)}"
            )

    return tuple(
        McpTool(connection, server, each)
        for each in listed
        if server.tools is None or each.name in server.tools
    )


class McpTool:
    """One tool of a server, named `mcp__SERVER__TOOL`; implements `Tool`."""

    def __init__(self, connection: Ref, server: McpServer, listed: ListedTool) -> None:
        self._connection = connection
        self._server = server
        self._listed = listed
        self._hint = bool(listed.annotations and listed.annotations.read_only_hint)
        self.name = tool_name(server.name, listed.name)
        self.spec = ToolSpec(
            name=self.name,
            description=listed.description or listed.title or listed.name,
            parameters=listed.input_schema,
        )

    @property
    def read_only(self) -> bool:
        """Whether the server says so and is trusted to be right."""
        return self._hint and self._server.trusted

    async def call(self, arguments: Mapping[str, Any]) -> Content:
        """Have the server do the work, and return what the model gets to see.

        When the connection is lost it is made anew. A tool that only reads is then
        called once more; any other may have done its work already. Cancellation
        tells the server.

        Raises:
            ToolFailed: the server says so, is gone, or takes too long.
        """
        try:
            with fail_after(self._server.seconds):
                try:
                    return await self._call(arguments)
                except ConnectionLost:
                    if not self._hint:
                        raise

                return await self._call(arguments)
        except TimeoutError as error:
            raise ToolFailed(
                f"{self.name} did not answer within {self._server.seconds:g} s"
            ) from error
        except ConnectionLost as error:
            raise ToolFailed(
                f"the MCP server {self._server.name!r} was lost during the call, which"
                " may have been carried out or not; it is being started again"
            ) from error

    async def _call(self, arguments: Mapping[str, Any]) -> Content:
        try:
            client = await self._connection.ask(Connect())
        except (ActorFailed, ActorStartFailed, ActorStopped) as error:
            raise ToolFailed(
                f"the MCP server {self._server.name!r} is gone for good"
            ) from error

        try:
            result = await client.call_tool(
                self._listed.name,
                dict(arguments),
                # Ours is the limit; the client's own would be shorter.
                read_timeout_seconds=2 * self._server.seconds,
            )
        except MCPError as error:
            if error.code != CONNECTION_CLOSED:
                raise ToolFailed(f"{self.name}: {error}") from error

            self._connection.tell(Lost(client))
            raise ConnectionLost(self._server.name) from error
        except _LOST as error:
            self._connection.tell(Lost(client))
            raise ConnectionLost(self._server.name) from error

        content = tuple(_parts(result))
        if result.is_error:
            texts = [part.text for part in content if isinstance(part, Text)]
            raise ToolFailed("\n".join(texts) or f"{self.name} failed")

        return content or (Text("(no output)"),)


def tool_name(server: str, tool: str) -> str:
    """Return the name by which models know a server's tool, fit for all providers."""
    name = f"mcp__{server}__{_UNFIT.sub('_', tool)}"
    if len(name) <= _NAME_LENGTH and _UNFIT.search(tool) is None:
        return name

    # Two that were cut or mended alike must still be told apart.
    mark = sha256(tool.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: _NAME_LENGTH - _HASH_LENGTH - 1]}_{mark}"


def _transport(server: McpServer, stack: AsyncExitStack) -> Transport:
    if server.url:
        client = httpx2.AsyncClient(
            headers=dict(server.headers),
            timeout=httpx2.Timeout(START_SECONDS, read=None),
        )
        stack.push_async_callback(client.aclose)
        return streamable_http_client(server.url, http_client=client)

    program, *rest = server.command
    # Its logs are nobody's: they would be in the way on a terminal.
    silence = stack.enter_context(Path(os.devnull).open("w"))  # noqa: SIM115 - the stack is one
    return stdio_client(
        StdioServerParameters(
            command=program,
            args=rest,
            env=dict(server.environment),
            cwd=server.folder,
        ),
        errlog=silence,
    )


async def _list(client: Client) -> AsyncGenerator[ListedTool]:
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        for each in page.tools:
            yield each

        cursor = page.next_cursor
        if cursor is None:
            return


def _parts(result: CallToolResult) -> Iterator[Text | Image]:
    for block in result.content:
        match block:
            case TextContent():
                yield Text(block.text)
            case ImageContent() if block.mime_type in _IMAGES:
                yield Image(block.mime_type, b64decode(block.data))
            case ImageContent() | AudioContent():
                yield Text(f"({block.mime_type} is left out)")
            case EmbeddedResource(resource=TextResourceContents() as resource):
                yield Text(resource.text)
            case EmbeddedResource(resource=resource):
                yield Text(f"({resource.uri} is no text and is left out)")
            case link:
                yield Text(str(link.uri))


def _worded(error: BaseException) -> str:
    """Return what went wrong in the first place, in words."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            return str(error) or type(error).__name__
