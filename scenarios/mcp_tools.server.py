"""The supplier's catalogue, as an MCP server over its input and output.

`mcp_tools.yaml` starts it; it needs nothing but the package `mcp`.
"""

import os

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

GRAMS = {"bolt": 18, "nut": 7, "plate": 1_240}

server = MCPServer("catalogue")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def weigh(article: str) -> str:
    """Tell what one piece of an article weighs."""
    if article not in GRAMS:
        raise ToolError(f"there is no {article!r}; there are {', '.join(GRAMS)}")

    return f"one {article} weighs {GRAMS[article]} g"


@server.tool()
def subscribe(article: str) -> str:
    """Have the depot told when the weight of an article changes."""
    return f"{os.environ['CUSTOMER']} will hear of each change of {article!r}"


if __name__ == "__main__":
    server.run("stdio")
