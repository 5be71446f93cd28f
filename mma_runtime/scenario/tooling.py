"""What a scenario and `mma.toml` say of tools, in the runtime's own words."""

import shlex
from collections.abc import Callable, Iterable, Iterator

from mma_runtime.errors import ConfigurationError
from mma_runtime.scenario.references import resolve, secret_names
from mma_runtime.scenario.schema import Scenario
from mma_runtime.scenario.settings import Settings
from mma_runtime.scenario.toolset import McpServerEntry
from mma_runtime.tools.choice import may_name
from mma_runtime.tools.sandbox import SandboxMode
from mma_runtime.tools.servers import McpServer

Look = Callable[[str], str | None]
"""Finds the value of a variable of the environment."""


def sandbox_mode(scenario: Scenario, settings: Settings) -> SandboxMode:
    """Return how commands are walled in: the scenario's word first."""
    return SandboxMode(scenario.sandbox or settings.sandbox or SandboxMode.AUTO)


def mcp_servers(
    scenario: Scenario, settings: Settings, look: Look
) -> tuple[McpServer, ...]:
    """Return the servers that a run of *scenario* needs, the scenario's own first.

    Those are not needed of which no worker may use a tool. *look* finds the values of
    the variables that they are given.

    Raises:
        ConfigurationError: A variable has no value; names it.
    """
    entries = {**settings.mcp_servers, **scenario.mcp_servers}
    choices = [scenario.tier("worker").tools]
    choices += [ticket.tools for ticket in scenario.tickets or () if ticket.tools]
    return tuple(
        mcp_server(name, entry, look)
        for name, entry in entries.items()
        if any(tools is None or _names(tools, name) for tools in choices)
    )


def mcp_server(name: str, entry: McpServerEntry, look: Look) -> McpServer:
    """Return the server that *entry* describes, with the values of its variables."""
    command = entry.command or ()
    try:
        return McpServer(
            name=name,
            command=tuple(
                shlex.split(command) if isinstance(command, str) else command
            ),
            environment={key: resolve(value, look) for key, value in entry.env.items()},
            folder=str(entry.folder) if entry.folder is not None else None,
            url=entry.url or "",
            headers={key: resolve(value, look) for key, value in entry.headers.items()},
            tools=entry.tools,
            trusted=entry.trusted,
            seconds=entry.seconds,
            start_seconds=entry.start_seconds,
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"the MCP server {name!r}: {error}") from error


def server_secrets(
    scenario: Scenario, settings: Settings, look: Look
) -> Iterator[tuple[str, str]]:
    """Yield the variables that servers are given and nobody else is to see.

    Each with its value.
    """
    for entry in (*settings.mcp_servers.values(), *scenario.mcp_servers.values()):
        for key, text in (*entry.env.items(), *entry.headers.items()):
            for name in secret_names(key, text):
                if value := look(name):
                    yield name, value


def _names(patterns: Iterable[str], server: str) -> bool:
    return any(may_name(pattern, server) for pattern in patterns)
