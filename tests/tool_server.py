"""A real MCP server for tests of whole runs, as `mcp_servers` names it."""

import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio

PROGRAM = str(Path(__file__).parent / "tools" / "mcp_program.py")
STDIO: dict[str, object] = {"command": [sys.executable, PROGRAM, "stdio"]}


@asynccontextmanager
async def reached(transport: str) -> AsyncGenerator[dict[str, object]]:
    """What `mcp_servers` says of the program, which runs where it has to."""
    if transport == "stdio":
        yield STDIO
        return

    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]

    command = [sys.executable, PROGRAM, "http", str(port)]
    async with await anyio.open_process(
        command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
    ) as process:
        while True:
            try:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                break
            except OSError:
                await anyio.sleep(0.05)

        yield {"url": f"http://127.0.0.1:{port}/mcp"}
        process.kill()
