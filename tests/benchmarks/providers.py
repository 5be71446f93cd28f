"""CPU per call and per streamed chunk, beside the bare SDKs, over loopback.

Run it alone: ``python tests/benchmarks/providers.py``. The server is another process,
so that only the client's time counts.
"""

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anthropic
import anyio
import httpx2
import openai
from google import genai
from google.genai import types

from mma_providers.anthropic import AnthropicProvider
from mma_providers.gemini import GeminiProvider
from mma_providers.openai import OpenAIProvider
from mma_runtime.llm.chat import ChatRequest, user
from mma_runtime.llm.provider import Provider

CHUNKS = 500
CALLS = 40
STREAMS = 6
ROUNDS = 7
Run = Callable[[], Awaitable[None]]


def our_call(provider: Provider, model: str, *, streamed: bool) -> Run:
    request = ChatRequest(
        model=model, system="Be brief.", turns=(user("Hi"),), streamed=streamed
    )

    async def run() -> None:
        async with aclosing(provider.stream(request)) as stream:
            async for _ in stream:
                pass

    return run


def openai_runs(url: str) -> tuple[Provider, dict[str, tuple[Run, Run]]]:
    sdk = openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0)
    ours = OpenAIProvider(api_key="k", base_url=f"{url}/v1")

    async def call() -> None:
        await sdk.chat.completions.create(
            model="gpt-4o-mini",
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
            ],
        )

    async def stream() -> None:
        async for _ in await sdk.chat.completions.create(
            model="gpt-4o-mini",
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
            ],
            stream=True,
            stream_options={"include_usage": True},
        ):
            pass

    return ours, {
        "call": (call, our_call(ours, "gpt-4o-mini", streamed=False)),
        "stream": (stream, our_call(ours, "gpt-4o-mini", streamed=True)),
    }


def anthropic_runs(url: str) -> tuple[Provider, dict[str, tuple[Run, Run]]]:
    sdk = anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0)
    ours = AnthropicProvider(api_key="k", base_url=url)

    async def call() -> None:
        await sdk.messages.create(
            model="claude-sonnet-5",
            max_tokens=1000,
            system="Be brief.",
            messages=[{"role": "user", "content": "Hi"}],
        )

    async def stream() -> None:
        async for _ in await sdk.messages.create(
            model="claude-sonnet-5",
            max_tokens=1000,
            system="Be brief.",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
        ):
            pass

    return ours, {
        "call": (call, our_call(ours, "claude-sonnet-5", streamed=False)),
        "stream": (stream, our_call(ours, "claude-sonnet-5", streamed=True)),
    }


def gemini_runs(url: str) -> tuple[Provider, dict[str, tuple[Run, Run]]]:
    sdk = genai.Client(
        api_key="k",
        http_options=types.HttpOptions(
            base_url=url, httpx_async_client=httpx2.AsyncClient(timeout=None)
        ),
    )
    ours = GeminiProvider(api_key="k", base_url=url)
    models: Any = sdk.aio.models
    config = types.GenerateContentConfig(system_instruction="Be brief.")

    async def call() -> None:
        await models.generate_content(
            model="gemini-3.8-flash", contents="Hi", config=config
        )

    async def stream() -> None:
        async for _ in await models.generate_content_stream(
            model="gemini-3.8-flash", contents="Hi", config=config
        ):
            pass

    return ours, {
        "call": (call, our_call(ours, "gemini-3.8-flash", streamed=False)),
        "stream": (stream, our_call(ours, "gemini-3.8-flash", streamed=True)),
    }


async def cpu_of(run: Run, times: int, concurrency: int) -> float:
    """Return the CPU seconds of one of *times* runs."""
    gc.collect()
    limiter = anyio.CapacityLimiter(concurrency)

    async def limited() -> None:
        async with limiter:
            await run()

    began = time.process_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(times):
            tasks.start_soon(limited)
    return (time.process_time() - began) / times


async def compare(bare: Run, ours: Run, times: int, concurrency: int) -> str:
    """Measure in turns, so that the machine's moods meet both alike."""
    for run in (bare, ours):
        await cpu_of(run, times, concurrency)
    pairs = [
        (await cpu_of(bare, times, concurrency), await cpu_of(ours, times, concurrency))
        for _ in range(ROUNDS)
    ]
    theirs = statistics.median(pair[0] for pair in pairs)
    own = statistics.median(pair[1] for pair in pairs)
    return f"{theirs * 1e6:9.0f} {own * 1e6:9.0f} {own / theirs:7.2f}"


async def main(url: str) -> None:
    print(f"{'CPU in µs':34}{'SDK':>9} {'ours':>9} {'ratio':>7}")
    for make in (openai_runs, anthropic_runs, gemini_runs):
        provider, runs = make(url)
        for concurrency in (1, 50):
            times = CALLS if concurrency == 1 else CALLS * 5
            line = await compare(*runs["call"], times, concurrency)
            print(f"{provider.name:10} call, {concurrency:2} at once       {line}")
        line = await compare(*runs["stream"], STREAMS, 1)
        print(f"{provider.name:10} stream of {CHUNKS} chunks   {line}")
        await provider.aclose()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        from mma_runtime.testing.wire.answers import Answer
        from mma_runtime.testing.wire.scripted import ScriptedServer

        with ScriptedServer() as server:
            server.say_always(Answer(text="word " * CHUNKS, pieces=CHUNKS))
            print(server.url, flush=True)
            sys.stdin.read()
    else:
        root = str(Path(__file__).parents[2])
        with subprocess.Popen(
            [sys.executable, __file__, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": root},
        ) as served:
            assert served.stdout is not None
            anyio.run(main, served.stdout.readline().strip())
            served.terminate()
