"""What type checkers must accept and refuse of actors; read by them, never run.

Each ignore below is an error that must be there: unused ignores are errors, too.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, assert_type

from mma_runtime.kernel import (
    Actor,
    ActorSystem,
    Message,
    Ref,
    Request,
    Statistics,
    StreamRequest,
    Terminated,
    handles,
)


@dataclass(frozen=True, slots=True)
class Add(Message):
    n: int


@dataclass(frozen=True, slots=True)
class Total(Request[int]):
    pass


@dataclass(frozen=True, slots=True)
class Words(StreamRequest[str]):
    pass


class Counter(Actor):
    restart = "transient"
    strategy = "rest_for_one"
    overflow = "drop_oldest"
    intensity = (1, 2.5)

    def __init__(self, start: int, *, step: int = 1) -> None:
        self.total = start
        self.step = step

    @handles
    async def add(self, message: Add) -> None:
        assert_type(self.ref, Ref)
        assert_type(await self.spawn("child", Counter, 1, step=2), Ref)
        await self.spawn("child", Counter)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        self.watch(self)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @handles
    async def count(self, request: Total) -> int:
        return self.total

    @handles
    async def words(self, request: Words) -> AsyncGenerator[str]:
        yield "word"


class Wrong(Actor):
    restart = "sometimes"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    mailbox_capacity = "many"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


async def spawning(system: ActorSystem) -> None:
    assert_type(await system.spawn("counter", Counter, 3), Ref)
    assert_type(await system.spawn("counter", Counter, start=3, step=2), Ref)
    assert_type(system.whereis("counter"), Ref | None)
    await system.spawn("counter", Counter)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await system.spawn("counter", Counter, "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await system.spawn("counter", Counter, 3, 4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await system.spawn("counter", Counter, 3, stop=4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await system.spawn("counter", int, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def sending(ref: Ref) -> None:
    ref.tell(Add(1))
    await ref.send(Add(1))
    ref.tell(Terminated("name", "reason"))
    ref.tell(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ref.tell(Add("1"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ref.tell(Add)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ref.tell(Total())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.send(Words())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def asking(ref: Ref) -> None:
    assert_type(await ref.ask(Total()), int)
    assert_type(ref.statistics(), Statistics)
    _wrong: str = await ref.ask(Total())  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    await ref.ask(Add(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.ask(Words())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def streaming(ref: Ref) -> None:
    async with ref.stream(Words()) as words:
        assert_type(words, AsyncIterator[str])
        async for word in words:
            assert_type(word, str)

    async with ref.stream(Total()):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        pass


async def handling(counter: Counter, anything: Any) -> None:
    assert_type(await counter.count(Total()), int)
    await counter.add(Total())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
