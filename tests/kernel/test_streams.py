"""Answers that are streams: bounded, cancelled by the reader, with their errors."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
from anyio import fail_after, wait_all_tasks_blocked

from mma_runtime.errors import ActorFailed, ActorStopped, MailboxFull, Refused
from mma_runtime.kernel import (
    Actor,
    ActorSystem,
    Ref,
    Request,
    StreamRequest,
    handles,
)


@dataclass(frozen=True, slots=True)
class Count(StreamRequest[int]):
    to: int
    then: Exception | None = None


@dataclass(frozen=True, slots=True)
class Log(Request[list[str]]):
    pass


class Source(Actor):
    restart = "temporary"
    mailbox_capacity = 1
    overflow = "reject"

    def __init__(self, log: list[str]) -> None:
        self.log = log

    @handles
    async def count(self, request: Count) -> AsyncGenerator[int]:
        try:
            for number in range(request.to):
                self.log.append(f"made {number}")
                yield number

            if request.then is not None:
                raise request.then
        finally:
            self.log.append("closed")

    @handles
    async def get(self, request: Log) -> list[str]:
        return self.log


async def test_a_stream_arrives_whole_and_in_order() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("source", Source, [])

        async with ref.stream(Count(100), buffer=3) as items:
            assert [item async for item in items] == list(range(100))


async def test_the_source_makes_no_more_than_the_buffer_in_advance() -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        ref = await system.spawn("source", Source, log)

        async with ref.stream(Count(100), buffer=2) as items:
            await wait_all_tasks_blocked()
            assert len(log) == 3
            assert await anext(items) == 0
            await wait_all_tasks_blocked()
            assert len(log) == 4


async def test_a_reader_that_leaves_cancels_the_source_and_nothing_else() -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        ref = await system.spawn("source", Source, log)

        async with ref.stream(Count(100), buffer=1) as items:
            async for item in items:
                if item == 3:
                    break

        assert (await ref.ask(Log()))[-1] == "closed"
        assert len(log) < 10
        assert ref.statistics().restarts == 0


async def test_a_reader_that_leaves_before_its_turn_is_skipped() -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        ref = await system.spawn("source", Source, log)

        async with ref.stream(Count(9), buffer=1) as first:
            await wait_all_tasks_blocked()
            async with ref.stream(Count(9)):
                with pytest.raises(MailboxFull):
                    async with ref.stream(Count(9)):
                        pass

            assert [item async for item in first] == list(range(9))

        assert log.count("made 0") == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [(Refused("enough"), Refused), (ValueError("bug"), ActorFailed)],
)
async def test_an_error_of_the_source_arrives_after_its_items(
    error: Exception, expected: type[Exception]
) -> None:
    got: list[int] = []
    async with ActorSystem() as system:
        ref = await system.spawn("source", Source, [])

        with pytest.raises(expected):
            async with ref.stream(Count(5, error)) as items:
                await wait_all_tasks_blocked()
                async for item in items:
                    got += [item]

        assert got == [0, 1, 2, 3, 4]


async def test_a_reader_is_told_when_the_source_is_stopped() -> None:
    got: list[int] = []

    async def read(ref: Ref) -> None:
        with pytest.raises(ActorStopped):
            async with ref.stream(Count(100), buffer=1) as items:
                async for item in items:
                    got.append(item)
                    await wait_all_tasks_blocked()
                    if item == 2:
                        ref.cell.stop(-1)

    with fail_after(5):
        async with ActorSystem() as system:
            ref = await system.spawn("source", Source, [])
            await read(ref)

    assert got[:3] == [0, 1, 2]


async def test_an_ended_stream_stays_ended() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("source", Source, [])

        async with ref.stream(Count(1)) as items:
            assert [item async for item in items] == [0]
            assert [item async for item in items] == []


async def test_within_an_actor_a_stream_is_a_wait_like_any_other() -> None:
    class Reader(Actor):
        def __init__(self, source: Ref) -> None:
            self.source = source

        @handles
        async def read(self, request: Log) -> list[str]:
            async with self.source.stream(Count(2)) as items:
                return [str(item) async for item in items]

    async with ActorSystem() as system:
        source = await system.spawn("source", Source, [])
        reader = await system.spawn("reader", Reader, source)

        assert await reader.ask(Log()) == ["0", "1"]
        assert reader.cell.waits == {}


async def test_a_buffer_of_nothing_is_refused() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn("source", Source, [])

        with pytest.raises(ValueError, match="at least 1, not 0"):
            async with ref.stream(Count(1), buffer=0):
                pass
