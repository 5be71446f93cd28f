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
