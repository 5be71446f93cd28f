"""Circles of asks: found when they are real, and only then."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
from anyio import fail_after, wait_all_tasks_blocked

from mma_runtime.errors import ActorFailed, ActorStartFailed, ActorStopped, AskCycle
from mma_runtime.kernel import Actor, ActorSystem, Message, Ref, Request, handles


@dataclass(frozen=True, slots=True)
class Via(Request[str]):
    """Ask the first of `path` for the rest of it."""

    path: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class After(Request[str]):
    """Wait for `gate`, then ask `other`."""

    gate: anyio.Event
    other: Ref


@dataclass(frozen=True, slots=True)
class Ping(Request[str]):
    pass


@dataclass(frozen=True, slots=True)
class Start(Message):
    pass


class Node(Actor):
    restart = "temporary"

    @handles
    async def via(self, request: Via) -> str:
        if not request.path:
            return self.ref.name

        first, *rest = request.path
        return await first.ask(Via(tuple(rest)))

    @handles
    async def after(self, request: After) -> str:
        await request.gate.wait()
        return await request.other.ask(Ping())

    @handles
    async def ping(self, request: Ping) -> str:
        return "pong"


def cycle_in(error: BaseException | None) -> AskCycle:
    while not isinstance(error, AskCycle):
        assert error is not None
        error = error.__cause__

    return error


async def nodes(system: ActorSystem) -> list[Ref]:
    return [await system.spawn(name, Node) for name in "abc"]


async def test_an_actor_that_asks_itself_is_told() -> None:
    async with ActorSystem() as system:
        a, _, _ = await nodes(system)

        with pytest.raises(ActorFailed) as caught, fail_after(1):
            await a.ask(Via((a,)))

        assert cycle_in(caught.value).chain == ("a", "a")


async def test_a_circle_of_three_is_spelt_out() -> None:
    async with ActorSystem() as system:
        a, b, c = await nodes(system)

        with pytest.raises(ActorFailed) as caught, fail_after(1):
            await a.ask(Via((b, c, a)))

        assert cycle_in(caught.value).chain == ("c", "a", "b", "c")
        assert "c → a → b → c" in str(cycle_in(caught.value))


async def test_a_chain_that_is_no_circle_is_answered() -> None:
    async with ActorSystem() as system:
        a, b, c = await nodes(system)

        assert await a.ask(Via((b, c))) == "c"


async def test_two_that_ask_each_other_from_separate_requests_are_told() -> None:
    causes: list[BaseException | None] = []

    async def ask(ref: Ref, request: After) -> None:
        with pytest.raises(ActorFailed) as caught:
            await ref.ask(request)

        causes.append(caught.value.__cause__)

    with fail_after(1):
        async with ActorSystem() as system:
            a, b, _ = await nodes(system)
            gate = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(ask, a, After(gate, b))
                group.start_soon(ask, b, After(gate, a))
                await wait_all_tasks_blocked()
                gate.set()

    # The one that closes the circle fails, and with it the other's hope of an answer.
    stopped, cycle = sorted(causes, key=lambda cause: type(cause).__name__)
    assert isinstance(stopped, ActorStopped)
    assert cycle_in(cycle).chain in {("a", "b", "a"), ("b", "a", "b")}


async def test_several_waits_at_once_are_all_looked_at() -> None:
    class Wide(Node):
        @handles
        async def via(self, request: Via) -> str:
            a, b = request.path
            async with anyio.create_task_group() as group:
                group.start_soon(a.ask, After(anyio.Event(), b))
                await wait_all_tasks_blocked()
                group.start_soon(b.ask, Via((self.ref,)))

            return ""

    async with ActorSystem() as system:
        a, b, _ = await nodes(system)
        wide = await system.spawn("wide", Wide)

        with pytest.raises(ActorFailed) as caught, fail_after(5):
            await wide.ask(Via((a, b)))

        assert "b → wide → b" in str(caught.value)


async def test_a_background_task_may_ask_those_who_ask_its_actor() -> None:
    answers: list[str] = []

    class Boss(Actor):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            async with anyio.create_task_group() as self.group:
                yield
                self.group.cancel_scope.cancel()

        @handles
        async def start(self, message: Start) -> None:
            for number in range(200):
                self.group.start_soon(self.route, number)

        async def route(self, number: int) -> None:
            worker = await self.spawn(str(number), Node)
            # The worker asks the boss while the boss's task waits for the worker.
            answers.append(await worker.ask(Via((self.ref,))))
            worker.stop()

        @handles
        async def via(self, request: Via) -> str:
            return self.ref.name

    with fail_after(20):
        async with ActorSystem() as system:
            boss = await system.spawn("boss", Boss)
            boss.tell(Start())
            while len(answers) < 200:
                await wait_all_tasks_blocked()

    assert set(answers) == {"boss"}


async def test_a_background_task_that_outlives_its_turn_closes_no_circle() -> None:
    class Boss(Node):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            async with anyio.create_task_group() as self.group:
                yield
                self.group.cancel_scope.cancel()

        @handles
        async def after(self, request: After) -> str:
            self.group.start_soon(self.route, request)
            await wait_all_tasks_blocked()
            return "begun"

        async def route(self, request: After) -> None:
            answers.append(await request.other.ask(After(request.gate, self.ref)))

    answers: list[str] = []
    gate = anyio.Event()
    async with ActorSystem() as system:
        boss = await system.spawn("boss", Boss)
        worker = await system.spawn("worker", Node)

        assert await boss.ask(After(gate, worker)) == "begun"
        gate.set()
        await wait_all_tasks_blocked()

    assert answers == ["pong"]


async def test_a_child_that_asks_its_parent_while_it_is_spawned_is_told() -> None:
    class Curious(Actor):
        def __init__(self, parent: Ref) -> None:
            self.parent = parent

        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            await self.parent.ask(Ping())
            yield

    class Parent(Node):
        @handles
        async def via(self, request: Via) -> str:
            await self.spawn("child", Curious, self.ref)
            return ""

    async with ActorSystem() as system:
        parent = await system.spawn("parent", Parent)

        with pytest.raises(ActorFailed) as caught, fail_after(1):
            await parent.ask(Via(()))

        assert isinstance(caught.value.__cause__, ActorStartFailed)
        chain = cycle_in(caught.value).chain
        assert chain == ("parent/child", "parent", "parent/child")
