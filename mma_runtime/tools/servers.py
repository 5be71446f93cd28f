"""Which MCP servers there are and how they are reached; knows no MCP itself."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mma_runtime.errors import ConfigurationError

CALL_SECONDS = 120.0
"""How long one call may take unless told otherwise."""

START_SECONDS = 30.0
"""How long a server may take until it is ready unless told otherwise."""

_NAME = re.compile(r"[A-Za-z0-9-]{1,24}")


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """One MCP server: a *command* to start, or the *url* of one that runs already.

    *environment* is what the command gets besides a minimal one, *headers* are sent
    with each request to the URL; both may hold keys. *tools* are the names that are
    used, by default all. *trusted* takes its word for which tools only read. *seconds*
    is how long one call may take, *start_seconds* how long the server may until it is
    ready.

    Raises:
        ConfigurationError: there is no command and no URL, or both, or the name is not
            1 to 24 letters, digits and '-'.
    """

    name: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    folder: str | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    tools: tuple[str, ...] | None = None
    trusted: bool = False
    seconds: float = CALL_SECONDS
    start_seconds: float = START_SECONDS

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"{self.name!r} cannot be an MCP server's name: use up to 24 letters,"
                " digits and '-'"
            )

        if bool(self.command) == bool(self.url):
            raise ConfigurationError(
                f"the MCP server {self.name!r} needs either a command or a URL"
            )

        if self.url and not self.url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"the MCP server {self.name!r} has {self.url!r}, not an http(s) URL"
            )
