"""What tokens cost: known prices, overrides, and what is unknown."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest

from mma_runtime.llm.pricing import (
    FlatRates,
    PriceList,
    PriceOverride,
    Slot,
    TimedRates,
)
from mma_runtime.llm.usage import Usage

MILLION = 1_000_000


def cost(provider: str, model: str, **usage: int) -> Decimal:
    rates = PriceList().rates(provider, model)
    assert rates is not None
    return rates.cost(Usage(**usage))


@pytest.mark.parametrize(
    ("model", "plain", "cached", "output"),
    [
        ("gpt-4o", "2.50", "1.25", "10"),
        ("gpt-4o-mini", "0.15", "0.075", "0.60"),
        ("o1", "15", "7.50", "60"),
        ("o3-mini", "1.10", "0.55", "4.40"),
    ],
)
def test_openai_models_have_their_list_prices(
    model: str, plain: str, cached: str, output: str
) -> None:
    assert cost("openai", model, input=MILLION) == Decimal(plain)
    assert cost("openai", model, input=MILLION, cache_read=MILLION) == Decimal(cached)
    assert cost("openai", model, output=MILLION) == Decimal(output)


def test_the_parts_of_one_call_add_up_to_the_last_digit() -> None:
    usage = {"input": 1_201, "cache_read": 1_024, "output": 77, "reasoning": 64}

    assert cost("openai", "gpt-4o-mini", **usage) == Decimal("0.00014955")


def test_a_dated_name_costs_what_the_model_costs() -> None:
    assert cost("openai", "gpt-4o-mini-2024-07-18", input=MILLION) == Decimal("0.15")


def test_gemini_is_found_under_its_maker() -> None:
    assert cost("gemini", "gemini-2.5-flash-lite", output=MILLION) == Decimal("0.40")


def test_a_write_to_the_cache_has_its_own_price() -> None:
    five_minutes = cost(
        "anthropic", "claude-haiku-4-5", input=MILLION, cache_write=MILLION
    )
    one_hour = cost(
        "anthropic",
        "claude-haiku-4-5",
        input=MILLION,
        cache_write=MILLION,
        cache_write_1h=MILLION,
    )

    assert (five_minutes, one_hour) == (Decimal("1.25"), Decimal(2))


def test_a_long_request_costs_more_where_the_price_depends_on_its_length() -> None:
    short = cost("gemini", "gemini-2.5-pro", input=200_000)
    long = cost("gemini", "gemini-2.5-pro", input=400_000)

    assert short == Decimal("0.25")
    assert long > 2 * short


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("no-such-provider", "gpt-4o"), ("openai", "")],
)
def test_a_price_that_nobody_knows_is_unknown_and_not_zero(
    provider: str, model: str
) -> None:
    assert PriceList().rates(provider, model) is None


@pytest.mark.parametrize("model", ["whisper-1", "tts-1", "gpt-live-1"])
def test_what_is_charged_by_the_hour_or_the_letter_has_no_price_by_the_token(
    model: str,
) -> None:
    assert PriceList().rates("openai", model) is None


def test_what_is_free_costs_nothing() -> None:
    assert cost("gemini", "gemma-3", input=MILLION, output=MILLION) == 0


def test_the_first_override_that_matches_wins() -> None:
    prices = PriceList(
        [
            PriceOverride(match="gpt-4o-mini", input=Decimal(1), output=Decimal(2)),
            PriceOverride(match="gpt-4o", input=Decimal(3), output=Decimal(4)),
        ]
    )

    mini = prices.rates("openai", "gpt-4o-mini")
    large = prices.rates("openai", "gpt-4o")

    assert mini is not None
    assert large is not None
    assert mini.cost(Usage(input=MILLION)) == 1
    assert large.cost(Usage(input=MILLION)) == 3


def test_an_override_may_name_the_provider_too() -> None:
    override = PriceOverride(match="^local:", input=Decimal(0), output=Decimal(0))
    prices = PriceList([override])

    free = prices.rates("local", "llama")

    assert free is not None
    assert free.cost(Usage(input=MILLION, output=MILLION)) == 0
    assert prices.rates("remote", "local:llama") is None


def test_an_override_takes_what_it_leaves_out_as_input() -> None:
    prices = PriceList([PriceOverride(match="x", input=Decimal(5), output=Decimal(7))])

    rates = prices.rates("p", "x")

    assert rates is not None
    usage = Usage(input=MILLION, cache_read=MILLION // 2, cache_write=MILLION // 2)
    assert rates.cost(usage) == 5


def test_an_overridden_price_loads_no_price_data() -> None:
    code = (
        "import sys; from decimal import Decimal as D;"
        "from mma_runtime.llm.pricing import PriceList, PriceOverride as P;"
        "PriceList([P(match='x', input=D(1), output=D(1))]).rates('p', 'x');"
        "print('genai_prices' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"


def flat(dollars: int) -> FlatRates:
    each = Decimal(dollars)
    return FlatRates(
        input=each, output=each, cache_read=each, cache_write=each, cache_write_1h=each
    )


def at(hour: int, minute: int = 0) -> float:
    return datetime(2026, 11, 30, hour, minute, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "cost", "most"),
    [
        (at(2), 1, 1),
        (at(3, 1), 1, 2),
        (at(3, 59), 1, 2),
        (at(4), 2, 2),
        (at(6, 59), 2, 2),
        (at(7), 1, 1),
    ],
)
def test_a_price_by_the_time_of_day_is_quoted_at_its_dearest_within_an_hour(
    now: float, cost: int, most: int
) -> None:
    dear = flat(2)
    rates = TimedRates(
        [(lambda when: 4 <= when.hour < 7, dear), (lambda _: True, flat(1))],
        clock=lambda: now,
    )

    assert rates.cost(Usage(input=1_000_000)) == cost
    assert rates.quote(1_000_000).at(0) == most


def test_a_call_costs_what_held_when_it_was_begun() -> None:
    slots: list[Slot] = [
        (lambda when: when.hour >= 4, flat(2)),
        (lambda _: True, flat(1)),
    ]
    rates = TimedRates(slots, clock=lambda: at(4, 1))

    assert rates.earlier(30.0) == flat(2)
    assert rates.earlier(90.0) == flat(1)


def test_a_quote_moves_with_the_clock() -> None:
    times = iter([at(1), at(1), at(4), at(4)])
    slots: list[Slot] = [
        (lambda when: when.hour >= 4, flat(2)),
        (lambda _: True, flat(1)),
    ]
    rates = TimedRates(slots, clock=lambda: next(times))

    assert [rates.quote(1_000_000).at(0) for _ in range(4)] == [1, 1, 2, 2]


def test_prices_that_change_with_time_cost_as_the_list_says_for_each_hour() -> None:
    rates = PriceList().rates("deepseek", "deepseek-v4-pro")
    assert isinstance(rates, TimedRates)

    for hour in range(24):
        when = datetime(2026, 11, 29, hour, 30, tzinfo=UTC)
        listed = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=1_000, output_tokens=1_000),
            model_ref="deepseek-v4-pro",
            provider_id="deepseek",
            genai_request_timestamp=when,
        )
        ago = time.time() - when.timestamp()
        usage = Usage(input=1_000, output=1_000)
        assert rates.earlier(ago).cost(usage) == listed.total_price
