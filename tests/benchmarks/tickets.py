"""What tickets cost when there are many: one scripted call of 20 ms each.

`python tests/benchmarks/tickets.py`. All tickets are independent and each has a worker
at once. Wall time is in milliseconds for all, CPU time in microseconds for one; medians
of samples that take turns.
"""

import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[2]))

from mma_runtime import Runtime, Scenario, Ticket
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Text,
)
from mma_runtime.llm.provider import Capabilities, ModelInfo
from mma_runtime.llm.usage import Usage

LATENCY = 0.02
COUNTS = (100, 1_000, 5_000)
SAMPLES = 5


class Answering:
    """A model that answers after a while."""

    name = "bench"
    account = "bench"

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion, None]:
        """Wait and answer."""
        await anyio.sleep(LATENCY)
        yield Completion(
            turn=AssistantTurn((Text("done"),)),
            finish=Finish.STOP,
            usage=Usage(input=1_000, output=50),
            model="m",
        )

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        """Cost what gpt-4o-mini costs."""
        return "openai", "gpt-4o-mini", False

    def capabilities(self, model: str) -> Capabilities:
        """Take anything."""
        return Capabilities()

    async def models(self) -> tuple[ModelInfo, ...]:
        """List nothing."""
        return ()

    async def aclose(self) -> None:
        """Close nothing."""


async def bare(count: int) -> None:
    """A task group of as many sleeps."""
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(anyio.sleep, LATENCY)


async def ours(runtime: Runtime, count: int) -> None:
    """A run of as many tickets."""
    scenario = Scenario.model_validate(
        {
            "name": "bench",
            "tiers": {"worker": {"model": "bench:m", "count": count}},
            "tickets": tuple(
                Ticket(id=f"t{number}", description="d") for number in range(count)
            ),
        }
    )
    run = await runtime.start(scenario)
    outcome = await run.outcome()
    assert outcome.completed
    assert outcome.costs.total.calls == count


async def main() -> None:
    walls: dict[tuple[str, int], list[float]] = {}
    costs: dict[tuple[str, int], list[float]] = {}
    async with Runtime(providers=[Answering()]) as runtime:
        await ours(runtime, 1)
        runs: dict[str, Callable[[int], Awaitable[None]]] = {
            "bare task group": bare,
            "mma-runtime": lambda count: ours(runtime, count),
        }
        for _ in range(SAMPLES):
            for name, run in runs.items():
                for count in COUNTS:
                    wall, cpu = time.perf_counter(), time.process_time()
                    await run(count)
                    key = (name, count)
                    walls.setdefault(key, []).append(time.perf_counter() - wall)
                    costs.setdefault(key, []).append(time.process_time() - cpu)

    for (name, count), samples in walls.items():
        wall = statistics.median(samples) * 1e3
        cpu = statistics.median(costs[name, count]) / count * 1e6
        print(f"{name:16} {count:5} tickets {wall:8.0f} ms  {cpu:6.0f} µs of CPU each")

    few, many = (statistics.median(costs["mma-runtime", n]) / n for n in (100, 5_000))
    print(f"each of 5,000 costs {many / few:.2f}× each of 100  (at most 1.3)")
    print("goal for 1,000: at most 300 ms")


if __name__ == "__main__":
    for backend in ("asyncio", "trio"):
        print(f"-- {backend}: median of {SAMPLES}")
        anyio.run(main, backend=backend)
