"""What travels between actors, and the table of who handles what."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from mma_runtime.arguments import check_kind
from mma_runtime.errors import UnhandledMessage

ReplyT_co = TypeVar("ReplyT_co", covariant=True)
ItemT_co = TypeVar("ItemT_co", covariant=True)
MethodT = TypeVar("MethodT", bound=Callable[..., Any])

Handler = Callable[[Any, Any], Any]
"""A function of the actor and a message: a coroutine or an async generator."""


class Message:
    """Base of what is sent and not answered (`tell`, `send`).

    Subclass it as a frozen, slotted dataclass.
    """

    __slots__ = ()


class Request(Generic[ReplyT_co]):
    """Base of what is asked (`ask`); the type argument is the type of the reply.

    Not a `Message`: an answer that nobody waits for would be lost.
    """

    __slots__ = ()


class StreamRequest(Generic[ItemT_co]):
    """Base of what is answered with a stream (`stream`) of items of the type given."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Terminated(Message):
    """An actor that was watched has ended for good.

    *reason* is `stopped`, `finished` or the failure in words; *error* is the failure.
    """

    name: str
    reason: str
    error: BaseException | None = field(default=None, kw_only=True, compare=False)


_KINDS: tuple[type, ...] = (Message, Request, StreamRequest)
_SENT_BY: dict[type, str] = {
    Message: "`ref.tell(...)` or `await ref.send(...)`",
    Request: "`await ref.ask(...)`",
    StreamRequest: "`async with ref.stream(...)`",
}


def handles(method: MethodT) -> MethodT:
    """Mark an async method as the handler of the type its parameter is annotated with.

    The handler of a `Message` returns nothing, that of a `Request` returns the reply,
    that of a `StreamRequest` is an async generator.

    Raises:
        ArgumentInvalid: It is no function.
    """
    check_kind("method", method, FunctionType, "what stands below `@handles`, a `def`")

    vars(method)[_MARK] = True
    return method


_MARK = "__handles__"


class Handlers:
    """Which function of an actor class handles which type; made once per class."""

    __slots__ = ("asks", "streams", "tells")

    def __init__(self, actor_class: type) -> None:
        self.tells: dict[type, Handler] = {}
        self.asks: dict[type, Handler] = {}
        self.streams: dict[type, Handler] = {}
        names: dict[type, str] = {}
        for base in reversed(actor_class.__mro__):
            names |= _marked_in(base)

        for kind, name in names.items():
            self._table_for(kind)[kind] = getattr(actor_class, name)

    def find(self, kind: type, message: object, actor: str) -> Handler:
        """Return the handler of *message*, which is sent as *kind*, by its base types.

        Raises:
            UnhandledMessage: there is none.
        """
        table = self._table_for(kind)
        for base in type(message).__mro__:
            if base in table:
                return table[base]

        raise UnhandledMessage(actor, self._blame(kind, message), self._known())

    def _table_for(self, kind: type) -> dict[type, Handler]:
        if issubclass(kind, Message):
            return self.tells
        return self.asks if issubclass(kind, Request) else self.streams

    def _blame(self, kind: type, message: object) -> str:
        name = type(message).__qualname__
        for other in _KINDS:
            if isinstance(message, other) and other is not kind:
                return f"{name} that way (use {_SENT_BY[other]})"

        return name

    def _known(self) -> list[str]:
        tables = (self.tells, self.asks, self.streams)
        return sorted(kind.__qualname__ for table in tables for kind in table)


def _marked_in(base: type) -> dict[type, str]:
    found: dict[type, str] = {}
    for name, method in vars(base).items():
        if inspect.isfunction(method) and _MARK in vars(method):
            kind = _handled_type(method)
            if kind in found:
                raise TypeError(
                    f"{base.__qualname__} handles {kind.__qualname__} twice:"
                    f" in {found[kind]!r} and in {name!r}"
                )

            found[kind] = name

    return found


def _handled_type(method: Callable[..., Any]) -> type:
    where = f"the handler {method.__qualname__!r}"
    try:
        hints = get_type_hints(method)
    except NameError as error:
        raise TypeError(
            f"{where} has an annotation that is unknown: {error}"
        ) from error

    parameters = tuple(inspect.signature(method).parameters)[1:]
    hint = hints.get(parameters[0]) if len(parameters) == 1 else None
    kind: Any = get_origin(hint) or hint
    if not (isinstance(kind, type) and issubclass(kind, _KINDS)):
        raise TypeError(
            f"{where} must take one parameter besides `self`, annotated with a"
            " subclass of Message, Request or StreamRequest"
        )

    is_stream = StreamRequest in kind.__mro__
    if is_stream and not inspect.isasyncgenfunction(method):
        raise TypeError(f"{where} must be an async generator: it answers with a stream")
    if not is_stream and not inspect.iscoroutinefunction(method):
        raise TypeError(f"{where} must be an `async def` without `yield`")

    _check_reply(where, kind, hints.get("return"))
    return kind


def _check_reply(where: str, kind: type, returned: Any) -> None:
    """Refuse a handler that plainly answers with another type than its request says."""
    declared = _reply_type(kind)
    if not (isinstance(declared, type) and isinstance(returned, type)):
        return

    if not issubclass(returned, declared):
        raise TypeError(
            f"{where} returns {returned.__name__}, but {kind.__qualname__} is"
            f" answered with {declared.__name__}"
        )


def _reply_type(kind: type) -> object:
    for base in getattr(kind, "__orig_bases__", ()):
        if get_origin(base) is Request:
            return get_args(base)[0]

    return None
