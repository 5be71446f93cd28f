from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import pytest

from mma_runtime.events import Origin
from mma_runtime.journal.batch import (
    PACKED,
    SQUEEZE_ABOVE,
    SQUEEZED,
    Listed,
    in_json,
    pack,
    records_of,
    unpack,
)

LISTED: Listed = [1.5, "step", "worker", "", "t1", 2, "ticket", "start t1", {}]


class Colour(Enum):
    RED = "red"


def _origin(tier: str, track: str, ticket: str, attempt: int, task: str) -> Origin:
    return Origin(tier=tier, track=track, ticket=ticket, attempt=attempt, task=task)


def test_the_records_of_a_batch_are_numbered_up_to_its_last() -> None:
    batch = unpack(*pack(in_json([LISTED, [*LISTED, {"turn": 7}]])))

    one, two = records_of(12, batch, _origin)

    assert (one.seq, one.kind, one.call, one.time) == (11, "step", "start t1", 1.5)
    assert (two.seq, two.contents) == (12, {"turn": 7})
    assert two.origin == Origin(tier="worker", ticket="t1", attempt=2, task="ticket")


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (Decimal("0.10"), "0.10"),
        (Path("a/b"), "a/b"),
        (Colour.RED, "red"),
        (("a", 1), ["a", 1]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ("\udcff", "\udcff"),
    ],
)
def test_what_json_does_not_know_is_worded(value: object, back: object) -> None:
    assert unpack(*pack(in_json([value]))) == [back]


@pytest.mark.parametrize(("count", "form"), [(1, PACKED), (200, SQUEEZED)])
def test_a_batch_comes_back_however_it_is_packed(count: int, form: int) -> None:
    text = in_json([LISTED] * count)

    packed, stored = pack(text)

    assert (packed, len(text) > SQUEEZE_ABOVE) == (form, form == SQUEEZED)
    assert unpack(packed, stored) == [LISTED] * count
    assert len(stored) < len(text)


def test_a_float_comes_back_exactly() -> None:
    moments = [1795376725.1289644, 0.1, 1e-320, 5e300]

    assert unpack(*pack(in_json([moments]))) == [moments]


@pytest.mark.parametrize(
    ("form", "stored", "problem"),
    [
        (1, b"[]", "unknown form, 1"),
        (PACKED, b"\xff\xff\xff", "cannot be unpacked"),
        (SQUEEZED, b"\xff\xff\xff", "cannot be unpacked"),
        (*pack(b"[[1"), "Expecting"),
    ],
)
def test_what_is_no_batch_is_refused(form: int, stored: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        unpack(form, stored)


def test_half_a_surrogate_pair_does_not_keep_the_rest_from_being_worded() -> None:
    value = [Colour.RED, "\udcff", MappingProxyType({"a": Decimal(1)})]

    assert unpack(*pack(in_json([value]))) == [["red", "\udcff", {"a": "1"}]]
