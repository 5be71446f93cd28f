"""Messages and handlers: what is found, and what is refused when a class is made."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest

from mma_runtime.errors import UnhandledMessage
from mma_runtime.kernel import (
    Actor,
    ActorSystem,
    Message,
    Request,
    StreamRequest,
    handles,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Animal(Message):
    pass


@dataclass(frozen=True, slots=True)
class Cat(Animal):
    pass


@dataclass(frozen=True, slots=True)
class Count(Request[int]):
    pass


@dataclass(frozen=True, slots=True)
class Echo(Request[T], Generic[T]):
    item: T


@dataclass(frozen=True, slots=True)
class Numbers(StreamRequest[int]):
    pass


class Zoo(Actor):
    def __init__(self) -> None:
        self.log: list[str] = []

    @handles
    async def animal(self, message: Animal) -> None:
        self.log.append("animal")

    @handles
    async def count(self, request: Count) -> int:
        return len(self.log)

    @handles
    async def echo(self, request: Echo[Any]) -> Any:
        return request.item

    @handles
    async def numbers(self, request: Numbers) -> AsyncGenerator[int]:
        yield 1


async def test_a_handler_of_a_base_type_handles_its_subtypes() -> None:
    async with ActorSystem() as system:
        zoo = await system.spawn("zoo", Zoo)
        zoo.tell(Cat())

        assert await zoo.ask(Count()) == 1


async def test_a_generic_request_is_found_by_its_origin() -> None:
    async with ActorSystem() as system:
        zoo = await system.spawn("zoo", Zoo)

        assert await zoo.ask(Echo("hi")) == "hi"


async def test_an_override_replaces_the_handler_with_or_without_the_mark() -> None:
    class Loud(Zoo):
        async def animal(self, message: Animal) -> None:
            self.log += ["one", "two"]

    class Silent(Zoo):
        @handles
        async def nothing(self, message: Animal) -> None:
            pass

    async with ActorSystem() as system:
        loud = await system.spawn("loud", Loud)
        silent = await system.spawn("silent", Silent)
        await loud.send(Animal())
        await silent.send(Animal())

        assert await loud.ask(Count()) == 2
        assert await silent.ask(Count()) == 0


@pytest.mark.parametrize(
    ("way", "message", "hint"),
    [
        ("tell", Count(), "Count that way .use `await ref.ask"),
        ("ask", Cat(), "Cat that way .use `ref.tell"),
        ("ask", Numbers(), "Numbers that way .use `async with ref.stream"),
        ("send", Count(), "handles Animal, Count, Echo, Numbers"),
    ],
)
async def test_a_message_sent_in_the_wrong_way_says_the_right_one(
    way: str, message: Any, hint: str
) -> None:
    async with ActorSystem() as system:
        zoo = await system.spawn("zoo", Zoo)

        with pytest.raises(UnhandledMessage, match=hint):
            result = getattr(zoo, way)(message)
            await result


async def test_an_actor_without_handlers_says_so() -> None:
    class Mute(Actor):
        pass

    async with ActorSystem() as system:
        mute = await system.spawn("mute", Mute)

        with pytest.raises(UnhandledMessage, match="handles no messages at all"):
            mute.tell(Cat())
        with pytest.raises(UnhandledMessage):
            async with mute.stream(Numbers()):
                pass


async def _two(self: Actor, one: Cat, two: Cat) -> None: ...
async def _none(self: Actor) -> None: ...
async def _integer(self: Actor, message: int) -> None: ...
async def _union(self: Actor, message: Cat | Animal) -> None: ...
def _sync(self: Actor, message: Cat) -> None: ...
async def _stream(self: Actor, message: Cat) -> AsyncGenerator[int]:
    yield 1


async def _single(self: Actor, request: Numbers) -> int:
    return 1


async def _text(self: Actor, request: Count) -> str:
    return ""


async def _unknown(self: Actor, message: Any) -> None: ...


_unknown.__annotations__["message"] = "Missing"


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        (_two, "must take one parameter besides `self`"),
        (_none, "must take one parameter besides `self`"),
        (_integer, "annotated with a subclass of Message"),
        (_union, "annotated with a subclass of Message"),
        (_sync, "must be an `async def` without `yield`"),
        (_stream, "must be an `async def` without `yield`"),
        (_single, "must be an async generator"),
        (_text, "returns str, but Count is answered with int"),
        (_unknown, "annotation that is unknown.*Missing"),
    ],
)
def test_a_wrong_handler_is_an_error_at_once(method: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        type("Wrong", (Actor,), {"method": handles(method)})


def test_two_handlers_of_one_type_are_an_error_when_the_class_is_made() -> None:
    async def other(self: Actor, message: Cat) -> None: ...
    async def another(self: Actor, message: Cat) -> None: ...

    with pytest.raises(TypeError, match="handles Cat twice: in 'a' and in 'b'"):
        type("Wrong", (Actor,), {"a": handles(other), "b": handles(another)})
