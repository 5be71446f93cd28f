"""Starts, ends, watches, and what must not be left behind."""
# pyright: reportPrivateUsage=false
# Looks inside for what was left.

import gc
import weakref
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import pytest
from anyio import CancelScope, fail_after, move_on_after, wait_all_tasks_blocked

from mma_runtime.errors import (
    ActorFailed,
    ActorStartFailed,
    ActorStopped,
    NameTaken,
    UnhandledMessage,
)
from mma_runtime.events import (
    ActorCrashed,
    ActorEnded,
    ActorEvent,
    ActorStarted,
    Event,
)
from mma_runtime.kernel import (
    Actor,
    ActorSystem,
    Message,
    Ref,
    Request,
    Terminated,
    handles,
)


@dataclass(frozen=True, slots=True)
class Go(Message):
    pass


@dataclass(frozen=True, slots=True)
class Wait(Request[None]):
    pass


@dataclass(frozen=True, slots=True)
class Seen(Request[list[Message]]):
    pass


class Interrupt(BaseException):
    """As `KeyboardInterrupt`, which the test runner would take for its own."""


class Plain(Actor):
    restart = "temporary"

    @handles
    async def go(self, message: Go) -> None:
        raise ValueError("bug")

    @handles
    async def wait(self, request: Wait) -> None:
        await anyio.sleep_forever()


class Watcher(Actor):
    def __init__(self, *others: Ref) -> None:
        self.seen: list[Message] = []
        for other in others:
            self.watch(other)
            self.watch(other)

    @handles
    async def ended(self, message: Terminated) -> None:
        self.seen.append(message)

    @handles
    async def see(self, request: Seen) -> list[Message]:
        return self.seen


# --- watching -----------------------------------------------------------------


async def test_a_watcher_is_told_once_with_the_reason() -> None:
    async with ActorSystem() as system:
        stopped = await system.spawn("stopped", Plain)
        failed = await system.spawn("failed", Plain)
        watcher = await system.spawn("watcher", Watcher, stopped, failed)

        stopped.stop()
        await stopped.join()
        failed.tell(Go())
        await failed.join()
        seen = await watcher.ask(Seen())

    assert seen == [
        Terminated("stopped", "stopped"),
        Terminated("failed", "ValueError: bug"),
    ]
    assert isinstance(seen[1], Terminated)
    assert isinstance(seen[1].error, ValueError)


async def test_watching_one_that_has_ended_is_answered_at_once() -> None:
    async with ActorSystem() as system:
        ended = await system.spawn("ended", Plain)
        ended.stop()
        await ended.join()
        watcher = await system.spawn("watcher", Watcher, ended)

        assert Terminated("ended", "stopped") in await watcher.ask(Seen())


async def test_a_watcher_that_has_ended_is_not_told() -> None:
    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        target = await system.spawn("target", Plain)
        watcher = await system.spawn("watcher", Watcher, target)
        watcher.stop()
        await watcher.join()
        target.stop()
        await target.join()

        assert system.dead_letters == 0
        assert not target.cell.watchers


async def test_a_watcher_that_is_being_stopped_is_not_told() -> None:
    class Busy(Watcher):
        @handles
        async def go(self, message: Go) -> None:
            self.ref.stop()
            target.stop()
            await target.join()

    async with ActorSystem() as system:
        target = await system.spawn("target", Plain)
        watcher = await system.spawn("watcher", Busy, target)
        watcher.tell(Go())
        await watcher.join()

        assert system.dead_letters == 0


async def test_an_actor_that_cannot_handle_the_news_cannot_watch() -> None:
    class Blind(Actor):
        def __init__(self, other: Ref) -> None:
            self.watch(other)

    async with ActorSystem() as system:
        other = await system.spawn("other", Plain)

        with pytest.raises(ActorStartFailed) as caught:
            await system.spawn("blind", Blind, other)

        assert isinstance(caught.value.__cause__, UnhandledMessage)


async def test_work_that_is_linked_to_an_actor_ends_with_it() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("plain", Plain)
        with fail_after(5), CancelScope() as scope:
            ref.link(scope)
            ref.tell(Go())
            await anyio.sleep_forever()

        assert scope.cancelled_caught
        assert system.whereis("plain") is None


async def test_work_that_is_linked_to_one_that_has_ended_ends_at_once() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("plain", Plain)
        ref.stop()
        with CancelScope() as scope:
            ref.link(scope)
            await anyio.sleep_forever()

        assert scope.cancelled_caught


# --- starting -----------------------------------------------------------------


async def test_a_lifespan_that_fails_half_way_is_left_and_fails_the_spawner() -> None:
    log: list[str] = []

    class Half(Actor):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            log.append("acquire")
            try:
                await self.spawn("child", Plain)
                raise OSError("no network")
                yield
            finally:
                log.append("release")

    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        with pytest.raises(ActorStartFailed, match="no network") as caught:
            await system.spawn("half", Half)

        assert isinstance(caught.value.__cause__, OSError)
        assert system.whereis("half") is None
        assert system.whereis("half/child") is None

    assert log == ["acquire", "release"]
    assert [event.actor for event in events if isinstance(event, ActorEvent)] == [
        "half/child",
        "half/child",
    ]


async def test_a_cancelled_spawner_leaves_no_actor() -> None:
    log: list[str] = []

    class Slow(Actor):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            try:
                await anyio.sleep_forever()
                yield
            finally:
                log.append("release")

    async with ActorSystem() as system:
        with move_on_after(0.01):
            await system.spawn("slow", Slow)

        assert log == ["release"]
        assert system.whereis("slow") is None


async def test_an_actor_stopped_while_it_starts_fails_the_spawner() -> None:
    class Slow(Actor):
        grace = 0.01

        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            self.ref.stop()
            await anyio.sleep_forever()
            yield

    async with ActorSystem() as system:
        with pytest.raises(ActorStartFailed, match="it was stopped"):
            await system.spawn("slow", Slow)


async def test_an_interrupt_in_a_constructor_leaves_no_actor() -> None:
    class Interrupted(Actor):
        def __init__(self) -> None:
            raise Interrupt

    async with ActorSystem() as system:
        with pytest.raises(Interrupt):
            await system.spawn("interrupted", Interrupted)

        assert system.whereis("interrupted") is None


async def test_an_interrupt_in_a_handler_leaves_the_system() -> None:
    class Interrupted(Plain):
        @handles
        async def go(self, message: Go) -> None:
            raise Interrupt

    system = ActorSystem()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with system:
            ref = await system.spawn("interrupted", Interrupted)
            ref.tell(Go())
            await anyio.sleep_forever()

    assert caught.group_contains(Interrupt)
    assert system.whereis("interrupted") is None


async def test_an_interrupt_during_a_start_leaves_no_children() -> None:
    class Interrupted(Actor):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            await self.spawn("child", Plain)
            raise Interrupt
            yield

    system = ActorSystem()
    with pytest.raises(BaseExceptionGroup) as caught, fail_after(2):
        async with system:
            await system.spawn("interrupted", Interrupted)

    assert caught.group_contains(Interrupt)
    assert system.whereis("interrupted/child") is None


@pytest.mark.parametrize("name", ["", "a/b"])
async def test_a_name_with_a_slash_or_none_is_refused(name: str) -> None:
    async with ActorSystem() as system:
        with pytest.raises(ValueError, match="must be text without a '/'"):
            await system.spawn(name, Plain)


async def test_what_is_no_actor_class_is_refused() -> None:
    async with ActorSystem() as system:
        with pytest.raises(TypeError, match="a subclass of `Actor`, not"):
            await system.spawn("plain", Plain.__new__)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - the point


async def test_a_system_takes_actors_only_while_it_is_entered() -> None:
    system = ActorSystem()
    with pytest.raises(ActorStopped, match="enter it"):
        await system.spawn("plain", Plain)

    assert system.whereis("plain") is None
    assert system.dead_letters == 0
    async with system:
        pass

    with pytest.raises(ActorStopped, match="it has been left"):
        await system.spawn("plain", Plain)


async def test_an_actor_that_ends_takes_no_more_children() -> None:
    problems: list[str] = []

    class Late(Plain):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            with pytest.raises(NameTaken):
                await self.spawn("child", Plain)
                await self.spawn("child", Plain)

            yield
            try:
                await self.spawn("late", Plain)
            except ActorStopped as error:
                problems.append(str(error))

    class Ended(Plain):
        def __init__(self) -> None:
            objects.append(self)

    objects: list[Actor] = []
    async with ActorSystem() as system:
        late = await system.spawn("late", Late)
        late.stop()
        await late.join()
        ended = await system.spawn("ended", Ended)
        ended.stop()
        await ended.join()

        assert problems == ["actor 'late' has stopped: it takes no more children"]
        with pytest.raises(ActorStopped):
            await objects[0].spawn("late", Plain)


# --- ending -------------------------------------------------------------------


class Resource(Plain):
    def __init__(self, log: list[str]) -> None:
        self.log = log

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self.log.append(self.ref.name)


async def test_a_cancelled_system_cancels_at_once_and_in_order() -> None:
    log: list[str] = []

    with fail_after(2), anyio.CancelScope() as scope:
        async with ActorSystem() as system, anyio.create_task_group() as group:
            for name in "abc":
                ref = await system.spawn(name, Resource, log)
                group.start_soon(ref.ask, Wait())

            await wait_all_tasks_blocked()
            scope.cancel()

    assert log == ["c", "b", "a"]


async def test_a_system_cancelled_while_it_waits_for_actors_waits_no_longer() -> None:
    log: list[str] = []

    async def cancel(scope: anyio.CancelScope) -> None:
        await wait_all_tasks_blocked()
        scope.cancel()

    with fail_after(2):
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with ActorSystem(grace=1000) as system:
                    parent = await system.spawn("parent", Stuck, log)
                    parent.tell(Go())
                    await wait_all_tasks_blocked()
                    group.start_soon(cancel, scope)

    assert log == ["parent/child", "parent"]


class Stuck(Resource):
    """Has a child that does not end in time."""

    @handles
    async def go(self, message: Go) -> None:
        if "/" in self.ref.name:
            await anyio.sleep_forever()

        child = await self.spawn("child", Stuck, self.log)
        child.tell(Go())


async def test_an_error_in_the_block_leaves_it_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with ActorSystem() as system:
            await system.spawn("plain", Plain)
            raise KeyError("mine")


async def test_an_error_on_the_way_out_is_not_swallowed() -> None:
    class Leaky(Actor):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            yield
            raise OSError("flush failed")

    events: list[Event] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with ActorSystem(events.append) as system:
            await system.spawn("leaky", Leaky)
            raise KeyError("mine")

    assert [str(error) for error in caught.value.exceptions] == [
        "flush failed",
        "'mine'",
    ]
    assert events == [
        ActorStarted(actor="leaky"),
        ActorCrashed(actor="leaky", message="", error="OSError: flush failed"),
        ActorEnded(actor="leaky", reason="OSError: flush failed"),
    ]


async def test_an_error_at_a_stop_in_between_is_told_and_ends_only_that_actor() -> None:
    class Leaky(Watcher):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            yield
            raise OSError("flush failed")

    async with ActorSystem() as system:
        leaky = await system.spawn("leaky", Leaky)
        watcher = await system.spawn("watcher", Watcher, leaky)
        leaky.stop()
        leaky.stop()
        await leaky.join()
        await leaky.join()

        assert await watcher.ask(Seen()) == [
            Terminated("leaky", "OSError: flush failed")
        ]


async def test_a_lifespan_that_swallows_the_failure_does_not_hide_it() -> None:
    class Hiding(Plain):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            with suppress(ValueError):
                yield

    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        ref = await system.spawn("hiding", Hiding)
        ref.tell(Go())
        await ref.join()

    assert events[1:] == [
        ActorCrashed(actor="hiding", message="Go", error="ValueError: bug"),
        ActorEnded(actor="hiding", reason="ValueError: bug"),
    ]


async def test_several_failures_at_once_are_told_as_a_group() -> None:
    class Twice(Plain):
        @handles
        async def go(self, message: Go) -> None:
            raise ExceptionGroup("two", [ValueError("one"), KeyError("k")])

    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        ref = await system.spawn("twice", Twice)
        ref.tell(Go())
        await ref.join()

    assert (
        ActorEnded(actor="twice", reason="ExceptionGroup: two (2 sub-exceptions)")
        in events
    )


async def test_an_actor_can_tell_of_its_own_events() -> None:
    class Telling(Plain):
        @handles
        async def go(self, message: Go) -> None:
            self.emit(ActorEnded(actor="mine", reason=""))
            self.ref.stop()

    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        ref = await system.spawn("telling", Telling)
        ref.tell(Go())
        await ref.join()

    assert events[1] == ActorEnded(actor="mine", reason="")
    async with ActorSystem() as system:
        ref = await system.spawn("telling", Telling)
        ref.tell(Go())
        await ref.join()


async def test_ten_thousand_actors_that_have_ended_are_forgotten() -> None:
    class Child(Watcher):
        restart = "temporary"

    class Parent(Plain):
        @handles
        async def wait(self, request: Wait) -> None:
            for number in range(10_000):
                child = await self.spawn(str(number), Child, self.ref)
                if number % 2:
                    child.tell(Terminated("", ""))
                child.stop()
                await child.join()

    class Counted(Child):
        pass

    async with ActorSystem() as system:
        parent = await system.spawn("parent", Parent)
        await parent.ask(Wait())
        counted = await system.spawn("counted", Counted)
        objects = [
            weakref.ref(thing)
            for thing in gc.get_objects()
            if isinstance(thing, Counted)
        ]
        counted.stop()
        await counted.join()
        gc.collect()

        assert len(objects) == 1
        assert objects[0]() is None
        assert parent.cell._children is not None
        assert parent.cell._children._children == {}
        assert not parent.cell.watchers
        assert list(system._registry.actors if system._registry else ()) == ["parent"]


@pytest.mark.parametrize("way", ["answer", "crash", "cancel"])
async def test_an_actor_leaves_no_work_for_the_garbage_collector(way: str) -> None:
    async with ActorSystem() as system:

        async def live(name: str) -> None:
            ref = await system.spawn(name, Mayfly)
            with move_on_after(0 if way == "cancel" else 5), suppress(ActorFailed):
                await ref.ask(Die(crash=way == "crash"))

            ref.stop()
            await ref.join()

        await live("first")
        gc.collect()
        gc.disable()
        try:
            for number in range(20):
                await live(str(number))

            assert gc.collect() < 20
        finally:
            gc.enable()


@dataclass(frozen=True, slots=True)
class Die(Request[None]):
    crash: bool


class Mayfly(Actor):
    restart = "temporary"

    @handles
    async def die(self, request: Die) -> None:
        await anyio.lowlevel.checkpoint()
        if request.crash:
            raise ValueError("bug")


async def test_refs_compare_by_the_actor_and_name_it() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("plain", Plain)
        other = await system.spawn("other", Plain)

        assert ref == system.whereis("plain")
        assert hash(ref) == hash(system.whereis("plain"))
        assert ref != other
        assert ref != "plain"
        assert repr(ref) == "<Ref 'plain' of Plain>"
