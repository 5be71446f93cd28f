"""What tokens cost, in US dollars; knows nothing of budgets.

Prices come from the scenario's own table first, then from genai-prices' data, which is
part of that package: no network is used.
"""

import importlib
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib import metadata
from typing import Any, NamedTuple, Protocol

from mma_runtime.llm.usage import Usage

_MILLION = Decimal(1_000_000)


class Quote(NamedTuple):
    """The most that a call can cost, in US dollars.

    *fixed* is for the input, all of it at its dearest; *per_token* is for each token of
    output, *per_input* for each further token of input.
    """

    fixed: Decimal
    per_token: Decimal
    per_input: Decimal

    def at(self, output: int) -> Decimal:
        """Return the most that the call can cost with *output* tokens of answer."""
        return self.fixed + self.per_token * output


class Rates(Protocol):
    """The price of one model."""

    def cost(self, usage: Usage) -> Decimal:
        """Return what *usage* costs, in US dollars."""
        ...

    def saved(self, usage: Usage) -> Decimal:
        """Return what the cache saved, in US dollars; its writes are taken off."""
        ...

    def quote(self, tokens: int) -> Quote:
        """Return the most that a call with at most *tokens* of input can cost."""
        ...

    def earlier(self, seconds: float) -> "Rates":
        """Return the price of a call that was begun so many seconds ago."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatRates:
    """Prices in US dollars per million tokens, the same for any length of request."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    _worst: tuple[Decimal, Decimal] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out once what is asked for before every call."""
        dearest = max(
            self.input, self.cache_read, self.cache_write, self.cache_write_1h
        )
        worst = (dearest / _MILLION, self.output / _MILLION)
        object.__setattr__(self, "_worst", worst)

    def cost(self, usage: Usage) -> Decimal:
        """Return what *usage* costs, in US dollars."""
        total = usage.output * self.output
        if not usage.cache_read and not usage.cache_write:
            return (total + usage.input * self.input) / _MILLION

        plain = usage.input - usage.cache_read - usage.cache_write
        total += plain * self.input + usage.cache_read * self.cache_read
        total += (usage.cache_write - usage.cache_write_1h) * self.cache_write
        total += usage.cache_write_1h * self.cache_write_1h
        return total / _MILLION

    def saved(self, usage: Usage) -> Decimal:
        """Return what the cache saved, in US dollars; its writes are taken off."""
        if not usage.cache_read and not usage.cache_write:
            return _NOTHING

        whole = usage.input * self.input + usage.output * self.output
        return whole / _MILLION - self.cost(usage)

    def quote(self, tokens: int) -> Quote:
        """Return the most that a call with at most *tokens* of input can cost."""
        per_input, per_output = self._worst
        return Quote(tokens * per_input, per_output, per_input)

    def earlier(self, seconds: float) -> "FlatRates":  # noqa: ARG002 - as asked
        """Return itself: it has no times."""
        return self


_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class TieredRates:
    """Prices that hold for a whole request by the length of its input.

    *steps* are pairs of a number of input tokens and the rates above it, the highest
    first; the last one is from 0.
    """

    steps: tuple[tuple[int, FlatRates], ...]

    def cost(self, usage: Usage) -> Decimal:
        """Return what *usage* costs, in US dollars."""
        return self.at(usage.input).cost(usage)

    def saved(self, usage: Usage) -> Decimal:
        """Return what the cache saved, in US dollars; its writes are taken off."""
        return self.at(usage.input).saved(usage)

    def quote(self, tokens: int) -> Quote:
        """Return the most that a call with at most *tokens* of input can cost."""
        # A shorter request than the bound may be on a lower step, which need not be
        # the cheaper one in every price.
        return _dearest(
            rates.quote(tokens)
            for start, rates in self.steps
            if start < tokens or not start
        )

    def earlier(self, seconds: float) -> "TieredRates":  # noqa: ARG002 - as asked
        """Return itself: it has no times."""
        return self

    def at(self, tokens: int) -> FlatRates:
        """Return the rates of a request with *tokens* of input."""
        for start, rates in self.steps:
            if tokens > start:
                return rates

        return self.steps[-1][1]


def _dearest(quotes: Iterable[Quote]) -> Quote:
    """Return the most of each of several, which need not be of the same one."""
    fixed, per_token, per_input = zip(*quotes, strict=True)
    return Quote(max(fixed), max(per_token), max(per_input))


Slot = tuple[Callable[[datetime], bool], FlatRates | TieredRates]
"""Whether a price holds at a time, in UTC, and what it is."""


class TimedRates:
    """Prices that change by the time of day, or on a day; *slots* in order.

    The first that holds is the price. A call is quoted at the dearest price that may
    hold within `LONGEST_CALL`, and costs what held when it was begun. *clock* returns
    seconds since the epoch.
    """

    def __init__(
        self, slots: Iterable[Slot], clock: Callable[[], float] = time.time
    ) -> None:
        self._slots = tuple(slots)
        self._clock = clock
        # Looked for once a minute: before each call it would take longer than the rest.
        self._minute = -1
        self._possible: tuple[FlatRates | TieredRates, ...] = ()

    def cost(self, usage: Usage) -> Decimal:
        """Return what *usage* costs now, in US dollars."""
        return self.earlier(0.0).cost(usage)

    def saved(self, usage: Usage) -> Decimal:
        """Return what the cache saves now, in US dollars; its writes are taken off."""
        return self.earlier(0.0).saved(usage)

    def quote(self, tokens: int) -> Quote:
        """Return the most that a call with at most *tokens* of input can cost."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            ahead = (0, 1, *range(_STEP, LONGEST_CALL + 1, _STEP))
            found = [self._at((minute + later) * 60) for later in ahead]
            self._possible = tuple(dict.fromkeys(found))
            self._minute = minute

        return _dearest(rates.quote(tokens) for rates in self._possible)

    def earlier(self, seconds: float) -> FlatRates | TieredRates:
        """Return the price of a call that was begun so many seconds ago."""
        return self._at(self._clock() - seconds)

    def _at(self, seconds: float) -> FlatRates | TieredRates:
        when = datetime.fromtimestamp(seconds, UTC)
        return next(rates for holds, rates in self._slots if holds(when))


LONGEST_CALL = 60
"""How long a call may take for its quote to hold in any case, in minutes."""

_STEP = 5  # Minutes; no price holds for less.


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceOverride:
    """A line of the user's own price table, in US dollars per million tokens.

    *match* is a regular expression that is searched in `provider:model`. *cached* and
    *cache_write* default to the input price. *source* says in words where it is from.
    """

    match: str
    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a model and where it is from, in words."""

    rates: FlatRates | TieredRates | TimedRates
    source: str


class PriceList:
    """The user's overrides, first match wins, then the data of genai-prices."""

    def __init__(self, overrides: Iterable[PriceOverride] = ()) -> None:
        self._overrides = [
            (re.compile(override.match), override) for override in overrides
        ]

    def rates(self, provider: str, model: str) -> Rates | None:
        """Return the price of *model* at *provider*; `None` is unknown, not free.

        The first call for a model without an override imports genai-prices (0.3 s).
        """
        found = self.find(provider, model)
        return found.rates if found is not None else None

    def find(self, provider: str, model: str) -> Price | None:
        """Return what `rates` does, with where it is from."""
        return self.overridden(provider, model) or _known_price(provider, model)

    def overridden(self, provider: str, model: str) -> Price | None:
        """Return the user's own price of *model*, if there is one; imports nothing."""
        for pattern, override in self._overrides:
            if pattern.search(f"{provider}:{model}"):
                source = override.source or "your prices"
                return Price(
                    _from_override(override), f"{source}, match {override.match!r}"
                )

        return None


@lru_cache(maxsize=64)
def price_list(overrides: tuple[PriceOverride, ...]) -> PriceList:
    """Return the prices with these *overrides*; all runs of one scenario share it."""
    return PriceList(overrides)


def is_loaded() -> bool:
    """Whether the data of genai-prices is there; loading it takes 0.3 s."""
    return "genai_prices" in sys.modules


def known_models(providers: Iterable[str]) -> list[tuple[str, str]]:
    """Return the provider and name of each model that genai-prices knows."""
    data = importlib.import_module("genai_prices.data")
    wanted = {_PROVIDERS.get(name, name): name for name in providers}
    return [
        (wanted[provider.id], model.id)
        for provider in data.providers
        if provider.id in wanted
        for model in provider.models
    ]


@lru_cache(maxsize=256)
def _from_override(override: PriceOverride) -> FlatRates:
    write = override.input if override.cache_write is None else override.cache_write
    return FlatRates(
        input=override.input,
        output=override.output,
        cache_read=override.input if override.cached is None else override.cached,
        cache_write=write,
        cache_write_1h=write,
    )


_PROVIDERS = {"gemini": "google", "openai-responses": "openai", "xai": "x-ai"}


@lru_cache(maxsize=256)
def _known_price(provider: str, model: str) -> Price | None:
    # By name, so that a run whose prices are all overridden, or that needs none, does
    # not pay for the import.
    prices = importlib.import_module("genai_prices")
    try:
        found = prices.calc_price(
            prices.Usage(input_tokens=1, output_tokens=1),
            model_ref=model,
            provider_id=_PROVIDERS.get(provider, provider),
        )
    except LookupError:
        return None

    slots = _slots(found.model.prices)
    if slots is None:
        return None

    rates = slots[0][1] if len(slots) == 1 else TimedRates(slots)
    version = metadata.version("genai-prices")
    return Price(rates, f"genai-prices {version}, as {found.model.id}")


def _slots(prices: Any) -> list[Slot] | None:
    """Return the prices with when each holds, as `TimedRates` has it."""
    if not isinstance(prices, list):
        rates = _rates(prices)
        return None if rates is None else [(_always, rates)]

    # The last one that holds is the price, and the first where none does.
    listed: list[Any] = prices  # pyright: ignore[reportUnknownVariableType] - any
    slots: list[Slot] = []
    for one in (*reversed(listed), listed[0]):
        rates = _rates(one.prices)
        if rates is None:
            return None

        if one.constraint is None:
            return [*slots, (_always, rates)]

        slots.append((one.constraint.active, rates))

    return [*slots[:-1], (_always, slots[-1][1])]


def _always(_when: datetime) -> bool:
    return True


def _rates(price: Any) -> FlatRates | TieredRates | None:
    charges: set[str] = {*vars(price)}
    if charges and not charges & {"input_mtok", "output_mtok"}:
        # By the hour, the page or the letter: that tokens are not charged is not free.
        return None

    first, *others = _steps(price)
    return TieredRates((first, *others)) if others else first[1]


def _steps(price: Any) -> tuple[tuple[int, FlatRates], ...]:
    """Return the rates above each number of input tokens, the highest first."""
    starts = {0}
    for name in _NAMES:
        starts |= {tier.start for tier in getattr(_value(price, name), "tiers", ())}

    return tuple((start, _flat(price, start)) for start in sorted(starts, reverse=True))


_NAMES = ("input", "output", "cache_read", "cache_write", "cache_write_1h")


def _value(price: Any, name: str) -> Any:
    return getattr(price, f"{name}_mtok", None)


def _flat(price: Any, start: int) -> FlatRates:
    """Return the rates of a request that is a little longer than *start*."""
    rates: dict[str, Decimal | None] = {}
    for name in _NAMES:
        value = _value(price, name)
        for tier in getattr(value, "tiers", ()):
            if tier.start <= start:
                rates[name] = tier.price

        if name not in rates:
            rates[name] = getattr(value, "base", value)

    plain = rates["input"] or Decimal(0)
    read, write, hour = (rates[name] for name in _NAMES[2:])
    write = plain if write is None else write
    return FlatRates(
        input=plain,
        output=rates["output"] or Decimal(0),
        cache_read=plain if read is None else read,
        cache_write=write,
        cache_write_1h=write if hour is None else hour,
    )
