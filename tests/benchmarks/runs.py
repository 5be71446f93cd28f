"""What runs cost when a process has many: one ticket of one scripted call each.

`python tests/benchmarks/runs.py`; `--soak 0` leaves the long part out. CPU time and
memory are of one run of so many at the same time, all of them in their calls when the
memory is taken; the soak tells what is left behind by runs that have ended.
"""

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[2]))

from mma_runtime import Runtime, Scenario
from mma_runtime.bus import Bus
from mma_runtime.events import ModelCallStarted, Origin
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Text,
)
from mma_runtime.llm.usage import Usage
from mma_runtime.testing import FunctionProvider

COUNTS = (100, 1_000, 2_000)
AT_ONCE = 100
SAMPLES = 5
SCENARIO = Scenario.model_validate(
    {
        "name": "bench",
        "tiers": {"worker": {"model": "bench:m"}},
        "prices": [{"match": "bench:", "input": 1, "output": 1}],
        "tickets": [{"id": "t", "description": "d"}],
    }
)


class Answering(FunctionProvider):
    """A model that answers once it may."""

    account = "bench"

    def __init__(self) -> None:
        super().__init__(lambda _: "", name="bench")
        self.asked = 0
        self.wanted = 0
        self.all_asked = anyio.Event()
        self.may_answer = anyio.Event()

    def hold(self, wanted: int) -> None:
        """Answer no sooner than *wanted* calls have come and `may_answer` is set."""
        self.asked, self.wanted = 0, wanted
        self.all_asked, self.may_answer = anyio.Event(), anyio.Event()

    async def stream(
        self,
        request: ChatRequest,
    ) -> AsyncGenerator[Chunk | Completion, None]:
        """Wait and answer."""
        if self.wanted:
            self.asked += 1
            if self.asked == self.wanted:
                self.all_asked.set()

            await self.may_answer.wait()

        yield Completion(
            turn=AssistantTurn((Text("done"),)),
            finish=Finish.STOP,
            usage=Usage(input=1_000, output=50),
            model="m",
        )


def resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def play(runtime: Runtime) -> None:
    """Go through one run."""
    run = await runtime.start(SCENARIO)
    outcome = await run.outcome()
    assert outcome.completed
    assert outcome.costs.total.calls == 1


class Collector:
    """How long Python's garbage collector has worked, in CPU seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.process_time()
        else:
            self.seconds += time.process_time() - self._began


async def together(
    runtime: Runtime, provider: Answering, count: int
) -> tuple[float, float]:
    """Return CPU seconds and bytes of one of *count* runs at the same time."""
    took = memory = 0.0
    before, began = resident(), time.process_time()
    provider.hold(count)
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(play, runtime)
        await provider.all_asked.wait()
        took = time.process_time() - began
        memory = resident() - before
        began = time.process_time()
        provider.may_answer.set()
    took += time.process_time() - began
    provider.wanted = 0
    return took / count, memory / count


async def crowd(backend: str) -> None:
    """Print what one of many runs at the same time costs."""
    provider = Answering()
    async with Runtime(providers=[provider]) as runtime:
        await play(runtime)
        costs: dict[int, float] = {}
        collector = Collector()
        for count in COUNTS:
            samples: list[tuple[float, float]] = []
            collected = 0.0
            for _ in range(SAMPLES):
                gc.collect()
                collector.seconds = 0.0
                samples.append(await together(runtime, provider, count))
                collected += collector.seconds / count / SAMPLES

            costs[count] = statistics.median(cpu for cpu, _ in samples)
            # Only the first has to ask for memory; the others find it free.
            memory = max(bytes_ for _, bytes_ in samples)
            print(
                f"  {backend:8}{count:6} runs {costs[count] * 1e6:8.0f} µs of CPU"
                f" ({collected * 1e6:.0f} of it collecting garbage)"
                f" {memory / 1e3:7.0f} kB each"
            )

    ratio = costs[COUNTS[-1]] / costs[COUNTS[0]]
    print(f"  each of {COUNTS[-1]:,} costs {ratio:.2f}× each of {COUNTS[0]}")


async def soak(runs: int, backend: str) -> None:
    """Print what is there after a tenth of *runs* and after all of them."""
    async with Runtime(providers=[Answering()]) as runtime:
        for done in range(0, runs, AT_ONCE):
            async with anyio.create_task_group() as group:
                for _ in range(AT_ONCE):
                    group.start_soon(play, runtime)

            if done + AT_ONCE in {runs // 10, runs // 2, runs}:
                # The memory of all tasks that ended goes with their last round.
                await anyio.sleep(0.05)
                gc.collect()
                tasks = len(anyio.get_running_tasks())
                files = len(list(Path("/proc/self/fd").iterdir()))
                print(
                    f"  {backend:8}after {done + AT_ONCE:6} runs:"
                    f" {resident() / 1e6:6.1f} MB, {tasks} tasks, {files} files open,"
                    f" {len(gc.get_objects()):,} objects"
                )

        total = (await runtime.costs()).total
        assert total.calls == runs


async def emitting(events: int = 20_000) -> float:
    """Return the CPU seconds of one event with two subscribers."""
    bus, origin = Bus(), Origin(run="r", tier="worker", ticket="t")
    # Who subscribes is held weakly.
    readers = [bus.subscribe(capacity=100) for _ in range(2)]
    took: list[float] = []
    for _ in range(SAMPLES):
        began = time.process_time()
        for number in range(events):
            bus.emit(
                ModelCallStarted(origin=origin, call="c", model="m", attempt=number)
            )
        took.append((time.process_time() - began) / events)

    assert len(readers) == len(took) - SAMPLES + 2
    return statistics.median(took)


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soak", type=int, default=10_000)
    runs = parser.parse_args().soak
    print("Runs at the same time (goals: linear, 1,000 µs, 100 kB):")
    for backend in ("asyncio", "trio"):
        anyio.run(crowd, backend, backend=backend)

    print(f"An event with two subscribers: {anyio.run(emitting) * 1e6:.1f} µs (10)")
    if runs:
        print("Runs one after the other, a hundred at a time:")
        for backend in ("asyncio", "trio"):
            anyio.run(soak, runs, backend, backend=backend)


if __name__ == "__main__":
    main()
