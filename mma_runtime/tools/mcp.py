"""Tools of MCP servers, each behind a connection that a supervisor brings back.

Needs the extra `mcp`; nothing else imports this module but whoever has servers.
"""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar

from anyio import create_task_group, fail_after
from mcp import Client, MCPError
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
from pydantic import ValidationError

from mma_runtime.errors import (
    ActorFailed,
    ActorStartFailed,
    ActorStopped,
    ConfigurationError,
    Refused,
    ToolFailed,
    did_you_mean,
)
from mma_runtime.kernel import Actor, Ref, Request, handles
from mma_runtime.kernel.supervision import Restart
from mma_runtime.llm.chat import Image, Text, ToolSpec
from mma_runtime.llm.images import image_type
from mma_runtime.tools.mcp_connection import (
    LOST,
    Connect,
    ConnectionLost,
    FindConnection,
    Keeper,
    Lost,
    first_cause,
)
from mma_runtime.tools.servers import McpServer
from mma_runtime.tools.tool import Content

_PAGES = 50
_NAME_LENGTH = 64
_HASH_LENGTH = 8
_MOST_IMAGE = 5_000_000
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


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
            f"the MCP server {server.name!r} cannot be used: {first_cause(error)}"
        ) from error
    except (MCPError, *LOST) as error:
        keeper.stop()
        raise ConfigurationError(
            f"the MCP server {server.name!r} does not list its tools:"
            f" {first_cause(error)}"
        ) from error

    except ValidationError as error:
        keeper.stop()
        raise ConfigurationError(
            f"the MCP server {server.name!r} lists tools that are none:"
            f" {_problem(error)}"
        ) from error

    names = [each.name for each in listed]
    problem = next((f"lists two tools {n!r}" for n in names if names.count(n) > 1), "")
    for wanted in server.tools or ():
        if wanted not in names:
            problem = f"has no tool {wanted!r}{did_you_mean(wanted, names)}"

    if problem:
        keeper.stop()
        raise ConfigurationError(f"the MCP server {server.name!r} {problem}")

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
        self.name: str = tool_name(server.name, listed.name)
        self.spec: ToolSpec = ToolSpec(
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

        When the connection is lost it is made anew. A tool that is `read_only` is then
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
                    if not self.read_only:
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
        except ValidationError as error:
            raise ToolFailed(
                f"{self.name} gave an answer that is none: {_problem(error)}"
            ) from error
        except LOST as error:
            self._connection.tell(Lost(client))
            raise ConnectionLost(self._server.name) from error

        content = tuple(_parts(result))
        if result.is_error:
            texts = [part.text for part in content if isinstance(part, Text)]
            raise ToolFailed("\n".join(texts) or f"{self.name} failed")

        return content or (Text("(no output)"),)


@dataclass(frozen=True, slots=True)
class OpenAll(Request[tuple[McpTool, ...]]):
    """Asks for the tools of all servers, which are started for it."""


class Servers(Actor):
    """The MCP servers of one run; they end with this actor."""

    restart: ClassVar[Restart] = "temporary"

    def __init__(self, servers: tuple[McpServer, ...]) -> None:
        self._servers = servers

    @handles
    async def open_all(self, _: OpenAll) -> tuple[McpTool, ...]:
        """Start them side by side; refuse, with every reason, if one cannot be used."""
        opened: dict[str, tuple[McpTool, ...]] = {}
        problems: dict[str, ConfigurationError] = {}

        async def start(server: McpServer) -> None:
            try:
                opened[server.name] = await open_server(self.spawn, server)
            except ConfigurationError as error:
                problems[server.name] = error

        async with create_task_group() as group:
            for server in self._servers:
                group.start_soon(start, server)

        if problems:
            raise Refused("; ".join(map(str, problems.values())))

        return tuple(tool for server in self._servers for tool in opened[server.name])


def tool_name(server: str, tool: str) -> str:
    """Return the name by which models know a server's tool, fit for all providers."""
    name = f"mcp__{server}__{_UNFIT.sub('_', tool)}"
    if len(name) <= _NAME_LENGTH and _UNFIT.search(tool) is None:
        return name

    # Two that were cut or mended alike must still be told apart.
    mark = sha256(tool.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: _NAME_LENGTH - _HASH_LENGTH - 1]}_{mark}"


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
            case ImageContent():
                yield _image(block)
            case AudioContent():
                yield Text(f"({block.mime_type} is left out)")
            case EmbeddedResource(resource=TextResourceContents() as resource):
                yield Text(resource.text)
            case EmbeddedResource(resource=resource):
                yield Text(f"({resource.uri} is no text and is left out)")
            case link:
                yield Text(str(link.uri))

    if not result.content and result.structured_content is not None:
        yield Text(json.dumps(result.structured_content, ensure_ascii=False))


def _image(block: ImageContent) -> Text | Image:
    """Return an image by what it is, not by what the server calls it."""
    try:
        content = b64decode(block.data, validate=True)
    except binascii.Error:
        content = b""

    kind = image_type(content)
    if kind is None:
        return Text(f"({block.mime_type} that models cannot see is left out)")

    if len(content) > _MOST_IMAGE:
        return Text(f"({kind} of {len(content):,} bytes is too big and is left out)")

    return Image(kind, content)


def _problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
