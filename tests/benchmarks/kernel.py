"""What the kernel costs, beside a bare mailbox and its peers, in one run.

`python tests/benchmarks/kernel.py` needs the dependency group `bench`. Times are CPU
time of the whole process in microseconds for one message, ask or actor, the median of
several rounds that take turns; memory is what Python allocated for one idle actor.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# xoscar is untyped.

import argparse
import gc
import math
import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

import anyio
import autogen_core
import pykka
import xoscar  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs] - it has none

from mma_runtime.kernel import Actor, ActorSystem, Message, Ref, Request, handles


@dataclass(frozen=True, slots=True)
class Add(Message):
    n: int


@dataclass(frozen=True, slots=True)
class Total(Request[int]):
    pass


class Counter(Actor):
    mailbox_capacity = 1_000_000

    def __init__(self) -> None:
        self.total = 0

    @handles
    async def add(self, message: Add) -> None:
        self.total += message.n

    @handles
    async def count(self, request: Total) -> int:
        return self.total


class Contender:
    """One way to run actors: how to start one, tell it, ask it and stop it."""

    name = ""
    share = 1.0
    """Which part of the messages is enough: slow peers need fewer."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def spawn(self, number: int) -> Any:
        raise NotImplementedError

    async def tell(self, actor: Any, times: int) -> None:
        raise NotImplementedError

    async def ask(self, actor: Any) -> int:
        raise NotImplementedError

    async def stop(self, actors: list[Any]) -> None:
        """End all *actors*; where there is no such thing, nothing."""


class Ours(Contender):
    name = "mma-runtime"

    async def __aenter__(self) -> Self:
        self.stack = AsyncExitStack()
        self.system = await self.stack.enter_async_context(ActorSystem())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def spawn(self, number: int) -> Ref:
        return await self.system.spawn(str(number), Counter)

    async def tell(self, actor: Ref, times: int) -> None:
        message = Add(1)
        for _ in range(times):
            actor.tell(message)

    async def ask(self, actor: Ref) -> int:
        return await actor.ask(Total())

    async def stop(self, actors: list[Ref]) -> None:
        for actor in actors:
            actor.stop()

        for actor in actors:
            await actor.join()


class Call:
    """A request to a bare actor, with its answer."""

    __slots__ = ("answer", "event")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.answer = 0


class Bare:
    """A deque and an event: what an actor costs at least."""

    __slots__ = ("ended", "queue", "total", "wake")

    def __init__(self) -> None:
        self.queue: deque[Any] = deque()
        self.wake = anyio.Event()
        self.ended = anyio.Event()
        self.total = 0

    def put(self, item: object) -> None:
        self.queue.append(item)
        self.wake.set()

    async def run(self) -> None:
        while True:
            while self.queue:
                item = self.queue.popleft()
                if isinstance(item, Add):
                    self.total += item.n
                elif isinstance(item, Call):
                    item.answer = self.total
                    item.event.set()
                else:
                    self.ended.set()
                    return

            self.wake = anyio.Event()
            await self.wake.wait()


class DequeAndEvent(Contender):
    name = "deque+Event"

    async def __aenter__(self) -> Self:
        self.group = anyio.create_task_group()
        await self.group.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.group.cancel_scope.cancel()
        await self.group.__aexit__(None, None, None)

    async def spawn(self, number: int) -> Bare:
        actor = Bare()
        self.group.start_soon(actor.run)
        return actor

    async def tell(self, actor: Bare, times: int) -> None:
        message = Add(1)
        for _ in range(times):
            actor.put(message)

    async def ask(self, actor: Bare) -> int:
        call = Call()
        actor.put(call)
        await call.event.wait()
        return call.answer

    async def stop(self, actors: list[Bare]) -> None:
        for actor in actors:
            actor.put(None)

        for actor in actors:
            await actor.ended.wait()


class Streaming:
    """An actor that reads an anyio memory stream."""

    def __init__(self) -> None:
        self.put, self.get = anyio.create_memory_object_stream[Any](1024)
        self.ended = anyio.Event()
        self.total = 0

    async def run(self) -> None:
        async for item in self.get:
            if isinstance(item, Add):
                self.total += item.n
            elif isinstance(item, Call):
                item.answer = self.total
                item.event.set()
            else:
                break

        self.put.close()
        self.get.close()
        self.ended.set()


class AnyioStream(DequeAndEvent):
    name = "anyio stream"
    share = 0.25

    async def spawn(self, number: int) -> Any:
        actor = Streaming()
        self.group.start_soon(actor.run)
        return actor

    async def tell(self, actor: Any, times: int) -> None:
        message = Add(1)
        for _ in range(times):
            await actor.put.send(message)

    async def ask(self, actor: Any) -> int:
        call = Call()
        await actor.put.send(call)
        await call.event.wait()
        return call.answer

    async def stop(self, actors: list[Any]) -> None:
        for actor in actors:
            await actor.put.send(None)

        for actor in actors:
            await actor.ended.wait()


class PykkaCounter(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: Any) -> int:
        if isinstance(message, Add):
            self.total += message.n

        return self.total


class Pykka(Contender):
    """Threads; asked without an event loop, in the way that suits it."""

    name = "pykka"
    share = 0.1

    async def spawn(self, number: int) -> Any:
        return PykkaCounter.start()

    async def tell(self, actor: Any, times: int) -> None:
        message = Add(1)
        for _ in range(times):
            actor.tell(message)

    async def ask(self, actor: Any) -> int:
        answer: int = actor.ask(Total())
        return answer

    async def stop(self, actors: list[Any]) -> None:
        for actor in actors:
            actor.stop()


class XoscarCounter(xoscar.Actor):  # type: ignore[misc]  # it is untyped
    def __init__(self) -> None:
        self.total = 0

    async def add(self, n: int) -> None:
        self.total += n

    async def count(self) -> int:
        return self.total


class Xoscar(Contender):
    name = "xoscar"
    share = 0.05

    async def __aenter__(self) -> Self:
        self.pool = await xoscar.create_actor_pool("127.0.0.1", n_process=0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.stop()

    async def spawn(self, number: int) -> Any:
        return await xoscar.create_actor(
            XoscarCounter, address=self.pool.external_address, uid=str(number)
        )

    async def tell(self, actor: Any, times: int) -> None:
        for _ in range(times):
            await actor.add.tell(1)

    async def ask(self, actor: Any) -> int:
        answer: int = await actor.count()
        return answer

    async def stop(self, actors: list[Any]) -> None:
        for actor in actors:
            await actor.destroy()


class AutogenCounter(autogen_core.RoutedAgent):
    def __init__(self) -> None:
        super().__init__("counter")
        self.total = 0

    @autogen_core.message_handler
    async def on_add(self, message: Add, ctx: autogen_core.MessageContext) -> None:
        self.total += message.n

    @autogen_core.message_handler
    async def on_total(self, message: Total, ctx: autogen_core.MessageContext) -> int:
        return self.total


class Autogen(Contender):
    """An agent is born with the first message to its id, and never ends."""

    name = "autogen-core"
    share = 0.02

    async def __aenter__(self) -> Self:
        self.runtime = autogen_core.SingleThreadedAgentRuntime()
        await AutogenCounter.register(self.runtime, "counter", AutogenCounter)
        await self.runtime.add_subscription(
            autogen_core.TypeSubscription("add", "counter")
        )
        self.runtime.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runtime.stop_when_idle()

    async def spawn(self, number: int) -> autogen_core.AgentId:
        actor = autogen_core.AgentId("counter", str(number))
        await self.runtime.send_message(Total(), actor)
        return actor

    async def tell(self, actor: autogen_core.AgentId, times: int) -> None:
        topic = autogen_core.TopicId("add", actor.key)
        message = Add(1)
        for _ in range(times):
            await self.runtime.publish_message(message, topic)

        await self.runtime._message_queue.join()  # pyright: ignore[reportPrivateUsage]

    async def ask(self, actor: autogen_core.AgentId) -> int:
        answer: int = await self.runtime.send_message(Total(), actor)
        return answer


CONTENDERS: tuple[type[Contender], ...] = (
    DequeAndEvent,
    Ours,
    AnyioStream,
    Pykka,
    Xoscar,
    Autogen,
)


async def measure_tell(contender: Contender, size: float) -> float:
    times = math.ceil(200_000 * size)
    actor = await contender.spawn(0)
    start = time.process_time()
    await contender.tell(actor, times)
    total = await contender.ask(actor)
    spent = time.process_time() - start
    if total != times:
        raise AssertionError(f"{contender.name}: {total} of {times} were handled")

    await contender.stop([actor])
    return spent / times


async def measure_ask(contender: Contender, size: float) -> float:
    times = math.ceil(20_000 * size)
    actor = await contender.spawn(0)
    start = time.process_time()
    for _ in range(times):
        await contender.ask(actor)

    spent = time.process_time() - start
    await contender.stop([actor])
    return spent / times


async def measure_fan_out(contender: Contender, size: float) -> float:
    if isinstance(contender, Pykka):
        return math.nan  # Its asks block the event loop.

    times = math.ceil(100 * size)
    actors = [await contender.spawn(number) for number in range(1000)]

    async def ask(actor: Any) -> None:
        for _ in range(times):
            await contender.ask(actor)

    start = time.process_time()
    async with anyio.create_task_group() as group:
        for actor in actors:
            group.start_soon(ask, actor)

    spent = time.process_time() - start
    await contender.stop(actors)
    return spent / times / len(actors)


async def measure_spawn(contender: Contender, size: float) -> float:
    count = math.ceil(10_000 * max(size, 0.1))
    start = time.process_time()
    actors = [await contender.spawn(number) for number in range(count)]
    await contender.stop(actors)
    return (time.process_time() - start) / count


async def measure_memory(contender: Contender, size: float) -> float:
    """Bytes of an idle actor that has answered once."""
    count = 500
    first = await contender.spawn(-1)
    await contender.ask(first)
    gc.collect()
    tracemalloc.start()
    try:
        actors = [await contender.spawn(number) for number in range(count)]
        for actor in actors:
            await contender.ask(actor)

        gc.collect()
        size = tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()

    await contender.stop([first, *actors])
    return size / 1e6


Measure = Callable[[Contender, float], Awaitable[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; *limits* are the most we may cost, by what it is against.

    A limit against "" is absolute, in the row's unit; the others are ratios.
    """

    title: str
    unit: str
    measure: Measure
    limits: dict[str, float]
    backends: tuple[str, ...] = ("asyncio",)


ROWS = (
    Row(
        title="tell",
        unit="µs",
        measure=measure_tell,
        limits={"": 2, "pykka": 1, "xoscar": 1, "autogen-core": 1, "anyio stream": 1},
    ),
    Row(
        title="ask, sequential",
        unit="µs",
        measure=measure_ask,
        limits={"deque+Event": 2.5, "xoscar": 1 / 1.6, "autogen-core": 1 / 4},
        backends=("asyncio", "trio"),
    ),
    Row(
        title="fan-out, 1,000 actors",
        unit="µs",
        measure=measure_fan_out,
        limits={"deque+Event": 2.5},
        backends=("asyncio", "trio"),
    ),
    Row(
        title="spawn and stop",
        unit="µs",
        measure=measure_spawn,
        limits={"deque+Event": 2.5},
        backends=("asyncio", "trio"),
    ),
    Row(title="idle actor", unit="bytes", measure=measure_memory, limits={"": 12_000}),
)


def run(kind: type[Contender], measure: Measure, backend: str, scale: float) -> float:
    async def main() -> float:
        async with kind() as contender:
            return await measure(contender, kind.share * scale)

    gc.collect()
    return anyio.run(main, backend=backend) * 1e6


def show(row: Row, backend: str, results: dict[str, list[float]]) -> None:
    medians = {
        name: statistics.median(values)
        for name, values in results.items()
        if not math.isnan(values[0])
    }
    ours = medians[Ours.name]
    print(f"\n{row.title} ({backend}), {row.unit}")
    for name, value in medians.items():
        spread = f"{min(results[name]):,.2f} to {max(results[name]):,.2f}"
        ratio = f"ours is {ours / value:.2f} of it" if name != Ours.name else ""
        print(f"  {name:14}{value:12,.2f}   {spread:24}{ratio}")

    for name, limit in row.limits.items():
        cost = ours / medians[name] if name in medians else ours
        if name and name not in medians:
            continue

        verdict = "held" if cost <= limit else "NOT HELD"
        against = f" of {name}" if name else f" {row.unit}"
        print(f"  at most {limit:,.3g}{against}: {cost:,.3g}, {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    parser.add_argument("--only", default="", help="rows whose title has this in it")
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    options = parser.parse_args()
    contenders = CONTENDERS[:3] if options.ours else CONTENDERS

    for row in ROWS:
        if options.only not in row.title:
            continue

        for backend in row.backends:
            # Threads and the peers' loops know nothing of trio.
            kinds = contenders if backend == "asyncio" else CONTENDERS[:3]
            results: dict[str, list[float]] = {kind.name: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind in kinds:
                    results[kind.name].append(
                        run(kind, row.measure, backend, options.scale)
                    )

            show(row, backend, results)


if __name__ == "__main__":
    main()
