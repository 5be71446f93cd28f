"""The services that one suite of tests runs against, and what all tests ask."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from mma_providers.anthropic import AnthropicProvider
from mma_providers.client import Client
from mma_providers.gemini import GeminiProvider
from mma_providers.openai import OpenAIProvider, OpenAIResponsesProvider
from mma_runtime.llm.chat import (
    ChatRequest,
    Chunk,
    Completion,
    Image,
    ToolSpec,
    user,
)
from mma_runtime.llm.provider import Provider
from mma_runtime.llm.usage import Usage
from mma_runtime.testing.wire.scripted import ScriptedServer

KEY = "sk-test-0123456789"
PNG = Image("image/png", b"\x89PNG")
PNG_BASE64 = "iVBORw=="
READ_FILE = ToolSpec(
    name="read_file",
    description="Read a file.",
    parameters={
        "type": "object",
        "properties": {"path": {"type": "string"}},
        "required": ["path"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A provider under test; *path* is what its base URL adds to the server's."""

    name: str
    provider: Callable[..., Client[Any]]
    model: str
    path: str = ""

    def open(self, wire: ScriptedServer, **options: Any) -> Client[Any]:
        settings = {
            "name": self.name,
            "api_key": KEY,
            "base_url": wire.url + self.path,
        }
        return self.provider(**(settings | options))

    def ask(self, **changes: Any) -> ChatRequest:
        asked = ChatRequest(model=self.model, system="Be brief.", turns=(user("Hi"),))
        return replace(asked, **changes)


OPENAI = Service(
    name="openai", provider=OpenAIProvider, model="gpt-4o-mini", path="/v1"
)
RESPONSES = Service(
    name="openai-responses",
    provider=OpenAIResponsesProvider,
    model="gpt-6-luna",
    path="/v1",
)
ANTHROPIC = Service(
    name="anthropic", provider=AnthropicProvider, model="claude-sonnet-5"
)
GEMINI = Service(name="gemini", provider=GeminiProvider, model="gemini-3.8-flash")
SERVICES = (OPENAI, RESPONSES, ANTHROPIC, GEMINI)


@asynccontextmanager
async def opened(
    service: Service, wire: ScriptedServer, **options: Any
) -> AsyncGenerator[Client[Any]]:
    provider = service.open(wire, **options)
    try:
        yield provider
    finally:
        await provider.aclose()


async def collect(
    provider: Provider, request: ChatRequest
) -> tuple[list[Chunk], Completion]:
    chunks: list[Chunk] = []
    async with aclosing(provider.stream(request)) as stream:
        async for item in stream:
            if isinstance(item, Completion):
                return chunks, item
            if not isinstance(item, Usage):
                chunks.append(item)
    raise AssertionError("the stream ended without a completion")
