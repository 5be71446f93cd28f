"""A state machine: any order of spawn, tell, ask, crash, stop and cancel is sound."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from mma_runtime.errors import (
    ActorFailed,
    ActorStopped,
    MailboxFull,
    NameTaken,
    Refused,
)
from mma_runtime.kernel import Actor, ActorSystem, Message, Ref, Request, handles

CAPACITY = 3


async def settled() -> None:
    """Let all others go as far as they can: none has a longer way than this."""
    for _ in range(25):
        await checkpoint()


@dataclass(frozen=True, slots=True)
class Note(Message):
    number: int


@dataclass(frozen=True, slots=True)
class Get(Request[list[int]]):
    pass


@dataclass(frozen=True, slots=True)
class Fail(Request[None]):
    refuse: bool


@dataclass(frozen=True, slots=True)
class Block(Request[int]):
    gate: anyio.Event


class Lasting(Actor):
    mailbox_capacity = CAPACITY
    grace = 0.0

    def __init__(self) -> None:
        self.notes: list[int] = []

    @handles
    async def note(self, message: Note) -> None:
        self.notes.append(message.number)

    @handles
    async def get(self, request: Get) -> list[int]:
        return self.notes

    @handles
    async def fail(self, request: Fail) -> None:
        if request.refuse:
            raise Refused("no")

        raise ValueError("bug")

    @handles
    async def block(self, request: Block) -> int:
        await request.gate.wait()
        return len(self.notes)


class Fleeting(Lasting):
    restart = "temporary"


@dataclass(eq=False)
class Call:
    """An ask in a task of its own: what came of it, and what should have."""

    actor: "Model"
    gate: anyio.Event
    scope: anyio.CancelScope
    outcomes: list[object] = field(default_factory=list[object])
    expected: list[object] = field(default_factory=list[object])

    async def run(self) -> None:
        with self.scope:
            try:
                self.outcomes.append(await self.actor.ref.ask(Block(self.gate)))
            except ActorStopped:
                self.outcomes.append(ActorStopped)

        if self.scope.cancelled_caught:
            self.outcomes.append("cancelled")


@dataclass(eq=False)
class Model:
    """What an actor should be like, with plain lists."""

    ref: Ref
    kind: type[Lasting]
    is_alive: bool = True
    notes: list[int] = field(default_factory=list[int])
    queue: deque[int | Call] = field(default_factory=deque[int | Call])
    in_hand: Call | None = None
    restarts: int = 0
    dead: int = 0

    def work(self) -> None:
        """Handle what is queued as far as it goes."""
        while self.queue and self.in_hand is None:
            match self.queue.popleft():
                case int() as number:
                    self.notes.append(number)
                case call if call.gate.is_set():
                    call.expected.append(len(self.notes))
                case call:
                    self.in_hand = call

    def end(self) -> None:
        self.is_alive = False
        for item in [self.in_hand, *self.queue]:
            if isinstance(item, Call):
                item.expected.append(ActorStopped)
            elif item is not None:
                self.dead += 1

        self.in_hand = None
        self.queue.clear()


class Machine(RuleBasedStateMachine):
    backend = ""
    actors: Bundle[Model] = Bundle("actors")
    calls: Bundle[Call] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.known: list[Model] = []
        self.made: list[Call] = []
        self.portal_manager = start_blocking_portal(self.backend)
        self.portal = self.portal_manager.__enter__()
        self.system = ActorSystem(intensity=(1000, 1.0), backoff=(0, 0))
        self.system_manager = self.portal.wrap_async_context_manager(self.system)
        self.system_manager.__enter__()

    def do(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Call *function* on the event loop and let everything settle."""

        async def settle() -> Any:
            try:
                return await function(*args)
            finally:
                await settled()

        return self.portal.call(settle)

    def do_now(self, function: Callable[..., object], *args: Any) -> None:
        async def call() -> None:
            function(*args)

        self.do(call)

    @initialize(target=actors, kind=st.sampled_from([Lasting, Fleeting]))
    def begin(self, kind: type[Lasting]) -> Model:
        return self.spawn(kind)

    @rule(target=actors, kind=st.sampled_from([Lasting, Fleeting]))
    def spawn_one(self, kind: type[Lasting]) -> Model:
        return self.spawn(kind)

    def spawn(self, kind: type[Lasting]) -> Model:
        name = str(len(self.known))
        model = Model(self.do(self.system.spawn, name, kind), kind)
        self.known.append(model)
        return model

    @rule(actor=actors)
    def spawn_the_same_name(self, actor: Model) -> None:
        if actor.is_alive:
            with pytest.raises(NameTaken):
                self.do(self.system.spawn, actor.ref.name, Lasting)

    @rule(actor=actors, number=st.integers(0, 99))
    def tell(self, actor: Model, number: int) -> None:
        if not actor.is_alive:
            self.do_now(actor.ref.tell, Note(number))
            actor.dead += 1
        elif len(actor.queue) == CAPACITY:
            with pytest.raises(MailboxFull):
                self.do_now(actor.ref.tell, Note(number))
        else:
            self.do_now(actor.ref.tell, Note(number))
            actor.queue.append(number)
            actor.work()

    @rule(actor=actors)
    def ask(self, actor: Model) -> None:
        if not actor.is_alive:
            with pytest.raises(ActorStopped):
                self.do(actor.ref.ask, Get())
        elif actor.in_hand is None:
            assert self.do(actor.ref.ask, Get()) == actor.notes

    @rule(actor=actors, refuse=st.booleans())
    def fail(self, actor: Model, *, refuse: bool) -> None:
        if not actor.is_alive or actor.in_hand is not None:
            return

        with pytest.raises(Refused if refuse else ActorFailed):
            self.do(actor.ref.ask, Fail(refuse))

        if not refuse and actor.kind is Fleeting:
            actor.end()
        elif not refuse:
            actor.restarts += 1
            actor.notes = []

    @rule(target=calls, actor=actors)
    def ask_in_the_background(self, actor: Model) -> Call:
        async def make() -> Call:
            return Call(actor, anyio.Event(), anyio.CancelScope())

        call: Call = self.do(make)
        self.made.append(call)
        self.portal.start_task_soon(call.run)
        self.do(settled)
        if not actor.is_alive:
            call.expected.append(ActorStopped)
        elif len(actor.queue) == CAPACITY:
            # It waits for room; that is another test's matter.
            self.do_now(call.scope.cancel)
            call.expected.append("cancelled")
        else:
            actor.queue.append(call)
            actor.work()

        return call

    @rule(call=calls)
    def let_go(self, call: Call) -> None:
        self.do_now(call.gate.set)
        if call.actor.in_hand is call:
            call.expected.append(len(call.actor.notes))
            call.actor.in_hand = None
            call.actor.work()

    @rule(call=calls)
    def cancel(self, call: Call) -> None:
        self.do_now(call.scope.cancel)
        if call.actor.in_hand is call:
            call.expected.append("cancelled")
            call.actor.in_hand = None
            call.actor.work()
        elif call in call.actor.queue:
            call.expected.append("cancelled")
            call.actor.queue.remove(call)

    @rule(actor=actors)
    def stop(self, actor: Model) -> None:
        self.do_now(actor.ref.stop)
        if actor.is_alive:
            actor.end()

    @invariant()
    def actors_are_as_expected(self) -> None:
        for actor in self.known:
            statistics = actor.ref.statistics()
            assert statistics.depth == len(actor.queue)
            assert statistics.restarts == actor.restarts
            assert (self.system.whereis(actor.ref.name) is not None) is actor.is_alive

        assert self.system.dead_letters == sum(actor.dead for actor in self.known)

    @invariant()
    def every_ask_was_answered_once_or_not_yet(self) -> None:
        for call in self.made:
            assert call.outcomes == call.expected

    def teardown(self) -> None:
        self.system_manager.__exit__(None, None, None)
        for actor in self.known:
            if actor.is_alive:
                actor.end()

        self.do(settled)
        self.every_ask_was_answered_once_or_not_yet()
        self.portal_manager.__exit__(None, None, None)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_any_order_of_events_is_sound(backend: str) -> None:
    machine = type("OnBackend", (Machine,), {"backend": backend})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
