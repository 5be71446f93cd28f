"""Actors: messages, requests, the lifespan, children and names."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from anyio import fail_after, wait_all_tasks_blocked

from mma_runtime.errors import (
    ActorFailed,
    ActorStartFailed,
    ActorStopped,
    NameTaken,
    Refused,
    UnhandledMessage,
)
from mma_runtime.events import ActorEnded, ActorStarted, Event
from mma_runtime.kernel import Actor, ActorSystem, Message, Request, handles


@dataclass(frozen=True, slots=True)
class Add(Message):
    n: int


@dataclass(frozen=True, slots=True)
class Total(Request[int]):
    pass


@dataclass(frozen=True, slots=True)
class Divide(Request[float]):
    by: int


class Counter(Actor):
    restart = "temporary"

    def __init__(self, start: int, *, step: int = 1) -> None:
        self.total = start
        self.step = step

    @handles
    async def add(self, message: Add) -> None:
        self.total += message.n * self.step

    @handles
    async def count(self, request: Total) -> int:
        return self.total

    @handles
    async def divide(self, request: Divide) -> float:
        if request.by < 0:
            raise Refused("not by a negative number")

        return self.total / request.by


async def test_an_actor_counts() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("counter", Counter, 3, step=2)

        ref.tell(Add(1))
        await ref.send(Add(2))

        assert await ref.ask(Total()) == 9
        assert ref.name == "counter"
        assert system.whereis("counter") == ref


async def test_a_bug_reaches_the_asker_and_ends_a_temporary_actor() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("counter", Counter, 1)

        with pytest.raises(ActorFailed, match="ZeroDivisionError") as caught:
            await ref.ask(Divide(0))

        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        await ref.join()
        assert system.whereis("counter") is None
        with pytest.raises(ActorStopped):
            await ref.ask(Total())


async def test_a_refusal_reaches_the_asker_and_ends_nothing() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("counter", Counter, 1)

        with pytest.raises(Refused, match="negative"):
            await ref.ask(Divide(-1))

        assert await ref.ask(Total()) == 1


async def test_a_message_without_a_handler_fails_where_it_is_sent() -> None:
    @dataclass(frozen=True, slots=True)
    class Unknown(Message):
        pass

    async with ActorSystem() as system:
        ref = await system.spawn("counter", Counter, 1)

        with pytest.raises(UnhandledMessage, match="Add, Divide, Total"):
            ref.tell(Unknown())


async def test_a_name_is_taken_until_its_actor_has_ended() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("counter", Counter, 1)

        with pytest.raises(NameTaken):
            await system.spawn("counter", Counter, 2)

        ref.stop()
        await ref.join()
        again = await system.spawn("counter", Counter, 2)
        assert await again.ask(Total()) == 2
        assert again != ref


async def test_a_constructor_that_raises_fails_the_spawner() -> None:
    class Broken(Actor):
        def __init__(self) -> None:
            raise OSError("no disk")

    async with ActorSystem() as system:
        with pytest.raises(ActorStartFailed, match="no disk") as caught:
            await system.spawn("broken", Broken)

        assert isinstance(caught.value.__cause__, OSError)
        assert system.whereis("broken") is None


async def test_the_lifespan_is_around_all_messages_and_told_as_events() -> None:
    log: list[str] = []
    events: list[Event] = []

    class Resource(Actor):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            log.append("acquire")
            try:
                yield
            finally:
                log.append("release")

        @handles
        async def add(self, message: Add) -> None:
            log.append("use")

    async with ActorSystem(emit=events.append) as system:
        ref = await system.spawn("resource", Resource)
        log.append("spawned")
        ref.tell(Add(1))
        await wait_all_tasks_blocked()

    assert log == ["acquire", "spawned", "use", "release"]
    assert events == [
        ActorStarted(actor="resource"),
        ActorEnded(actor="resource", reason="stopped"),
    ]


async def test_children_stop_in_reverse_before_their_parent() -> None:
    log: list[str] = []

    @dataclass(frozen=True, slots=True)
    class Names(Request[list[str]]):
        pass

    class Leaf(Actor):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            yield
            log.append(self.ref.name)

    class Parent(Actor):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            yield
            log.append(self.ref.name)

        @handles
        async def names(self, request: Names) -> list[str]:
            return [(await self.spawn(name, Leaf)).name for name in "abc"]

    async with ActorSystem() as system:
        ref = await system.spawn("top", Parent)
        assert await ref.ask(Names()) == ["top/a", "top/b", "top/c"]

    assert log == ["top/c", "top/b", "top/a", "top"]


@dataclass(frozen=True, slots=True)
class Work(Request[str]):
    gate: anyio.Event = field(default_factory=anyio.Event)


class Worker(Actor):
    restart = "temporary"

    def __init__(self) -> None:
        self.log: list[str] = []

    @handles
    async def work(self, request: Work) -> str:
        try:
            await request.gate.wait()
        except BaseException:
            self.log.append("cancelled")
            raise

        return ",".join([*self.log, "done"])


async def test_a_cancelled_asker_cancels_the_work_it_asked_for_and_only_that() -> None:
    async with ActorSystem() as system, anyio.create_task_group() as group:
        ref = await system.spawn("worker", Worker)
        scope = anyio.CancelScope()

        async def ask() -> None:
            with scope:
                await ref.ask(Work())

        group.start_soon(ask)
        await wait_all_tasks_blocked()
        scope.cancel()
        open_gate = anyio.Event()
        open_gate.set()

        assert await ref.ask(Work(open_gate)) == "cancelled,done"
        assert ref.statistics().handled == 2


async def test_a_handler_that_ignores_its_cancellation_harms_nobody() -> None:
    class Stubborn(Worker):
        @handles
        async def work(self, request: Work) -> str:
            try:
                await request.gate.wait()
            except anyio.get_cancelled_exc_class():
                self.log.append("ignored")

            return ",".join([*self.log, "done"])

    async with ActorSystem() as system:
        ref = await system.spawn("worker", Stubborn)
        with anyio.move_on_after(0.01):
            await ref.ask(Work())

        open_gate = anyio.Event()
        open_gate.set()
        assert await ref.ask(Work(open_gate)) == "ignored,done"


async def test_a_lifespan_can_extend_the_one_of_its_base() -> None:
    log: list[str] = []

    class Extended(Worker):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            async with super().lifespan():
                log.append("in")
                yield

    async with ActorSystem() as system:
        await system.spawn("extended", Extended)

    assert log == ["in"]


async def test_leaving_the_system_lets_the_message_in_hand_finish() -> None:
    answers: list[str] = []
    gate = anyio.Event()

    async def ask(system: ActorSystem) -> None:
        ref = await system.spawn("worker", Worker)
        answers.append(await ref.ask(Work(gate)))

    with fail_after(5):
        async with anyio.create_task_group() as group, ActorSystem() as system:
            group.start_soon(ask, system)
            await wait_all_tasks_blocked()
            group.start_soon(_set_when_blocked, gate)

    assert answers == ["done"]


async def _set_when_blocked(gate: anyio.Event) -> None:
    await wait_all_tasks_blocked()
    gate.set()


@pytest.mark.parametrize(("own", "of_all"), [(0.01, 60), (60, 0.01)])
async def test_leaving_the_system_cancels_what_outlasts_the_grace(
    own: float, of_all: float
) -> None:
    class Graced(Worker):
        grace = own

    async def ask(system: ActorSystem) -> None:
        ref = await system.spawn("worker", Graced)
        with pytest.raises(ActorStopped):
            await ref.ask(Work())

    with fail_after(5):
        async with (
            anyio.create_task_group() as group,
            ActorSystem(grace=of_all) as system,
        ):
            group.start_soon(ask, system)
            await wait_all_tasks_blocked()


class Flaky(Actor):
    """Fails on its background task when told to, with what it was told."""

    backoff = (0.0, 0.0)

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.failing = anyio.Event()

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        self.log.append("up")
        async with anyio.create_task_group() as self.group:
            self.group.start_soon(self._watch)
            yield
            self.group.cancel_scope.cancel()

        self.log.append("down")

    async def _watch(self) -> None:
        await self.failing.wait()
        raise OSError("the pipe broke")

    @handles
    async def add(self, message: Add) -> None:
        self.failing.set()

    @handles
    async def work(self, request: Work) -> str:
        self.failing.set()
        await request.gate.wait()
        return "never"


async def test_a_failing_background_task_restarts_the_actor() -> None:
    log: list[str] = []
    async with ActorSystem(backoff=(0, 0)) as system:
        ref = await system.spawn("flaky", Flaky, log)

        with pytest.raises(ActorFailed, match="the pipe broke"):
            await ref.ask(Work())

        await wait_all_tasks_blocked()
        assert ref.statistics().restarts == 1

    assert log == ["up", "up", "down"]


async def test_a_failure_that_repeats_leaves_the_system() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with ActorSystem(backoff=(0, 0), intensity=(1, 5)) as system:
            ref = await system.spawn("flaky", Flaky, [])
            ref.tell(Add(1))
            await wait_all_tasks_blocked()
            ref.tell(Add(1))
            await anyio.sleep_forever()

    assert [str(error) for error in caught.value.exceptions] == [
        "actor 'flaky' failed again after 1 restarts within 5 s; giving up"
    ]
