"""Frozen dataclasses that cost little to define.

The standard decorator compiles six methods of every frozen class, for 0.3 ms, and most
of the hundreds of records here are never made in a given process. These share what they
can, and `__init__` is compiled when it is first looked at.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]


def _dataclass(
    *, frozen: bool = False, slots: bool = False, kw_only: bool = False
) -> Callable[[Any], Any]:
    """Do as `dataclasses.dataclass` does, cheaply for frozen classes with slots.

    Those keep every method that they define themselves, and know no `InitVar`.
    """

    def decorate(cls: Any) -> Any:
        if frozen and slots:
            return _made(cls, kw_only=kw_only)

        return dataclasses.dataclass(frozen=frozen, slots=slots, kw_only=kw_only)(cls)

    return decorate


if TYPE_CHECKING:  # Type checkers know the standard decorator, and only that.
    from dataclasses import dataclass
else:
    dataclass = _dataclass


def _made(cls: type, *, kw_only: bool) -> type:
    """Return *cls* anew, with slots and the methods of a frozen record."""
    own = {
        name: value
        for name, value in vars(cls).items()
        if name not in {"__dict__", "__weakref__"}
    }
    annotations = inspect.get_annotations(cls)
    # The standard decorator finds the fields, in a class that holds nothing else.
    bare: Any = dataclasses.dataclass(
        init=False, repr=False, eq=False, match_args=False, kw_only=kw_only
    )(
        type(
            cls.__name__,
            (),
            {name: own[name] for name in annotations if name in own}
            | {"__annotations__": annotations, "__module__": cls.__module__}
            # Without one it would write one, from a signature.
            | {"__doc__": cls.__doc__ or cls.__name__},
        )
    )
    added = [one.name for one in dataclasses.fields(bare)]
    inherited: dict[str, Field[Any]] = {}
    for base in reversed(cls.__mro__):
        inherited |= vars(base).get("__dataclass_fields__", {})

    bare.__dataclass_fields__ = inherited | bare.__dataclass_fields__
    for name in added:
        own.pop(name, None)

    made: type = type(cls)(
        cls.__name__,
        cls.__bases__,
        {
            "__qualname__": cls.__qualname__,
            "__slots__": tuple(name for name in added if name not in inherited),
            "__dataclass_fields__": bare.__dataclass_fields__,
            **_methods(dataclasses.fields(bare)),
            **own,
        },
    )
    return made


class _Init:
    """Stands for `__init__` until somebody looks at it, and is its class's then."""

    def __set_name__(self, owner: Any, name: str) -> None:
        self._owner = owner

    def __get__(self, instance: object, owner: type) -> Any:
        init = self._owner.__init__ = _compiled(self._owner)
        return init if instance is None else init.__get__(instance)


def _compiled(cls: Any) -> Any:
    """Return `__init__` for the fields of *cls*."""
    known: dict[str, Any] = {"_set_": object.__setattr__, "_missing_": MISSING}
    parameters: dict[bool, list[str]] = {False: [], True: []}
    body: list[str] = []
    for one in dataclasses.fields(cls):
        name = value = one.name
        default = ""
        if one.default is not MISSING:
            known[f"_{name}_"] = one.default
            default = f"_{name}_"
        elif one.default_factory is not MISSING:
            known[f"_{name}_"] = one.default_factory
            default = "_missing_"
            value = f"_{name}_() if {name} is _missing_ else {name}"

        if one.init:
            parameter = f"{name}={default}" if default else name
            parameters[bool(one.kw_only)].append(parameter)
        elif not default:
            continue
        else:
            value = f"_{name}_()" if default == "_missing_" else default

        body.append(f"_set_(self, {name!r}, {value})")

    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")

    keywords = ["*", *parameters[True]] if parameters[True] else []
    head = ", ".join(["self", *parameters[False], *keywords])
    source = f"def __init__({head}):\n  " + "\n  ".join(body or ["pass"])
    exec(source, known)  # noqa: S102 - of our own field names, as the standard one
    init = known["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.__annotations__ = {
        one.name: one.type for one in dataclasses.fields(cls) if one.init
    } | {"return": None}
    return init


def _methods(fields: Iterable[Field[Any]]) -> dict[str, Any]:
    """Return what a frozen class with *fields* has beside them."""
    # With the class in front this is a tuple, or without a field at least comparable.
    compared = attrgetter("__class__", *(one.name for one in fields if one.compare))

    def __eq__(self: object, other: object) -> bool:  # noqa: N807 - as it is called
        if other.__class__ is not self.__class__:
            return NotImplemented

        return bool(compared(self) == compared(other))

    def __hash__(self: object) -> int:  # noqa: N807 - as it is called
        return hash(compared(self))

    return {
        "__dataclass_params__": _PARAMETERS,
        "__match_args__": tuple(
            one.name for one in fields if one.init and not one.kw_only
        ),
        "__init__": _Init(),
        "__repr__": _shown,
        "__eq__": __eq__,
        "__hash__": __hash__,
        "__setattr__": _refuse_to_assign,
        "__delattr__": _refuse_to_delete,
        "__getstate__": _state,
        "__setstate__": _restore,
    }


@dataclasses.dataclass(frozen=True, slots=True)
class _Standard:
    """Lends its parameters, by which a class is known as frozen."""


_PARAMETERS = vars(_Standard)["__dataclass_params__"]


@recursive_repr()
def _shown(self: Any) -> str:
    values = (
        f"{one.name}={getattr(self, one.name)!r}"
        for one in dataclasses.fields(self)
        if one.repr
    )
    return f"{self.__class__.__qualname__}({', '.join(values)})"


def _refuse_to_assign(_self: object, name: str, _value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_self: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    """Return what `copy` and `pickle` keep."""
    return [getattr(self, one.name) for one in dataclasses.fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for one, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, one.name, value)
