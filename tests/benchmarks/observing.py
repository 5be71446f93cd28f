"""What it costs to look on: an event, and a tool round with logs and with traces.

`python tests/benchmarks/observing.py`. Figures are CPU time of the whole process in
microseconds, the median of samples that take turns. A round is that of `rounds.py`;
what is logged is rendered as JSON and thrown away, what is traced is kept in memory.
"""

import logging
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import structlog
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

sys.path.insert(0, str(Path(__file__).parents[2]))

from mma_runtime import Runtime
from mma_runtime.bus import Bus
from mma_runtime.events import Origin, ToolCallStarted
from mma_runtime.telemetry import Telemetry
from tests.benchmarks.rounds import ROUNDS, Caller, nothing, ours

SAMPLES = 9
EVENTS = 20_000


def emitting(subscribers: int) -> float:
    """Return the CPU time of one event, its making included, in microseconds."""
    bus = Bus()
    readers = [bus.subscribe() for _ in range(subscribers)]
    origin = Origin(run="r", tier="worker", ticket="t")
    began = time.process_time()
    for _ in range(EVENTS):
        bus.emit(ToolCallStarted(origin=origin, call="c", tool="t"))

    taken = (time.process_time() - began) / EVENTS * 1e6
    assert len(readers) == subscribers
    return taken


class Nowhere:
    """A log that goes nowhere."""

    def debug(self, message: str) -> None:
        """Drop it."""

    info = warning = error = debug


def logging_at(level: int | None) -> None:
    """Have records rendered from *level* on; `None` is no configuration at all."""
    structlog.reset_defaults()
    if level is not None:
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=lambda *_: Nowhere(),
        )


async def rounds(level: int | None, telemetry: Telemetry | None = None) -> None:
    """Go through the rounds of `rounds.py`."""
    logging_at(level)
    async with Runtime(
        providers=[Caller()],
        tools=[nothing],
        telemetry=telemetry,
        capture_content=False,
    ) as runtime:
        await ours(runtime)


def recording() -> Telemetry:
    """Return telemetry with an SDK that keeps all in memory."""
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
    return Telemetry(tracer_provider=tracers, meter_provider=meters)


async def main() -> None:
    traced = recording()
    cases: dict[str, Callable[[], Awaitable[Any]]] = {
        "nobody looks on": lambda: rounds(None),
        "logs from warning on": lambda: rounds(logging.WARNING),
        "logs from info on": lambda: rounds(logging.INFO),
        "logs from debug on": lambda: rounds(logging.DEBUG),
        "traced without an SDK": lambda: rounds(None, Telemetry()),
        "traced and measured": lambda: rounds(None, traced),
    }
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(SAMPLES):
        for name, case in cases.items():
            began = time.process_time()
            await case()
            taken[name].append((time.process_time() - began) / ROUNDS * 1e6)

    for name, samples in taken.items():
        print(f"{name:24} {statistics.median(samples):7.1f} µs of CPU a round")

    print("goal: nobody looks on, at most 120 µs")


if __name__ == "__main__":
    for count in (0, 2):
        median = statistics.median(emitting(count) for _ in range(SAMPLES))
        print(f"an event with {count} subscribers {median:5.1f} µs of CPU")

    print("goal: with 2 subscribers at most 10 µs")
    for backend in ("asyncio", "trio"):
        print(f"-- {backend}: {ROUNDS} rounds, median of {SAMPLES}")
        anyio.run(main, backend=backend)
