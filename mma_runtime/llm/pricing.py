"""What tokens cost, in US dollars; knows nothing of budgets.

Prices come from the scenario's own table first, then from genai-prices' data, which is
part of that package: no network is used.
"""

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol

from mma_runtime.llm.usage import Usage

_MILLION = Decimal(1_000_000)


class Rates(Protocol):
    """The price of one model."""

    def cost(self, usage: Usage) -> Decimal:
        """Return what *usage* costs, in US dollars."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatRates:
    """Prices in US dollars per million tokens, the same for any length of request."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal

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


@dataclass(frozen=True, slots=True)
class _TieredRates:
    """Prices that depend on the length of the request, computed by genai-prices."""

    model_price: Any
    prices: Any

    def cost(self, usage: Usage) -> Decimal:
        price: Decimal = self.model_price.calc_price(_priced(self.prices, usage))[
            "total_price"
        ]
        return price


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceOverride:
    """A line of the user's own price table, in US dollars per million tokens.

    *match* is a regular expression that is searched in `provider:model`. *cached* and
    *cache_write* default to the input price.
    """

    match: str
    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None


class PriceList:
    """The user's overrides, first match wins, then the data of genai-prices."""

    def __init__(self, overrides: Iterable[PriceOverride] = ()) -> None:
        self._overrides = [
            (re.compile(override.match), _from_override(override))
            for override in overrides
        ]

    def rates(self, provider: str, model: str) -> Rates | None:
        """Return the price of *model* at *provider*; `None` is unknown, not free.

        The first call for a model without an override imports genai-prices (0.3 s).
        """
        for pattern, rates in self._overrides:
            if pattern.search(f"{provider}:{model}"):
                return rates

        return _known_rates(provider, model)


def _from_override(override: PriceOverride) -> FlatRates:
    write = override.input if override.cache_write is None else override.cache_write
    return FlatRates(
        input=override.input,
        output=override.output,
        cache_read=override.input if override.cached is None else override.cached,
        cache_write=write,
        cache_write_1h=write,
    )


_PROVIDERS = {"gemini": "google", "openai-responses": "openai"}


@lru_cache(maxsize=256)
def _known_rates(provider: str, model: str) -> Rates | None:
    # By name, so that a run whose prices are all overridden, or that needs none, does
    # not pay for the import.
    prices = importlib.import_module("genai_prices")
    try:
        found = prices.calc_price(
            prices.Usage(input_tokens=1, output_tokens=1),
            model_ref=model,
            provider_id=_PROVIDERS.get(provider, provider),
        ).model_price
    except LookupError:
        return None

    if not isinstance(found.input_mtok, Decimal):
        return _TieredRates(found, prices)

    rates = {
        name: getattr(found, f"{name}_mtok", None)
        for name in ("output", "cache_read", "cache_write", "cache_write_1h")
    }
    if not all(rate is None or isinstance(rate, Decimal) for rate in rates.values()):
        return _TieredRates(found, prices)

    write = rates["cache_write"] or found.input_mtok
    return FlatRates(
        input=found.input_mtok,
        output=rates["output"] or Decimal(0),
        cache_read=rates["cache_read"] or found.input_mtok,
        cache_write=write,
        cache_write_1h=rates["cache_write_1h"] or write,
    )


def _priced(prices: Any, usage: Usage) -> Any:
    return prices.Usage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
    )
