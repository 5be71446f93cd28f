"""A real MCP server for the tests: `mcp_program.py stdio`, or `http PORT`."""

import os
import sys
from pathlib import Path

import anyio
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("program")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def look() -> str:
    """Look around."""
    return f"seen by {os.getpid()}"


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("the tool's own trouble")


@server.tool()
async def slow(mark: str) -> str:
    """Take for ever, and leave a note when cancelled."""
    Path(mark).write_text("begun")
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        Path(mark).write_text("cancelled")
        raise

    return "never"


@server.tool()
def die() -> str:
    """End the server in the middle of a call."""
    os._exit(3)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def die_once(mark: str) -> str:
    """End the server, but only if there is no note of it yet."""
    if not Path(mark).exists():
        Path(mark).touch()
        os._exit(3)

    return "alive again"


@server.tool()
def picture() -> Image:
    """Draw."""
    return Image(data=b"\x89PNG\r\n\x1a\n", format="png")


@server.tool()
def flood() -> str:
    """Say very much."""
    return "word " * 10_000


@server.tool()
def surroundings() -> list[str]:
    """List the names of the environment."""
    return sorted(os.environ)


@server.tool()
def trace(context: Context) -> str:
    """Say which trace the call is a part of."""
    meta = context.request_context.meta or {}
    return str(meta.get("traceparent"))


if __name__ == "__main__":
    if "STARTS" in os.environ:
        with Path(os.environ["STARTS"]).open("a") as starts:
            starts.write(f"{os.getpid()}\n")

    if sys.argv[1] == "http":
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run("stdio")
