"""The same life on every event loop, cancelled at every step of it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
import sniffio
import trio
from anyio import create_task_group, fail_after, move_on_after, wait_all_tasks_blocked

from mma_runtime.errors import ActorError
from mma_runtime.kernel import (
    Actor,
    ActorSystem,
    Message,
    Ref,
    Request,
    StreamRequest,
    handles,
)


@dataclass(frozen=True, slots=True)
class Crash(Message):
    pass


@dataclass(frozen=True, slots=True)
class Double(Request[int]):
    n: int


@dataclass(frozen=True, slots=True)
class Count(StreamRequest[int]):
    to: int


class Leaf(Actor):
    backoff = (0.0, 0.0)
    mailbox_capacity = 2

    def __init__(self, open_files: list[str]) -> None:
        self.open_files = open_files

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        self.open_files.append(self.ref.name)
        try:
            async with create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                yield
                group.cancel_scope.cancel()
        finally:
            self.open_files.remove(self.ref.name)

    @handles
    async def crash(self, message: Crash) -> None:
        raise ValueError("bug")

    @handles
    async def double(self, request: Double) -> int:
        await anyio.lowlevel.checkpoint()
        return request.n * 2

    @handles
    async def count(self, request: Count) -> AsyncGenerator[int]:
        for number in range(request.to):
            yield number


class Tree(Actor):
    strategy = "one_for_all"
    backoff = (0.0, 0.0)

    def __init__(self, open_files: list[str]) -> None:
        self.open_files = open_files

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        self.leaves = [await self.spawn(n, Leaf, self.open_files) for n in "ab"]
        yield

    @handles
    async def double(self, request: Double) -> int:
        a, b = self.leaves
        total = 0

        async def add(ref: Ref) -> None:
            nonlocal total
            answer = await ref.ask(request)
            total += answer

        async with create_task_group() as group:
            group.start_soon(add, a)
            group.start_soon(add, b)

        return total


async def life(open_files: list[str]) -> list[int]:
    """Live a small life that has a bit of everything."""
    results: list[int] = []
    async with ActorSystem(backoff=(0, 0)) as system:
        tree = await system.spawn("tree", Tree, open_files)
        results.append(await tree.ask(Double(2)))
        leaf = system.whereis("tree/a")
        assert leaf is not None
        with move_on_after(0):
            await leaf.ask(Double(3))

        await leaf.send(Crash())
        results.append(await leaf.ask(Double(4)))
        async with leaf.stream(Count(4), buffer=1) as items:
            async for item in items:
                results.append(item)
                if item == 2:
                    break

        async with create_task_group() as group:
            for _ in range(4):
                group.start_soon(leaf.ask, Double(1))

        leaf.stop()
        await leaf.join()

    return results


async def test_a_life_on_every_loop() -> None:
    open_files: list[str] = []

    with fail_after(5):
        assert await life(open_files) == [8, 8, 0, 1, 2]

    assert open_files == []
    await wait_all_tasks_blocked()


async def crowd(open_files: list[str]) -> int:
    """Ask a thousand actors, all children of one, from its background tasks."""

    class Crowd(Tree):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            async with create_task_group() as self.group:
                yield

        @handles
        async def double(self, request: Double) -> int:
            self.total = 0
            for number in range(request.n):
                self.group.start_soon(self.route, number)

            return 0

        async def route(self, number: int) -> None:
            worker = await self.spawn(str(number), Worker)
            answer = await worker.ask(Double(1))
            self.total += answer
            worker.stop()

        @handles
        async def count(self, request: Count) -> AsyncGenerator[int]:
            while self.total < request.to:
                await anyio.lowlevel.checkpoint()

            yield self.total

    async with ActorSystem() as system:
        ref = await system.spawn("crowd", Crowd, open_files)
        await ref.ask(Double(1000))
        async with ref.stream(Count(2000)) as items:
            return await anext(items)


class Worker(Actor):
    restart = "temporary"

    @handles
    async def double(self, request: Double) -> int:
        await anyio.lowlevel.checkpoint()
        return request.n * 2


async def test_a_thousand_children_asked_from_background_tasks() -> None:
    with fail_after(20):
        assert await crowd([]) == 2000


# --- cancelled everywhere -----------------------------------------------------


class Counting(asyncio.SelectorEventLoop):
    """Calls `step` before each round of the loop."""

    step: Callable[[], None] | None = None

    def _run_once(self) -> None:
        if self.step is not None:
            self.step()

        super()._run_once()  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - private


class Steps(trio.abc.Instrument):
    """Calls `step` before each step of a task."""

    def __init__(self, step: Callable[[], None]) -> None:
        self.step = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.step()


OPTIONS: dict[str, dict[str, Any]] = {
    "asyncio": {"loop_factory": Counting},
    "trio": {},
}


@contextmanager
def each_step_calls(step: Callable[[], None]) -> Generator[None]:
    """Call *step* at each step of the event loop that this runs in."""
    if sniffio.current_async_library() == "trio":
        instrument = Steps(step)
        trio.lowlevel.add_instrument(instrument)
        yield
        trio.lowlevel.remove_instrument(instrument)
    else:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Counting)
        loop.step = step
        yield
        loop.step = None


def run_cancelled(
    backend: str, scenario: Callable[[], Awaitable[object]], at: int
) -> tuple[int, bool]:
    """Run *scenario*, cancel it at its step number *at*; return the steps it took."""
    steps = 0
    living = -1

    async def main() -> bool:
        nonlocal living
        scope = anyio.CancelScope()

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps == at:
                scope.cancel()

        with each_step_calls(step), fail_after(10), scope:
            await scenario()

        if backend == "trio":
            living = trio.lowlevel.current_statistics().tasks_living
        else:
            living = len(asyncio.all_tasks()) + 2

        return scope.cancelled_caught

    caught = anyio.run(main, backend=backend, backend_options=OPTIONS[backend])
    # The task that runs this, and on trio the two that are always there.
    assert living == 3
    return steps, caught


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_at_every_step_it_leaves_nothing_behind(backend: str) -> None:
    open_files: list[str] = []

    async def scenario() -> None:
        # A cancelled actor may be noticed before the own cancellation is.
        with suppress(ActorError):
            await life(open_files)

    total, caught = run_cancelled(backend, scenario, at=-1)
    assert not caught
    assert total > 30

    cut = 0
    for at in range(1, total + 1):
        _, caught = run_cancelled(backend, scenario, at)
        assert open_files == [], f"cancelled at step {at}"
        cut += caught

    assert cut > total * 0.8


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_ask_cancelled_at_every_step_cancels_nothing_else(backend: str) -> None:
    async def scenario() -> None:
        async with ActorSystem() as system:
            tree = await system.spawn("tree", Tree, [])
            scope = anyio.CancelScope()
            scopes.append(scope)
            with scope:
                await tree.ask(Double(1))

            scopes.clear()
            assert await tree.ask(Double(2)) == 8

    scopes: list[anyio.CancelScope] = []
    for at in range(60):
        steps = 0

        def step(at: int = at) -> None:
            nonlocal steps
            if scopes:
                steps += 1
                if steps == at:
                    scopes[0].cancel()

        async def main(step: Callable[[], None] = step) -> None:
            with each_step_calls(step), fail_after(10):
                await scenario()

        anyio.run(main, backend=backend, backend_options=OPTIONS[backend])
