"""Public docstrings tell units, errors, and what cancellation does."""

import inspect
from decimal import Decimal

import mma_runtime
from mma_runtime.errors import ArgumentInvalid, Refused
from tests.docstrings import Public, described, has_unit, named, numbers, public, raised

# What type checkers find is told once, on the page on embedding.
UNSAID = (ArgumentInvalid, NotImplementedError)
# Raised within, and turned into what is told.
TURNED = {("mma_agents.tier.PlanningAgent.answer", "AnswerUnusable")}


def test_every_public_name_is_explained() -> None:
    assert [one.name for one in public() if len(one.text) <= 10] == []


def test_the_unit_of_every_number_is_told() -> None:
    untold = [
        (one.name, name)
        for one in public()
        for name, told in numbers(one)
        if not has_unit(name, told)
    ]

    assert untold == []


def test_every_error_that_the_code_raises_is_named() -> None:
    unnamed = {
        (one.name, kind.__name__)
        for one in public()
        for kind in raised(one)
        if not issubclass(kind, (*named(one), *UNSAID))
    }

    assert unnamed - TURNED == set()


def test_what_waits_tells_of_cancellation() -> None:
    silent = [
        one.name
        for one in public()
        if inspect.iscoroutinefunction(one.value)
        or inspect.isasyncgenfunction(one.value)
        if "cancel" not in one.text.lower()
    ]

    assert silent == []


def test_every_exported_name_is_in_the_reference() -> None:
    shown = [
        *described(exported=False),
        *(one.value for one in public(exported=False)),
    ]

    missing = [
        name for name in mma_runtime.__all__ if getattr(mma_runtime, name) not in shown
    ]

    assert missing == []


# --- the checks themselves ------------------------------------------------------


class Purse:
    """Holds money.

    *limit* is the most that it holds, in US dollars.
    """

    def __init__(self, limit: Decimal, weight: float) -> None:
        self.limit = limit
        self.weight = weight

    def take(self, usd: Decimal, share: int) -> None:
        """Take *usd* out. Raises what `close` raises."""
        self._check(usd)
        if share:
            self.close()

    def close(self) -> None:
        """Close it; raises `ValueError` if that is not possible."""
        raise ValueError(self)

    def open(self) -> None:
        """Open it."""
        try:
            self.close()
        except ValueError:
            raise KeyError(self.limit) from None

    def _check(self, usd: Decimal) -> None:
        if usd > self.limit:
            raise Refused("too much")


def test_a_number_without_a_unit_is_found() -> None:
    found = {name: has_unit(name, told) for name, told in numbers(Public("", Purse))}

    assert found == {"limit": True, "weight": False}


def test_errors_of_helpers_are_found_and_those_that_are_caught_are_not() -> None:
    assert raised(Public("take", Purse.take, Purse)) == {Refused, ValueError}
    assert raised(Public("open", Purse.open, Purse)) == {KeyError}
    assert named(Public("close", Purse.close, Purse)) == (ValueError,)
    assert Refused not in named(Public("take", Purse.take, Purse))
