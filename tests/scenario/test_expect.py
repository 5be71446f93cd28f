"""What a scenario expects of costs, where not all of them are known."""

from decimal import Decimal

import pytest

from mma_runtime import RunState
from mma_runtime.costs.report import CostLine, CostReport, Spent
from mma_runtime.outcome import Expectation
from mma_runtime.runtime.expectations import check_expectations
from mma_runtime.scenario.schema import Expect


def spent(usd: str, unknown: int = 0, most: str | None = "0") -> Spent:
    return Spent(
        calls=1 + unknown,
        usd=Decimal(usd),
        unknown_calls=unknown,
        unknown_usd=None if most is None else Decimal(most),
    )


async def check(limit: str, **models: Spent) -> Expectation:
    lines = (CostLine(model=model, spent=one) for model, one in models.items())
    _, cost = await check_expectations(
        Expect(max_usd=Decimal(limit)), RunState.COMPLETED, CostReport.of(lines), None
    )
    return cost


@pytest.mark.parametrize(("limit", "holds"), [("0.05", True), ("0.0499", False)])
async def test_a_call_of_unknown_cost_counts_with_the_most_that_it_can_be(
    limit: str, holds: bool
) -> None:
    cost = await check(limit, known=spent("0.03"), other=spent("0", 1, "0.02"))

    assert cost.passed is holds
    assert cost.detail == "$0.03 and 1 call of unknown price, at most $0.05 in all"


async def test_a_model_without_a_price_holds_to_no_limit() -> None:
    cost = await check("5", priced=spent("0", 1, "0.02"), unpriced=spent("0", 2, None))

    assert not cost.passed
    assert cost.detail == "$0 and 3 calls of unknown price"


async def test_known_costs_are_as_they_are() -> None:
    assert (await check("0.03", known=spent("0.03"))).passed
    assert not (await check("0.02", known=spent("0.03"))).passed
