"""JSON from a server, of which nothing is known before it is looked at."""

import json
from typing import Any, TypeGuard

from pydantic_core import from_json

from mma_providers.failures import Malformed

Object = dict[str, Any]


def is_object(value: object) -> TypeGuard[Object]:
    """Tell whether *value* is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether *value* is a JSON array."""
    return isinstance(value, list)


def string(value: object) -> str:
    """Return *value*, which must be a string.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"a string is due, {type(value).__name__} came")
    return value


def word(parent: Object, name: str) -> str:
    """Return the string that *parent* holds as *name*, an empty one for none.

    Raises:
        TypeError: It is something else.
    """
    return string(parent.get(name) or "")


def count(parent: Object, name: str) -> int:
    """Return the number of tokens that *parent* holds as *name*, 0 for none.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is less than 0.
    """
    value = parent.get(name)
    if value is None:
        return 0
    if type(value) is not int:
        raise TypeError(f"{name} is no number of tokens: {value!r}")
    if value < 0:
        raise ValueError(f"{name} is less than no tokens: {value}")
    return value


def place(value: object) -> int:
    """Return *value*, which must be the place of a part in its answer.

    Raises:
        TypeError: It is no whole number.
    """
    if type(value) is not int:
        raise TypeError(f"a part's place is no whole number: {value!r}")
    return value


def child(parent: Object, name: str) -> Object:
    """Return the object that *parent* holds as *name*, an empty one for none."""
    value = parent.get(name)
    return value if is_object(value) else {}


def read_object(data: bytes) -> Object:
    """Return *data* as a JSON object.

    Raises:
        Malformed: It is none.
    """
    try:
        value: object = from_json(data)
    except ValueError as error:
        shown = data[:80].decode(errors="replace")
        raise Malformed(f"JSON is due, {shown!r} came") from error
    if not is_object(value):
        raise Malformed("a JSON object is due")
    return value


def read_arguments(raw: str) -> Object | None:
    """Return a tool call's arguments, `None` when *raw* is no JSON object.

    Nothing at all counts as an empty object: models write it for tools without
    parameters.
    """
    try:
        value: object = json.loads(raw) if raw.strip() else {}
    except ValueError:
        return None
    return value if is_object(value) else None
