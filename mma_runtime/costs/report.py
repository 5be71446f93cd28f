"""What was spent, as a snapshot: sums of calls, line by line and in all."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from typing import Any

from mma_runtime.errors import ArgumentInvalid
from mma_runtime.llm.usage import NO_USAGE, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """A sum over calls.

    *calls* counts those that the provider took, *attempts* those that it turned away as
    well. *usd* is the sum of what is known, in US dollars; *estimated_usd* is the part
    of it that we counted ourselves, *unpaid_usd* the part that scripted replies stand
    for. *unknown_calls* are not in it; *unknown_usd* is the most that they can have
    cost, `None` where one of them has no price. *reserved_usd* is held for the calls
    *in_flight*. *saved_usd* is what the providers' caches saved.
    """

    calls: int = 0
    attempts: int = 0
    usage: Usage = NO_USAGE
    usd: Decimal = Decimal(0)
    unpaid_usd: Decimal = Decimal(0)
    estimated_calls: int = 0
    estimated_usd: Decimal = Decimal(0)
    unknown_calls: int = 0
    unknown_usd: Decimal | None = Decimal(0)
    in_flight: int = 0
    reserved_usd: Decimal = Decimal(0)
    saved_usd: Decimal = Decimal(0)

    def __add__(self, other: "Spent") -> "Spent":
        """Add two sums field by field."""
        return Spent(
            calls=self.calls + other.calls,
            attempts=self.attempts + other.attempts,
            usage=self.usage + other.usage,
            usd=self.usd + other.usd,
            unpaid_usd=self.unpaid_usd + other.unpaid_usd,
            estimated_calls=self.estimated_calls + other.estimated_calls,
            estimated_usd=self.estimated_usd + other.estimated_usd,
            unknown_calls=self.unknown_calls + other.unknown_calls,
            unknown_usd=_sum(self.unknown_usd, other.unknown_usd),
            in_flight=self.in_flight + other.in_flight,
            reserved_usd=self.reserved_usd + other.reserved_usd,
            saved_usd=self.saved_usd + other.saved_usd,
        )

    @property
    def billed_usd(self) -> Decimal:
        """What real providers charge for, in US dollars."""
        return self.usd - self.unpaid_usd


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other


NOTHING_SPENT = Spent()


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """What one tier spent on one model, at one place in a run.

    *model* is `provider:model`; *billed* is false for scripted replies. A line that was
    made by `CostReport.by` is empty in what it is not told apart by.
    """

    run: str = ""
    tier: str = ""
    track: str = ""
    ticket: str = ""
    model: str = ""
    billed: bool = True
    spent: Spent

    @property
    def provider(self) -> str:
        """The name of the model's provider."""
        return self.model.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """What has been spent, line by line and in all."""

    lines: tuple[CostLine, ...] = ()
    total: Spent = NOTHING_SPENT

    def by(self, *keys: str) -> tuple[CostLine, ...]:
        """Return the sums by *keys*, in the order in which they came up.

        Keys are `run`, `tier`, `track`, `ticket`, `model` and `provider`. Calls that
        are billed and scripted replies are never summed up in one line.

        Raises:
            ArgumentInvalid: There is no such key.
        """
        check_keys(keys)
        sums: dict[tuple[Any, ...], Spent] = {}
        key_of = attrgetter(*keys, "billed")
        for line in self.lines:
            key = key_of(line)
            known = sums.get(key)
            sums[key] = line.spent if known is None else known + line.spent

        return tuple(
            _line(dict(zip(keys, key, strict=False)), key[-1], spent)
            for key, spent in sums.items()
        )

    def ticket(self, ticket: str) -> Spent:
        """Return what was spent on *ticket*, by all tiers; for many, use `tickets`."""
        found = (line.spent for line in self.lines if line.ticket == ticket)
        return sum(found, NOTHING_SPENT)

    def tickets(self) -> dict[str, Spent]:
        """Return what was spent on each ticket, by all tiers."""
        spent: dict[str, Spent] = {}
        for line in self.lines:
            known = spent.get(line.ticket)
            spent[line.ticket] = line.spent if known is None else known + line.spent

        return spent

    @classmethod
    def of(cls, lines: Iterable[CostLine]) -> "CostReport":
        """Make a report of *lines*."""
        lines = tuple(lines)
        total = sum((line.spent for line in lines), NOTHING_SPENT)
        return cls(lines=lines, total=total)


def _line(names: dict[str, str], billed: bool, spent: Spent) -> CostLine:
    provider = names.pop("provider", "")
    if provider and "model" not in names:
        names["model"] = f"{provider}:"

    return CostLine(**names, billed=billed, spent=spent)


KEYS = ("run", "tier", "track", "ticket", "model", "provider")
"""What lines are told apart by."""


def check_keys(keys: Iterable[str]) -> None:
    """Raise `ArgumentInvalid` unless all *keys* are among `KEYS`."""
    for key in keys:
        if key not in KEYS:
            raise ArgumentInvalid("key", key, f"one of {', '.join(KEYS)}")
