"""What callers hand in, looked at where it comes in, so that a mistake is named there.

Type checkers find the same; not everybody has one.
"""

import os
from collections.abc import Iterable, Mapping
from typing import TypeVar, cast

from mma_runtime.errors import ArgumentInvalid

T = TypeVar("T")


def check_kind(
    argument: str, given: object, kind: type | tuple[type, ...], wanted: str
) -> None:
    """Raise `ArgumentInvalid` unless *given* is of *kind*; *wanted* says what is."""
    if not isinstance(given, kind):
        raise ArgumentInvalid(argument, given, wanted)


def check_text(argument: str, given: object, wanted: str = "text") -> None:
    """Raise `ArgumentInvalid` unless *given* is text; *wanted* says of what."""
    check_kind(argument, given, str, wanted)


def check_flag(argument: str, given: object) -> None:
    """Raise `ArgumentInvalid` unless *given* is true or false."""
    check_kind(argument, given, bool, "`True` or `False`")


def check_count(argument: str, given: object, wanted: str) -> None:
    """Raise `ArgumentInvalid` unless *given* is a whole number from 1 on."""
    if not isinstance(given, int) or given < 1:
        raise ArgumentInvalid(argument, given, wanted)


def check_path(argument: str, given: object, wanted: str = "a path") -> None:
    """Raise `ArgumentInvalid` unless *given* is a path; *wanted* says of what."""
    check_kind(argument, given, (str, os.PathLike), wanted)


def check_texts(argument: str, given: object, wanted: str) -> None:
    """Raise `ArgumentInvalid` unless *given* maps texts to texts, as *wanted* says."""
    if not isinstance(given, Mapping):
        raise ArgumentInvalid(argument, given, wanted)

    for name, value in cast("Mapping[object, object]", given).items():
        check_text(f"a key of {argument}", name)
        check_text(f"{argument}[{name!r}]", value)


def check_members(
    argument: str, given: object, names: Iterable[str], wanted: str
) -> None:
    """Raise `ArgumentInvalid` unless *given* is an object with all *names*."""
    if isinstance(given, type):
        raise ArgumentInvalid(argument, given, f"{wanted}: an object, not its class")

    for name in names:
        if not hasattr(given, name):
            raise ArgumentInvalid(argument, given, f"{wanted}, which has `{name}`")


def check_callable(argument: str, given: object, wanted: str) -> None:
    """Raise `ArgumentInvalid` unless *given* can be called."""
    if not callable(given):
        raise ArgumentInvalid(argument, given, wanted)


def check_class(argument: str, given: object, base: type, wanted: str) -> None:
    """Raise `ArgumentInvalid` unless *given* is a class below *base*."""
    is_class = isinstance(given, type) and issubclass(given, base)
    if not is_class:
        raise ArgumentInvalid(argument, given, wanted)


def several(argument: str, given: Iterable[T], wanted: str) -> tuple[T, ...]:
    """Return *given* as a tuple; one thing alone, text too, is refused.

    Raises:
        ArgumentInvalid: It cannot be iterated over; *wanted* says what it should hold.
    """
    if _is_alone(given):
        raise ArgumentInvalid(argument, given, wanted)

    return tuple(given)


def _is_alone(given: object) -> bool:
    return isinstance(given, str | Mapping) or not hasattr(given, "__iter__")
