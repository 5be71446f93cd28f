"""Idle actors: no task before the first message, or none at all for what is asked."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass

import anyio
import pytest
from anyio import (
    CancelScope,
    create_task_group,
    get_current_task,
    get_running_tasks,
    wait_all_tasks_blocked,
)
from anyio.lowlevel import checkpoint

from mma_runtime.errors import ActorFailed, ActorStopped, AskCycle, Refused
from mma_runtime.events import ActorCrashed, ActorEnded, ActorRestarted, Event
from mma_runtime.kernel import Actor, ActorSystem, Message, Ref, Request, handles

WHERE: ContextVar[str] = ContextVar("where", default="nowhere")


class Interrupt(BaseException):
    """As `KeyboardInterrupt`, which the test runner would take for its own."""


@dataclass(frozen=True, slots=True)
class Note(Message):
    text: str


@dataclass(frozen=True, slots=True)
class Notes(Request[list[str]]):
    pass


@dataclass(frozen=True, slots=True)
class Task(Request[int]):
    """Ask for the id of the task that handles this."""


@dataclass(frozen=True, slots=True)
class Do(Request[str]):
    what: str


@dataclass(frozen=True, slots=True)
class Pass(Request[str]):
    """Have another actor asked to do something."""

    to: Ref
    what: str


@dataclass(frozen=True, slots=True)
class Hire(Request[Ref]):
    pass


class Plain(Actor):
    backoff = (0.0, 0.0)

    def __init__(self, log: list[str] | None = None) -> None:
        self.log = [] if log is None else log

    @handles
    async def note(self, message: Note) -> None:
        self.log.append(f"{message.text} {WHERE.get()}".removesuffix(" nowhere"))

    @handles
    async def notes(self, _request: Notes) -> list[str]:
        return self.log

    @handles
    async def task(self, _request: Task) -> int:
        return get_current_task().id

    @handles
    async def do(self, request: Do) -> str:
        match request.what:
            case "fail":
                raise ValueError("bug")
            case "refuse":
                raise Refused("no")
            case "interrupt":
                raise Interrupt
            case "wait":
                await anyio.sleep_forever()
            case "tidy":
                await self._wait_and("tidied up")
            case "break":
                try:
                    await anyio.sleep_forever()
                finally:
                    raise ValueError("bug")
            case "split":
                async with create_task_group() as group:
                    group.start_soon(self._wait_and, "", ValueError("bug"))
                    group.start_soon(anyio.sleep_forever)
                    await anyio.sleep_forever()
            case _:
                pass

        return f"did {request.what}"

    @handles
    async def hand_on(self, request: Pass) -> str:
        return await request.to.ask(Do(request.what))

    @handles
    async def hire(self, _request: Hire) -> Ref:
        return await self.spawn("child", Plain, self.log)

    async def _wait_and(self, word: str, error: Exception | None = None) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with CancelScope(shield=True):
                await checkpoint()

            self.log.append(word)
            if error is not None:
                raise error


class Guest(Plain):
    in_askers_task = True


# --- asleep -------------------------------------------------------------------


async def test_an_actor_has_no_task_before_its_first_message() -> None:
    async with ActorSystem() as system:
        before = len(get_running_tasks())
        ref = await system.spawn("plain", Plain)
        await wait_all_tasks_blocked()
        asleep = len(get_running_tasks())
        ref.tell(Note("first"))
        await wait_all_tasks_blocked()

        assert asleep == before
        assert len(get_running_tasks()) == before + 1
        assert await ref.ask(Notes()) == ["first"]


async def test_an_actor_that_never_had_a_message_ends_without_a_task() -> None:
    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        ref = await system.spawn("plain", Plain)
        ref.stop()

        assert system.whereis("plain") is None
        assert isinstance(events[-1], ActorEnded)
        await ref.join()
        with pytest.raises(ActorStopped):
            await ref.ask(Notes())


async def test_the_task_has_the_context_of_the_spawner_and_not_of_the_sender() -> None:
    async with ActorSystem() as system:
        WHERE.set("spawner")
        ref = await system.spawn("plain", Plain)
        WHERE.set("sender")
        ref.tell(Note("at"))

        assert await ref.ask(Notes()) == ["at spawner"]
        assert WHERE.get() == "sender"


async def test_a_sleeper_with_children_ends_after_them() -> None:
    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        ref = await system.spawn("guest", Guest)
        await ref.ask(Hire())
        ref.stop()
        await ref.join()

    ended = [event.actor for event in events if isinstance(event, ActorEnded)]
    assert ended == ["guest/child", "guest"]


async def test_sleepers_are_restarted_with_their_siblings() -> None:
    events: list[Event] = []
    async with ActorSystem(events.append, strategy="one_for_all") as system:
        failing = await system.spawn("failing", Plain)
        asleep = await system.spawn("asleep", Guest, ["old"])
        with pytest.raises(ActorFailed):
            await failing.ask(Do("fail"))

        assert await failing.ask(Do("go on")) == "did go on"
        assert await asleep.ask(Notes()) == ["old"]
        assert asleep.statistics().restarts == 1


# --- in the asker's task ------------------------------------------------------


async def test_a_guest_handles_a_request_in_its_askers_task() -> None:
    async with ActorSystem() as system:
        guest = await system.spawn("guest", Guest)
        plain = await system.spawn("plain", Plain)

        for _ in range(2):
            assert await guest.ask(Task()) == get_current_task().id

        assert await plain.ask(Task()) != get_current_task().id
        assert guest.statistics().handled == 2


async def test_others_get_their_turn_between_two_requests() -> None:
    async with ActorSystem() as system, create_task_group() as group:
        guest = await system.spawn("guest", Guest)
        seen: list[str] = []

        async def look_on() -> None:
            seen.append("looked on")

        group.start_soon(look_on)
        for _ in range(3):
            await guest.ask(Task())

        assert seen == ["looked on"]


async def test_a_message_that_comes_meanwhile_is_handled_after_it() -> None:
    async with ActorSystem() as system, create_task_group() as group:
        log: list[str] = []
        guest = await system.spawn("guest", Guest, log)

        async def ask() -> None:
            await guest.ask(Do("tidy"))

        asker = group.start_soon(ask)
        await wait_all_tasks_blocked()
        guest.tell(Note("later"))
        await wait_all_tasks_blocked()
        assert log == []
        asker.cancel()

        assert await guest.ask(Notes()) == ["tidied up", "later"]


async def test_a_guest_refuses_and_lives() -> None:
    async with ActorSystem() as system:
        guest = await system.spawn("guest", Guest)
        with pytest.raises(Refused, match="no"):
            await guest.ask(Do("refuse"))

        assert await guest.ask(Do("more")) == "did more"
        assert guest.statistics().restarts == 0


@pytest.mark.parametrize("has_child", [False, True])
async def test_a_guest_that_crashes_tells_its_asker_and_comes_back(
    has_child: bool,
) -> None:
    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        guest = await system.spawn("guest", Guest)
        if has_child:
            await guest.ask(Hire())

        with pytest.raises(ActorFailed, match="bug") as caught:
            await guest.ask(Do("fail"))

        assert isinstance(caught.value.__cause__, ValueError)
        assert await guest.ask(Do("more")) == "did more"
        assert system.whereis("guest/child") is None

    kinds = [type(event) for event in events]
    assert kinds.count(ActorCrashed) == kinds.count(ActorRestarted) == 1


async def test_a_cancelled_asker_waits_for_the_handler_and_the_guest_lives() -> None:
    async with ActorSystem() as system:
        guest = await system.spawn("guest", Guest)
        with anyio.move_on_after(0) as scope:
            await guest.ask(Do("wait"))

        assert scope.cancelled_caught
        async with create_task_group() as group:
            group.start_soon(guest.ask, Do("tidy"))
            await wait_all_tasks_blocked()
            group.cancel_scope.cancel()

        assert await guest.ask(Notes()) == ["tidied up"]
        assert guest.statistics().restarts == 0


@pytest.mark.parametrize("what", ["break", "split"])
async def test_a_cancelled_asker_is_told_of_no_crash_but_the_parent_is(
    what: str,
) -> None:
    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        guest = await system.spawn("guest", Guest)
        async with create_task_group() as group:
            group.start_soon(guest.ask, Do(what))
            await wait_all_tasks_blocked()
            group.cancel_scope.cancel()

        assert await guest.ask(Do("more")) == "did more"

    assert sum(isinstance(event, ActorCrashed) for event in events) == 1


async def test_a_guest_that_is_stopped_finishes_what_it_was_asked() -> None:
    async with ActorSystem() as system, create_task_group() as group:
        guest = await system.spawn("guest", Guest)
        begun = anyio.Event()

        class Slow(Guest):
            @handles
            async def do(self, request: Do) -> str:
                begun.set()
                await wait_all_tasks_blocked()
                return "done"

        slow = await system.spawn("slow", Slow)
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await slow.ask(Do("it")))

        group.start_soon(ask)
        await begun.wait()
        slow.stop()
        await slow.join()
        assert answers == ["done"]
        assert await guest.ask(Do("it")) == "did it"


async def test_a_guest_that_outlasts_its_grace_is_cancelled() -> None:
    class Slow(Guest):
        grace = 0.01

    async with ActorSystem() as system, create_task_group() as group:
        slow = await system.spawn("slow", Slow)

        async def ask() -> None:
            with pytest.raises(ActorStopped):
                await slow.ask(Do("wait"))

        group.start_soon(ask)
        await wait_all_tasks_blocked()
        slow.stop()
        await slow.join()


async def test_leaving_the_system_cancels_a_guest_and_not_its_asker() -> None:
    asked: list[str] = []
    async with create_task_group() as group:

        async def ask(guest: Ref) -> None:
            with pytest.raises(ActorStopped):
                await guest.ask(Do("wait"))

            asked.append("and was answered")

        with pytest.raises(OSError, match="host"):
            async with ActorSystem() as system:
                group.start_soon(ask, await system.spawn("guest", Guest))
                await wait_all_tasks_blocked()
                raise OSError("host")

    assert asked == ["and was answered"]


async def test_a_guest_is_halted_when_its_sibling_fails() -> None:
    async with (
        ActorSystem(strategy="one_for_all") as system,
        create_task_group() as group,
    ):
        failing = await system.spawn("failing", Plain)
        guest = await system.spawn("guest", Guest)

        async def ask() -> None:
            with pytest.raises(ActorStopped, match="'failing' failed"):
                await guest.ask(Do("wait"))

        group.start_soon(ask)
        await wait_all_tasks_blocked()
        with pytest.raises(ActorFailed):
            await failing.ask(Do("fail"))

        await failing.ask(Do("more"))
        assert await guest.ask(Do("more")) == "did more"


async def test_a_guest_whose_child_fails_too_often_fails_with_its_asker() -> None:
    class Strict(Guest):
        restart = "temporary"
        intensity = (0, 5.0)

    async with ActorSystem() as system, create_task_group() as group:
        guest = await system.spawn("guest", Strict)
        child = await guest.ask(Hire())

        async def ask() -> None:
            with pytest.raises(ActorFailed, match="RestartsExhausted"):
                await guest.ask(Do("wait"))

        group.start_soon(ask)
        await wait_all_tasks_blocked()
        with pytest.raises(ActorFailed):
            await child.ask(Do("fail"))

        await guest.join()


async def test_a_sleeper_whose_child_fails_too_often_fails() -> None:
    class Strict(Guest):
        restart = "temporary"
        intensity = (0, 5.0)

    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        guest = await system.spawn("guest", Strict)
        child = await guest.ask(Hire())
        with pytest.raises(ActorFailed):
            await child.ask(Do("fail"))

        await guest.join()

    last = events[-1]
    assert isinstance(last, ActorEnded)
    assert "RestartsExhausted" in last.reason


async def test_an_interrupt_in_the_askers_task_is_the_askers() -> None:
    async with ActorSystem() as system:
        guest = await system.spawn("guest", Guest)
        with pytest.raises(Interrupt):
            await guest.ask(Do("interrupt"))

        await guest.join()


async def test_guests_that_ask_in_a_circle_are_told() -> None:
    class Asker(Guest):
        @handles
        async def do(self, request: Do) -> str:
            return await self.ref.ask(request)

    async with ActorSystem() as system:
        one = await system.spawn("one", Guest)
        asker = await system.spawn("asker", Asker)

        with pytest.raises(ActorFailed) as caught:
            await one.ask(Pass(asker, "it"))

        inner = caught.value.__cause__
        assert isinstance(inner, ActorFailed)
        assert isinstance(inner.__cause__, AskCycle)
        # The asker's own turn is its own again.
        two = await system.spawn("two", Guest)
        assert await two.ask(Pass(one, "it")) == "did it"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_host_that_cancels_its_asyncio_task_cancels_the_handler() -> None:
    async with ActorSystem() as system:
        guest = await system.spawn("guest", Guest)
        asker = asyncio.create_task(guest.ask(Do("tidy")))
        await wait_all_tasks_blocked()
        asker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asker

        assert await guest.ask(Notes()) == ["tidied up"]
