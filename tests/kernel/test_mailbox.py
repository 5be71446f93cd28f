"""Mailboxes: room, overflow, order, dead letters."""

from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from anyio import fail_after, move_on_after, wait_all_tasks_blocked

from mma_runtime.errors import ActorStopped, AskCycle, MailboxFull, Refused
from mma_runtime.events import DeadLetter, Event, MessageDropped
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
class Put(Message):
    item: int


@dataclass(frozen=True, slots=True)
class Block(Message):
    gate: anyio.Event


@dataclass(frozen=True, slots=True)
class Items(Request[list[int]]):
    pass


class Store(Actor):
    mailbox_capacity = 2

    def __init__(self) -> None:
        self.items: list[int] = []

    @handles
    async def put(self, message: Put) -> None:
        if message.item < 0:
            raise Refused("no debts")

        self.items.append(message.item)

    @handles
    async def block(self, message: Block) -> None:
        await message.gate.wait()

    @handles
    async def get(self, request: Items) -> list[int]:
        return self.items


class Rejecting(Store):
    overflow = "reject"


class Dropping(Store):
    overflow = "drop_oldest"


async def blocked(system: ActorSystem, kind: type[Store]) -> tuple[Ref, anyio.Event]:
    """Spawn a store that waits for the gate with an empty mailbox."""
    ref = await system.spawn("store", kind)
    gate = anyio.Event()
    ref.tell(Block(gate))
    await wait_all_tasks_blocked()
    return ref, gate


async def test_tell_raises_when_there_is_no_room() -> None:
    async with ActorSystem() as system:
        ref, gate = await blocked(system, Store)
        ref.tell(Put(1))
        ref.tell(Put(2))

        with pytest.raises(MailboxFull, match=r"full \(2 messages\)"):
            ref.tell(Put(3))

        statistics = ref.statistics()
        assert (statistics.depth, statistics.capacity) == (2, 2)
        assert statistics.handling_seconds > 0
        gate.set()
        assert await ref.ask(Items()) == [1, 2]
        assert ref.statistics().handling_seconds == 0


async def test_send_and_ask_wait_for_room_in_the_order_of_arrival() -> None:
    async with ActorSystem() as system, anyio.create_task_group() as group:
        ref, gate = await blocked(system, Store)
        for item in range(8):
            group.start_soon(ref.send, Put(item))
            await wait_all_tasks_blocked()

        with pytest.raises(MailboxFull):
            ref.tell(Put(99))

        gate.set()
        assert await ref.ask(Items()) == list(range(8))


async def test_a_sender_that_gives_up_leaves_no_message_and_frees_no_room() -> None:
    async with ActorSystem() as system, anyio.create_task_group() as group:
        ref, gate = await blocked(system, Store)
        ref.tell(Put(1))
        ref.tell(Put(2))
        with move_on_after(0.01):
            await ref.send(Put(3))

        group.start_soon(ref.send, Put(4))
        await wait_all_tasks_blocked()
        gate.set()

        assert await ref.ask(Items()) == [1, 2, 4]


async def test_an_asker_that_gives_up_waiting_for_room_has_not_asked() -> None:
    async with ActorSystem() as system:
        ref, gate = await blocked(system, Store)
        ref.tell(Put(1))
        ref.tell(Put(2))
        with move_on_after(0.01):
            await ref.ask(Items())

        gate.set()
        assert await ref.ask(Items()) == [1, 2]
        assert ref.statistics().handled == 4


async def test_an_asker_that_gives_up_makes_room_for_the_next() -> None:
    async with ActorSystem() as system, anyio.create_task_group() as group:
        ref, gate = await blocked(system, Store)
        scope = anyio.CancelScope()

        async def ask() -> None:
            with scope:
                await ref.ask(Items())

        group.start_soon(ask)
        await wait_all_tasks_blocked()
        ref.tell(Put(1))
        group.start_soon(ref.send, Put(2))
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()

        assert ref.statistics().depth == 2
        gate.set()
        assert await ref.ask(Items()) == [1, 2]


async def test_a_sender_cancelled_as_it_is_let_in_has_not_sent() -> None:
    async with ActorSystem() as system, anyio.create_task_group() as group:
        ref, gate = await blocked(system, Store)
        scopes = [anyio.CancelScope() for _ in range(2)]

        async def send(item: int, scope: anyio.CancelScope) -> None:
            with scope:
                await ref.send(Put(item))

        async def ask(scope: anyio.CancelScope) -> None:
            with scope:
                await ref.ask(Items())

        group.start_soon(ask, scopes[0])
        await wait_all_tasks_blocked()
        ref.tell(Put(1))
        group.start_soon(send, 2, scopes[1])
        await wait_all_tasks_blocked()
        # The first makes room for the second, which is cancelled in the same breath.
        scopes[0].cancel()
        await anyio.lowlevel.checkpoint()
        scopes[1].cancel()
        await wait_all_tasks_blocked()

        gate.set()
        assert await ref.ask(Items()) in ([1], [1, 2])


async def test_a_rejecting_mailbox_refuses_send_and_ask() -> None:
    async with ActorSystem() as system:
        ref, gate = await blocked(system, Rejecting)
        ref.tell(Put(1))
        await ref.send(Put(2))

        with pytest.raises(MailboxFull):
            await ref.send(Put(3))
        with pytest.raises(MailboxFull):
            await ref.ask(Items())

        gate.set()


async def test_a_dropping_mailbox_drops_its_oldest_and_tells() -> None:
    events: list[Event] = []
    async with ActorSystem(events.append) as system, anyio.create_task_group() as group:
        ref, gate = await blocked(system, Dropping)

        async def ask() -> None:
            with pytest.raises(MailboxFull):
                await ref.ask(Items())

        ref.tell(Put(1))
        group.start_soon(ask)
        await wait_all_tasks_blocked()
        for item in (2, 3, 4):
            await ref.send(Put(item))

        gate.set()
        await wait_all_tasks_blocked()
        assert await ref.ask(Items()) == [3, 4]

    dropped = [event for event in events if isinstance(event, MessageDropped)]
    assert dropped == [
        MessageDropped(actor="store", message="Put", count=1),
        MessageDropped(actor="store", message="Items", count=2),
        MessageDropped(actor="store", message="Put", count=3),
    ]


async def test_dropping_spares_the_kernels_own_messages() -> None:
    class Watcher(Dropping):
        @handles
        async def ended(self, message: Terminated) -> None:
            self.items.append(0)

        @handles
        async def block(self, message: Block) -> None:
            for name in "abc":
                child = await self.spawn(name, Store)
                self.watch(child)
                child.stop()
                await child.join()

            await message.gate.wait()

    async with ActorSystem() as system:
        ref, gate = await blocked(system, Watcher)
        assert ref.statistics().depth == 3
        ref.tell(Put(1))
        ref.tell(Put(2))
        gate.set()
        await wait_all_tasks_blocked()

        assert await ref.ask(Items()) == [0, 0, 0, 2]


async def test_what_is_queued_at_the_end_is_answered_or_a_dead_letter() -> None:
    events: list[Event] = []
    async with ActorSystem(events.append) as system, anyio.create_task_group() as group:
        ref, gate = await blocked(system, Store)

        async def ask() -> None:
            with pytest.raises(ActorStopped):
                await ref.ask(Items())

        ref.tell(Put(1))
        group.start_soon(ask)
        await wait_all_tasks_blocked()
        group.start_soon(ref.send, Put(2))
        group.start_soon(ask)
        await wait_all_tasks_blocked()
        ref.stop()
        await wait_all_tasks_blocked()
        ref.tell(Put(3))
        gate.set()
        await ref.join()
        await ref.send(Put(4))
        with pytest.raises(ActorStopped), fail_after(1):
            await ref.ask(Items())

        assert system.dead_letters == 4

    letters = [event for event in events if isinstance(event, DeadLetter)]
    assert [letter.count for letter in letters] == [1, 2, 3, 4]
    assert letters[0] == DeadLetter(
        actor="store", message="Put", reason="stopped", count=1
    )


async def test_a_refusal_that_nobody_waits_for_is_a_dead_letter() -> None:
    events: list[Event] = []
    async with ActorSystem(events.append) as system:
        ref = await system.spawn("store", Store)
        ref.tell(Put(-1))

        assert await ref.ask(Items()) == []

    assert any(
        isinstance(event, DeadLetter) and event.reason == "refused: no debts"
        for event in events
    )


async def test_other_tasks_get_their_turn_between_many_messages() -> None:
    class Big(Store):
        mailbox_capacity = 1000

    seen: list[int] = []
    async with ActorSystem() as system, anyio.create_task_group() as group:
        ref = await system.spawn("store", Big)
        for item in range(500):
            ref.tell(Put(item))

        async def look() -> None:
            while ref.statistics().handled < 500:
                seen.append(ref.statistics().handled)
                await anyio.lowlevel.checkpoint()

        group.start_soon(look)

    assert len(seen) > 3


async def test_a_send_to_a_full_mailbox_of_ones_own_is_a_cycle() -> None:
    class Selfish(Store):
        @handles
        async def get(self, request: Items) -> list[int]:
            for item in range(3):
                await self.ref.send(Put(item))

            return self.items

    class Outsider(Actor):
        @handles
        async def get(self, request: Items) -> list[int]:
            await store[0].send(Put(1))
            return []

    store: list[Ref] = []
    async with ActorSystem() as system, anyio.create_task_group() as group:
        selfish = await system.spawn("selfish", Selfish)
        with pytest.raises(Exception, match="selfish → selfish"):
            await selfish.ask(Items())

        # Waiting for room with somebody who does not wait for you is no cycle.
        ref, gate = await blocked(system, Store)
        store.append(ref)
        ref.tell(Put(0))
        ref.tell(Put(0))
        outsider = await system.spawn("outsider", Outsider)
        group.start_soon(outsider.ask, Items())
        await wait_all_tasks_blocked()
        gate.set()

    assert issubclass(AskCycle, Exception)


@pytest.mark.parametrize("wrong", [None, 3, "text", object(), Put])
async def test_what_is_no_message_is_refused_where_it_is_sent(wrong: Any) -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("store", Store)

        with pytest.raises(TypeError, match="does not handle"):
            ref.tell(wrong)
        with pytest.raises(TypeError, match="does not handle"):
            await ref.ask(wrong)
