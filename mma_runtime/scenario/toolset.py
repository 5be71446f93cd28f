"""What a scenario can say of tools: who is asked, what walls commands in, MCP servers.

The same is said in `mma.toml`, for all runs.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from mma_runtime.scenario.table import MOST, Table

Sandbox = Literal["auto", "strict", "off"]

Decisions = dict[
    str,
    Literal["auto", "ask", "deny"] | dict[str, Literal["auto", "ask", "deny"]],
]
"""What becomes of a tool's calls, or of those that match a pattern; see docs/tools."""


class Approvals(Table):
    """Which tool calls run, are asked about or denied, and what no answer means."""

    policy: Decisions = Field(
        default={},
        description="By tool, or by tool and pattern: `auto`, `ask` or `deny`; before"
        " the rules that hold by themselves.",
    )
    seconds: float = Field(
        default=60.0,
        gt=0,
        le=MOST,
        allow_inf_nan=False,
        description="Seconds that an answer is waited for.",
    )
    on_no_answer: Literal["reject", "pause"] = Field(
        default="reject",
        description="Reject what nobody answers, or pause the run (exit code 5).",
    )


class McpServerEntry(Table):
    """An MCP server: a `command` to start, or the `url` of one that runs already."""

    command: str | tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="The program with its arguments, as one line or as a list; it"
        " speaks MCP over its input and output.",
        examples=["npx -y some-mcp-server"],
    )
    url: str | None = Field(
        default=None, description="Its address, for MCP over streamable HTTP."
    )
    env: dict[str, str] = Field(
        default={},
        description="Variables that the command gets besides a bare environment."
        " `${NAME}` is looked up when a run starts and is recorded nowhere: here it may"
        " be a key.",
    )
    headers: dict[str, str] = Field(
        default={},
        description="Sent with each request to the URL; `${NAME}` as in `env`.",
    )
    folder: Path | None = Field(
        default=None,
        description="The folder that the command runs in; the file's own if left out.",
    )
    tools: tuple[str, ...] | None = Field(
        default=None,
        description="The server's own names of the tools that are used; all if left"
        " out.",
    )
    trusted: bool = Field(
        default=False,
        description="Believe the server which of its tools only read: they run without"
        " a question, and beside each other.",
    )
    seconds: float = Field(
        default=120.0,
        gt=0,
        le=MOST,
        allow_inf_nan=False,
        description="Seconds that one call may take.",
    )
    start_seconds: float = Field(
        default=30.0,
        gt=0,
        le=MOST,
        allow_inf_nan=False,
        description="Seconds that the server may take until it is ready; what is"
        " downloaded first counts.",
    )

    def beside(self, file: Path) -> Self:
        """Return the server with its folder as seen from that of the *file*."""
        if self.url is not None:
            return self

        folder = file.absolute() / (self.folder or Path()).expanduser()
        return self.model_copy(update={"folder": folder})
