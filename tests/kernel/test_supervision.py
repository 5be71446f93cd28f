"""Supervision: the decisions as tables, then what is done about them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
from anyio import fail_after, wait_all_tasks_blocked

from mma_runtime.errors import (
    ActorFailed,
    ActorStopped,
    RestartsExhausted,
)
from mma_runtime.events import ActorCrashed, ActorEnded, ActorRestarted, Event
from mma_runtime.kernel import (
    Actor,
    ActorSystem,
    Message,
    Ref,
    Request,
    Restart,
    Strategy,
    handles,
)
from mma_runtime.kernel.supervision import (
    RestartBudget,
    affected,
    comes_back,
    delay,
)


@pytest.mark.parametrize(
    ("restart", "failed", "expected"),
    [
        ("permanent", True, True),
        ("permanent", False, True),
        ("transient", True, True),
        ("transient", False, False),
        ("temporary", True, False),
        ("temporary", False, False),
    ],
)
def test_who_comes_back(restart: Restart, failed: bool, expected: bool) -> None:
    assert comes_back(restart, failed=failed) is expected


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("one_for_one", "b"), ("one_for_all", "abcd"), ("rest_for_one", "bcd")],
)
def test_who_is_restarted_with_a_failed_child(
    strategy: Strategy, expected: str
) -> None:
    assert list(affected(strategy, list("abcd"), "b")) == list(expected)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 1, 2], [1, 2, 3]),
        ([0, 1, 2, 4.9], [1, 2, 3, None]),
        ([0, 1, 2, 5.0], [1, 2, 3, 3]),
        ([0, 1, 2, 3, 4, 5.5], [1, 2, 3, None, None, 3]),
        ([0, 100, 200, 300], [1, 1, 1, 1]),
    ],
)
def test_a_budget_of_three_in_five_seconds(
    times: list[float], expected: list[int | None]
) -> None:
    budget = RestartBudget(3, 5.0)

    assert [budget.spend(now) for now in times] == expected


def test_a_budget_of_nothing_is_spent_at_once() -> None:
    assert RestartBudget(0, 5.0).spend(0) is None


@pytest.mark.parametrize(
    ("restart", "jitter", "expected"),
    [(1, 0, 0.1), (2, 0, 0.2), (3, 0, 0.4), (9, 0, 2.0), (1, 1, 0.05), (9, 0.5, 1.5)],
)
def test_the_backoff_doubles_up_to_its_limit(
    restart: int, jitter: float, expected: float
) -> None:
    assert delay((0.1, 2.0), restart, jitter) == pytest.approx(expected)


@dataclass(frozen=True, slots=True)
class Crash(Message):
    pass


@dataclass(frozen=True, slots=True)
class Hold(Request[str]):
    """Answered when `gate` is open."""

    gate: anyio.Event


@dataclass(frozen=True, slots=True)
class Get(Request[Ref]):
    name: str


class Child(Actor):
    """Writes down its starts and ends."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        self.log.append(f"+{self.ref.name[-1]}")
        try:
            yield
        finally:
            self.log.append(f"-{self.ref.name[-1]}")

    @handles
    async def crash(self, message: Crash) -> None:
        raise ValueError("bug")

    @handles
    async def hold(self, request: Hold) -> str:
        await request.gate.wait()
        return "held"


class Transient(Child):
    restart = "transient"


class Temporary(Child):
    restart = "temporary"


class Parent(Actor):
    backoff = (0.0, 0.0)
    kinds: tuple[type[Child], ...] = (Child, Child, Child)

    def __init__(self, log: list[str]) -> None:
        self.log = log

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        self.children = {
            name: await self.spawn(name, kind, self.log)
            for name, kind in zip("abc", self.kinds, strict=True)
        }
        yield

    @handles
    async def get(self, request: Get) -> Ref:
        return self.children[request.name]


class ForAll(Parent):
    strategy = "one_for_all"


class ForRest(Parent):
    strategy = "rest_for_one"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Parent, ["-b", "+b"]),
        (ForAll, ["-b", "-c", "-a", "+a", "+b", "+c"]),
        (ForRest, ["-b", "-c", "+b", "+c"]),
    ],
)
async def test_a_failed_child_is_restarted_with_those_it_concerns(
    kind: type[Parent], expected: list[str]
) -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        top = await system.spawn("top", kind, log)
        child = await top.ask(Get("b"))
        log.clear()

        child.tell(Crash())
        await wait_all_tasks_blocked()

        assert log == expected
        log.clear()

    assert log == ["-c", "-b", "-a"]


async def test_ref_and_mailbox_survive_and_the_crashing_message_does_not() -> None:
    events: list[Event] = []
    async with ActorSystem(events.append, backoff=(0.01, 0.01)) as system:
        ref = await system.spawn("child", Child, [])
        gate = anyio.Event()
        gate.set()
        ref.tell(Crash())

        assert await ref.ask(Hold(gate)) == "held"
        assert ref.statistics().restarts == 1
        assert ref.statistics().handled == 2

    crashed, restarted = events[1:3]
    assert crashed == ActorCrashed(
        actor="child", message="Crash", error="ValueError: bug"
    )
    assert isinstance(restarted, ActorRestarted)
    assert 0.005 <= restarted.delay <= 0.01


async def test_a_temporary_sibling_of_a_restarted_group_ends_for_good() -> None:
    class Mixed(ForAll):
        kinds = (Temporary, Child, Transient)

    log: list[str] = []
    async with ActorSystem() as system:
        top = await system.spawn("top", Mixed, log)
        log.clear()

        (await top.ask(Get("b"))).tell(Crash())
        await wait_all_tasks_blocked()

        assert log == ["-b", "-c", "-a", "+b", "+c"]
        assert system.whereis("top/a") is None


async def test_a_sibling_loses_the_message_in_hand_and_keeps_the_queued() -> None:
    gate = anyio.Event()
    answers: list[str] = []

    async def ask(ref: Ref) -> None:
        try:
            answers.append(await ref.ask(Hold(gate)))
        except ActorStopped as error:
            answers.append(error.reason)

    async with ActorSystem() as system, anyio.create_task_group() as group:
        top = await system.spawn("top", ForAll, [])
        sibling = await top.ask(Get("a"))
        group.start_soon(ask, sibling)
        await wait_all_tasks_blocked()
        group.start_soon(ask, sibling)
        await wait_all_tasks_blocked()

        (await top.ask(Get("b"))).tell(Crash())
        await wait_all_tasks_blocked()
        gate.set()

    assert answers == ["it is restarted because 'top/b' failed", "held"]


async def test_two_failures_at_once_are_repaired_one_after_the_other() -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        top = await system.spawn("top", ForAll, log)
        children = [await top.ask(Get(name)) for name in "abc"]
        log.clear()

        for child in children:
            child.tell(Crash())

        await wait_all_tasks_blocked()

        assert sorted(log[-3:]) == ["+a", "+b", "+c"]
        assert await top.ask(Get("a")) == children[0]
        assert sum(child.statistics().depth for child in children) == 0


async def test_a_child_that_fails_too_often_fails_parent_and_system() -> None:
    class Strict(Parent):
        intensity = (1, 60.0)

    events: list[Event] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with ActorSystem(
            events.append, intensity=(1, 60.0), backoff=(0, 0)
        ) as system:
            top = await system.spawn("top", Strict, [])
            for _ in range(2):
                child = await top.ask(Get("a"))
                child.tell(Crash())
                await wait_all_tasks_blocked()
                child.tell(Crash())
                await wait_all_tasks_blocked()

            await anyio.sleep_forever()

    (error,) = caught.value.exceptions
    assert isinstance(error, RestartsExhausted)
    assert error.name == "top"
    assert isinstance(error.__cause__, RestartsExhausted)
    assert error.__cause__.name == "top/a"
    assert isinstance(error.__cause__.__cause__, ValueError)
    restarted = [event.actor for event in events if isinstance(event, ActorRestarted)]
    assert restarted == ["top/a", "top", "top/a"]


async def test_an_escalation_answers_the_request_in_hand() -> None:
    class Busy(Parent):
        intensity = (0, 60.0)
        restart = "temporary"

        @handles
        async def hold(self, request: Hold) -> str:
            self.children["a"].tell(Crash())
            await request.gate.wait()
            return "never"

    async with ActorSystem() as system:
        top = await system.spawn("top", Busy, [])

        with pytest.raises(ActorFailed, match="giving up") as caught:
            await top.ask(Hold(anyio.Event()))

        assert isinstance(caught.value.__cause__, RestartsExhausted)


async def test_a_child_that_fails_too_often_fails_the_start_of_its_parent() -> None:
    class Impatient(Parent):
        intensity = (0, 60.0)

        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            child = await self.spawn("a", Child, [])
            child.tell(Crash())
            await anyio.sleep_forever()
            yield

    async with ActorSystem() as system:
        with pytest.raises(Exception, match=r"could not start.*giving up"):
            await system.spawn("top", Impatient, [])


async def test_an_actor_that_ends_by_itself_comes_back_if_permanent() -> None:
    class Finishing(Actor):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            async with anyio.create_task_group() as self.group:
                yield

        @handles
        async def finish(self, message: Crash) -> None:
            self.group.cancel_scope.cancel()

    class FinishingOnce(Finishing):
        restart = "transient"

    events: list[Event] = []
    async with ActorSystem(events.append, backoff=(0, 0)) as system:
        often = await system.spawn("often", Finishing)
        once = await system.spawn("once", FinishingOnce)
        often.tell(Crash())
        once.tell(Crash())
        await once.join()
        await wait_all_tasks_blocked()

        assert often.statistics().restarts == 1
        assert ActorEnded(actor="once", reason="finished") in events


async def test_a_restart_that_fails_is_tried_again() -> None:
    starts: list[int] = []

    class Stubborn(Child):
        def __init__(self, log: list[str]) -> None:
            super().__init__(log)
            starts.append(1)
            if len(starts) == 2:
                raise OSError("no disk")

        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            if len(starts) == 3:
                raise OSError("no network")

            yield

    events: list[Event] = []
    async with ActorSystem(events.append, backoff=(0, 0)) as system:
        ref = await system.spawn("stubborn", Stubborn, [])
        ref.tell(Crash())
        await wait_all_tasks_blocked()

        assert len(starts) == 4
        assert ref.statistics().handled == 1
        assert ref.statistics().restarts == 1

    errors = [event.error for event in events if isinstance(event, ActorCrashed)]
    assert errors == [
        "ValueError: bug",
        "ActorStartFailed: actor 'stubborn' could not start: OSError: no disk",
        "ActorStartFailed: actor 'stubborn' could not start: OSError: no network",
    ]


async def test_a_failed_restart_in_a_group_leaves_no_sibling_behind() -> None:
    attempts: list[str] = []

    class Fragile(Child):
        def __init__(self, log: list[str]) -> None:
            super().__init__(log)
            attempts.append("b")
            if len(attempts) == 2:
                raise OSError("not yet")

    class Tree(ForAll):
        kinds = (Child, Fragile, Child)

    log: list[str] = []
    async with ActorSystem() as system:
        top = await system.spawn("top", Tree, log)
        log.clear()

        (await top.ask(Get("c"))).tell(Crash())
        await wait_all_tasks_blocked()

        assert log == ["-c", "-b", "-a", "+a", "-a", "+a", "+b", "+c"]


async def test_an_actor_can_be_stopped_while_it_waits_for_its_restart() -> None:
    async with ActorSystem(backoff=(60, 60)) as system:
        ref = await system.spawn("child", Child, [])
        ref.tell(Crash())
        await wait_all_tasks_blocked()

        ref.stop()

        with fail_after(1):
            await ref.join()


async def test_leaving_the_system_does_not_wait_for_a_restart() -> None:
    with fail_after(5):
        async with ActorSystem(backoff=(60, 60)) as system:
            ref = await system.spawn("child", Child, [])
            ref.tell(Crash())
            await wait_all_tasks_blocked()

    with pytest.raises(ActorStopped):
        await ref.ask(Hold(anyio.Event()))


async def test_children_of_a_failed_parent_are_cancelled_and_started_anew() -> None:
    class Failing(Parent):
        @handles
        async def crash(self, message: Crash) -> None:
            raise ValueError("bug")

    log: list[str] = []
    async with ActorSystem(backoff=(0, 0)) as system:
        top = await system.spawn("top", Failing, log)
        old = await top.ask(Get("a"))
        log.clear()

        top.tell(Crash())
        await wait_all_tasks_blocked()

        assert log == ["-c", "-b", "-a", "+a", "+b", "+c"]
        assert await top.ask(Get("a")) != old


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("restart", "sometimes"),
        ("strategy", "all"),
        ("overflow", "explode"),
        ("mailbox_capacity", 0),
    ],
)
def test_a_setting_that_is_unknown_is_an_error_at_once(
    setting: str, value: object
) -> None:
    with pytest.raises(ValueError, match=f"Wrong.{setting}"):
        type("Wrong", (Actor,), {setting: value})
