"""Events fan out, in order, and nobody is waited for."""

import gc

import pytest
from anyio import (
    create_task_group,
    fail_after,
    move_on_after,
    wait_all_tasks_blocked,
)

from mma_runtime.bus import Bus, Subscription
from mma_runtime.events import Event, EventsSkipped, Origin, RoundStarted


def event(number: int) -> RoundStarted:
    return RoundStarted(round=number, max_rounds=9)


async def rest(events: Subscription) -> list[Event]:
    return [event async for event in events]


async def test_events_are_stamped_in_order_and_reach_sinks_and_subscribers() -> None:
    sunk: list[Event] = []
    bus = Bus(sunk.append)
    subscription = bus.subscribe()

    bus.emit(event(1))
    bus.emit(event(2))
    bus.close()

    read = await rest(subscription)
    assert read == sunk
    assert [(e.seq, e.time > 1e9) for e in read] == [(1, True), (2, True)]


async def test_a_late_subscriber_gets_what_has_happened() -> None:
    bus = Bus()
    bus.emit(event(1))
    late, later = bus.subscribe(), bus.subscribe(replay=False)
    bus.emit(event(2))
    bus.close()

    assert [e.seq for e in await rest(late)] == [1, 2]
    assert [e.seq for e in await rest(later)] == [2]


async def test_a_subscriber_after_the_end_gets_the_history_and_an_end() -> None:
    bus = Bus()
    bus.emit(event(1))
    bus.close()

    assert [e.seq for e in await rest(bus.subscribe())] == [1]
    assert await rest(bus.subscribe(replay=False)) == []


async def test_what_the_history_has_lost_is_counted() -> None:
    bus = Bus(history=2)
    for number in range(1, 6):
        bus.emit(event(number))

    bus.close()
    first, *others = await rest(bus.subscribe())

    assert isinstance(first, EventsSkipped)
    assert (first.count, first.seq) == (3, 3)
    assert [e.seq for e in others] == [4, 5]


async def test_a_slow_reader_is_told_how_many_it_missed() -> None:
    bus = Bus()
    slow = bus.subscribe(capacity=3)
    for number in range(1, 11):
        bus.emit(event(number))

    bus.close()
    first, *others = await rest(slow)

    assert isinstance(first, EventsSkipped)
    assert (first.count, first.seq) == (7, 7)
    assert [e.seq for e in others] == [8, 9, 10]


async def test_what_was_skipped_stands_in_its_place_and_says_of_which_run() -> None:
    bus = Bus(origin=Origin(run="r"))
    bus.emit(event(1))
    slow = bus.subscribe(replay=False, capacity=2)
    for number in range(2, 6):
        bus.emit(event(number))

    first = await anext(slow)
    read = await anext(slow)
    for number in range(6, 9):
        bus.emit(event(number))

    second = await anext(slow)
    assert [e.seq for e in (first, read, second)] == [3, 4, 6]
    assert {e.origin.run for e in (first, second)} == {"r"}
    assert second.time > 1e9


async def test_a_reader_waits_for_news() -> None:
    bus = Bus()
    subscription = bus.subscribe()
    read: list[Event] = []

    async def reader() -> None:
        async for each in subscription:
            read.append(each)  # noqa: PERF401 - one by one, to be seen in between

    with fail_after(5):
        async with create_task_group() as group:
            group.start_soon(reader)
            await wait_all_tasks_blocked()
            bus.emit(event(1))
            await wait_all_tasks_blocked()
            assert [e.seq for e in read] == [1]
            bus.emit(event(2))
            bus.close()

    assert [e.seq for e in read] == [1, 2]


async def test_two_who_share_a_subscription_share_its_events_and_its_end() -> None:
    bus = Bus()
    subscription = bus.subscribe()
    read: list[Event] = []

    async def reader() -> None:
        read.extend(await rest(subscription))

    with fail_after(5):
        async with create_task_group() as group:
            group.start_soon(reader)
            group.start_soon(reader)
            for number in range(4):
                await wait_all_tasks_blocked()
                bus.emit(event(number))

            await wait_all_tasks_blocked()
            bus.close()

    assert sorted(one.seq for one in read) == [1, 2, 3, 4]


async def test_a_cancelled_read_loses_no_event() -> None:
    bus = Bus()
    subscription = bus.subscribe()
    with move_on_after(0):
        await anext(subscription)

    bus.emit(event(1))

    assert (await anext(subscription)).seq == 1


async def test_a_reader_that_is_gone_is_forgotten() -> None:
    bus = Bus(history=0)
    subscription = bus.subscribe()
    del subscription
    gc.collect()

    bus.emit(event(1))

    assert not bus._subscriptions  # pyright: ignore[reportPrivateUsage] - held weakly


def test_an_event_cannot_be_changed_by_who_reads_it() -> None:
    bus = Bus()
    one = event(1)
    bus.emit(one)

    with pytest.raises(AttributeError):
        one.seq = 7  # type: ignore[misc]
