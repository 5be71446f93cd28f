"""A run's MCP servers: started before its first call, recorded, and ended with it."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any, Protocol, cast

from mma_runtime.errors import ActorFailed, ActorStopped, ConfigurationError, Refused
from mma_runtime.events import Origin
from mma_runtime.journal import Entry, Journal
from mma_runtime.journal.kinds import VIEW
from mma_runtime.kernel import Actor, Ref, Request
from mma_runtime.llm.chat import ToolSpec
from mma_runtime.tools.choice import MCP_PREFIX
from mma_runtime.tools.servers import McpServer
from mma_runtime.tools.tool import Content, Tool

SUFFIX = ".mcp"
"""What the name of the servers' actor adds to that of their run."""

_MCP = "mma_runtime.tools.mcp"
_LISTING = "mcp tools"

Spawn = Callable[..., Awaitable[Ref]]


class _Mcp(Protocol):
    """What is used of `mma_runtime.tools.mcp`, which needs an extra."""

    Servers: type[Actor]
    OpenAll: type[Request[tuple[Tool, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolServers:
    """The *tools* of a run's servers, with how many each has; *actor* keeps them."""

    tools: tuple[Tool, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    actor: Ref | None = None

    def note(self, journal: Journal, run: str) -> None:
        """Record which tools there are, for a replay."""
        journal.take(VIEW, _LISTING)
        if not self.tools:
            return

        listing = [
            {"spec": asdict(tool.spec), "read_only": tool.read_only}
            for tool in self.tools
        ]
        journal.note(
            Entry(
                kind=VIEW,
                origin=Origin(run=run),
                call=_LISTING,
                contents={"seen": json.dumps(listing).encode()},
            )
        )

    def stop(self) -> None:
        """End the servers; does not wait."""
        if self.actor is not None:
            self.actor.stop()

    async def aclose(self) -> None:
        """End the servers and wait until they are gone."""
        self.stop()
        if self.actor is not None:
            await self.actor.join()


NO_SERVERS = ToolServers()


async def open_servers(
    spawn: Spawn, run: str, servers: Iterable[McpServer]
) -> ToolServers:
    """Start *servers* for *run*, side by side, and list their tools.

    Cancellation ends those that were started.

    Raises:
        ConfigurationError: The extra `mcp` is not installed, or a server cannot be
            used; names each.
    """
    wanted = tuple(servers)
    if not wanted:
        return NO_SERVERS

    mcp = load_mcp()
    actor = await spawn(f"{run}{SUFFIX}", mcp.Servers, wanted)
    try:
        tools = await actor.ask(mcp.OpenAll())
    except (Refused, ActorFailed, ActorStopped) as error:
        actor.stop()
        await actor.join()
        raise ConfigurationError(str(error)) from error
    except BaseException:
        actor.stop()
        raise

    return _listed(tools, actor)


def recorded_servers(journal: Journal) -> ToolServers:
    """Return the tools as they were when the run was recorded; starts nothing.

    They are there to be named in requests and are never called.
    """
    found = journal.take(VIEW, _LISTING)
    if found is None:
        return NO_SERVERS

    return _listed(_Recorded(**one) for one in json.loads(found.contents["seen"]))


def load_mcp() -> _Mcp:
    """Load what speaks MCP.

    Raises:
        ConfigurationError: The extra `mcp` is not installed.
    """
    try:
        return cast("_Mcp", import_module(_MCP))
    except ImportError as error:
        raise ConfigurationError(
            "MCP servers need the extra `mcp`: pip install 'mma-runtime[mcp]'"
        ) from error


class _Recorded:
    """A tool as it was when the run was recorded."""

    def __init__(self, spec: Mapping[str, Any], *, read_only: bool) -> None:
        self.spec = ToolSpec(**spec)
        self.name = self.spec.name
        self.read_only = read_only

    async def call(self, arguments: Mapping[str, Any]) -> Content:
        """Fail: a replay has called a tool."""
        raise AssertionError(f"a replay calls {self.name} with {arguments}")


def _listed(tools: Iterable[Tool], actor: Ref | None = None) -> ToolServers:
    found = tuple(tools)
    names = (tool.name.removeprefix(MCP_PREFIX).partition("__")[0] for tool in found)
    return ToolServers(tools=found, counts=Counter(names), actor=actor)
