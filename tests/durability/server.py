"""A model that does the work of `work.py`, and counts what it was asked and paid."""

import json
import re
from dataclasses import replace
from hashlib import sha256
from typing import Any

from mma_runtime.testing.wire.answers import Answer, Call
from mma_runtime.testing.wire.chat_completions import chat_reply
from mma_runtime.testing.wire.server import Recorded, Reply, WireServer
from tests.durability.work import NEEDS, TICKETS

USD = "0.00000450"
"""What one reply costs: 10 tokens in, 5 out, of gpt-4o-mini."""


class CountingServer(WireServer):
    """Answers by what it is asked; `asked` holds a digest of each request, in order.

    Each reply has a request id of its own: `r1`, `r2`, ...
    """

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.asked: list[str] = []

    @property
    def openai_url(self) -> str:
        """The base URL for Chat Completions."""
        return f"{self.url}/v1"

    def _reply(self, request: Recorded) -> Reply:
        messages = request.body["messages"]
        text = json.dumps(messages, sort_keys=True)
        self.asked.append(sha256(text.encode()).hexdigest())
        number = len(self.asked)
        reply = chat_reply(request, _answer(request.body, messages))
        return replace(reply, headers={**reply.headers, "x-request-id": f"r{number}"})


def _answer(body: dict[str, Any], messages: list[dict[str, Any]]) -> Answer:
    schema = json.dumps(body.get("response_format", {}))
    if '"accepted"' in schema:
        return Answer(text=json.dumps({"accepted": True, "remarks": ""}))

    if '"tickets"' in schema:
        return Answer(text=json.dumps({"tickets": [_ticket(name) for name in TICKETS]}))

    return _work(messages)


def _work(messages: list[dict[str, Any]]) -> Answer:
    found = re.search(r"word-(\w+)", json.dumps(messages))
    name = found[1] if found else "nothing"
    done = sum(message["role"] == "tool" for message in messages)
    path = f"{name}.txt"
    match done:
        case 0:
            arguments = {"path": path, "content": f"{name}\n"}
            return _use("write_file", done, **arguments)
        case 1:
            return _use("read_file", done, path=path)
        case 2:
            edit = {"path": path, "old": f"{name}\n", "new": f"{name} {name}\n"}
            return _use("edit_file", done, **edit)
        case 3:
            return _use("run_command", done, command=f"cat {path}")
        case _:
            return Answer(text=f"{name} is written")


def _ticket(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "description": f"Write word-{name} into a file.",
        "depends_on": NEEDS.get(name, []),
        "acceptance": [f"grep -q {name} {name}.txt"],
    }


def _use(tool: str, number: int, **arguments: str) -> Answer:
    return Answer(calls=[Call(name=tool, arguments=arguments, id=f"call_{number}")])
