"""An MCP server over stdio that answers as none should: `mcp_crooked.py KIND`."""

import json
import sys
from base64 import b64encode
from typing import Any

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
TOOL: dict[str, Any] = {"name": "t", "description": "d", "inputSchema": SCHEMA}
TOOLS: dict[str, list[dict[str, Any]]] = {
    "no schema": [{"name": "t"}],
    "twice": [TOOL, TOOL],
}


def image(data: str) -> dict[str, Any]:
    return {"content": [{"type": "image", "mimeType": "image/png", "data": data}]}


RESULTS: dict[str, Any] = {
    "no base64": image("!!!"),
    "no image": image(b64encode(b"<html>hello").decode()),
    "another image": image(b64encode(b"\xff\xd8\xff rest").decode()),
    "big image": image(b64encode(b"\x89PNG\r\n\x1a\n" + bytes(6_000_000)).decode()),
    "no result": {"zzz": 1, "content": "what?"},
    "structure": {"content": [], "structuredContent": {"answer": 42}},
}


def answer(kind: str, message: dict[str, Any]) -> dict[str, Any]:
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "crooked", "version": "1"},
            }
        case "tools/list":
            return {"tools": TOOLS.get(kind, [TOOL])}
        case _:
            result: dict[str, Any] = RESULTS[kind]
            return result


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        reply = {"jsonrpc": "2.0", "id": asked["id"]}
        if asked["method"] in ("initialize", "tools/list", "tools/call"):
            reply["result"] = answer(sys.argv[1], asked)
        else:
            reply["error"] = {"code": -32601, "message": "no such method"}

        print(json.dumps(reply), flush=True)  # noqa: T201 - that is the protocol
