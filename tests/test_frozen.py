"""Frozen dataclasses behave as the standard decorator's, and cost less to define."""

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, field
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from pydantic import TypeAdapter

from mma_runtime.frozen import dataclass

T = TypeVar("T")


def place(decorate: Any) -> Any:
    """Return a class with every kind of field, made by *decorate*."""

    @decorate(frozen=True, slots=True, kw_only=True)
    class Place:
        """Where something is."""

        known: ClassVar[int] = 3

        city: str
        street: str = "Bryggen"
        seen: list[str] = field(default_factory=list[str])
        secret: str = field(default="s", repr=False)
        note: str = field(default="", compare=False)
        number: int = field(default=7, init=False)
        stamps: dict[str, Any] = field(default_factory=dict[str, Any], init=False)

    return Place


PLACE = place(dataclasses.dataclass)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something is."""

    city: str
    street: str = "Bryggen"
    seen: list[str] = field(default_factory=list[str])
    note: str = field(default="", compare=False)
    stamps: dict[str, object] = field(default_factory=dict[str, object], init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class House(Place):
    """A place with a floor; and its city is known."""

    floor: int
    city: str = "Bergen"


@dataclass(frozen=True, slots=True)
class Pair(Generic[T]):
    """Two of a kind."""

    left: T
    right: T
    total: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", f"{self.left}{self.right}")


@dataclass(frozen=True, slots=True)
class Nothing:
    """Has no field."""


@pytest.mark.parametrize(
    "arguments",
    [
        {"city": "Oslo"},
        {"city": "Oslo", "street": "Gata", "seen": ["a"], "secret": "x", "note": "n"},
    ],
)
def test_it_is_made_and_shown_as_by_the_standard_decorator(
    arguments: Mapping[str, Any],
) -> None:
    made = place(dataclass)
    ours, theirs = made(**arguments), PLACE(**arguments)

    assert repr(ours) == repr(theirs)
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert (ours.number, ours.stamps, ours.known) == (7, {}, 3)
    parameters = inspect.signature(made).parameters
    assert list(parameters) == list(inspect.signature(PLACE).parameters)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"city": "Oslo", "town": "Oslo"}, {"city": "Oslo", "number": 8}],
)
def test_wrong_arguments_are_refused_in_the_same_words(
    arguments: Mapping[str, Any],
) -> None:
    with pytest.raises(TypeError) as ours:
        place(dataclass)(**arguments)

    with pytest.raises(TypeError) as theirs:
        PLACE(**arguments)

    assert str(ours.value) == str(theirs.value)


def test_a_factory_makes_a_value_for_each() -> None:
    assert Place(city="Oslo").seen is not Place(city="Oslo").seen


def test_a_default_that_could_be_shared_and_changed_is_refused() -> None:
    with pytest.raises(ValueError, match="mutable default"):

        @dataclass(frozen=True, slots=True)
        class _Shared:
            seen: list[str] = []  # noqa: RUF012 - this is the error


def test_equal_are_those_of_one_class_with_equal_values() -> None:
    assert Pair(1, 2) == Pair(1, 2)
    assert hash(Pair(1, 2)) == hash(Pair(1, 2))
    assert Pair(1, 2) != Pair(2, 1)
    assert Pair(1, 2).__eq__((1, 2)) is NotImplemented
    assert Nothing() == Nothing()
    assert House(floor=1) != Place(city="Bergen")
    assert Place(city="Oslo", note="a") == Place(city="Oslo", note="b")


def test_one_with_a_value_that_has_no_hash_has_none() -> None:
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        hash(Place(city="Oslo"))


def test_it_is_frozen_and_has_slots() -> None:
    # Type checkers would refuse it, too.
    oslo: Any = Place(city="Oslo")

    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'city'"):
        oslo.city = "Bergen"
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'other'"):
        oslo.other = 1
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'city'"):
        del oslo.city
    assert not hasattr(oslo, "__dict__")


def test_fields_are_inherited_in_their_order_and_their_defaults_replaced() -> None:
    house = House(floor=2)
    names = [one.name for one in dataclasses.fields(House)]

    assert names == ["city", "street", "seen", "note", "stamps", "floor"]
    assert (house.city, house.street, house.floor) == ("Bergen", "Bryggen", 2)
    assert vars(House)["__slots__"] == ("floor",)


def test_what_the_class_has_itself_is_kept() -> None:
    @dataclass(frozen=True, slots=True)
    class Loud:
        name: str

        def __repr__(self) -> str:
            return self.name.upper()

    assert repr(Loud("a")) == "A"
    assert Pair("a", "b").total == "ab"


def test_the_standard_decorator_makes_classes_of_it() -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Flat(Place):
        door: str

    flat: Any = Flat(city="Oslo", door="left")

    assert (flat.city, flat.door) == ("Oslo", "left")
    with pytest.raises(FrozenInstanceError):
        flat.door = "right"


def test_it_makes_classes_of_the_standard_decorators() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Base:
        first: int

    @dataclass(frozen=True, slots=True)
    class Derived(Base):
        second: int = 2

    assert Derived(1) == Derived(1, 2)
    match Derived(3, 4):
        case Derived(first, second):
            assert (first, second) == (3, 4)


def test_it_can_be_copied_pickled_and_replaced() -> None:
    house = House(floor=1, seen=["a"])

    assert copy.copy(house) == house
    assert copy.deepcopy(house) == house
    assert pickle.loads(pickle.dumps(house)) == house  # noqa: S301
    assert dataclasses.replace(house, floor=2) == House(floor=2, seen=["a"])


def test_pydantic_checks_it_by_its_fields() -> None:
    adapter = TypeAdapter(Place)

    assert adapter.validate_python({"city": "Oslo"}) == Place(city="Oslo")
    assert adapter.json_schema()["required"] == ["city"]


def test_one_that_holds_itself_is_shown_with_an_end() -> None:
    oslo = Place(city="Oslo")
    oslo.stamps["self"] = oslo

    assert "stamps={'self': ...}" in repr(oslo)


def test_what_is_not_frozen_is_the_standard_decorators() -> None:
    @dataclass(slots=True)
    class Counter:
        count: int = 0

    counter = Counter()
    counter.count += 1

    assert counter == Counter(1)


def test_no_method_is_compiled_before_it_is_used() -> None:
    @dataclass(frozen=True, slots=True)
    class Unused:
        first: int
        second: str = ""

    compiled = [
        name
        for name, value in vars(Unused).items()
        if getattr(getattr(value, "__code__", None), "co_filename", "") == "<string>"
    ]

    assert compiled == []
    assert Unused(1).first == 1
    assert vars(Unused)["__init__"].__code__.co_filename == "<string>"
