"""Usages: what can be counted, and what is refused."""

from typing import cast

import pytest

from mma_runtime.llm.usage import Usage


def test_usages_are_added_field_by_field() -> None:
    both = Usage(input=1, output=2, cache_read=3) + Usage(output=4, reasoning=5)

    assert both == Usage(input=1, output=6, cache_read=3, reasoning=5)


@pytest.mark.parametrize("count", ["12", 12.5, True, None, [1]])
def test_a_count_that_is_no_whole_number_is_refused(count: object) -> None:
    with pytest.raises(TypeError, match="output is no number of tokens"):
        Usage(input=1, output=cast("int", count))


def test_a_count_below_none_is_refused_as_it_would_lower_the_bill() -> None:
    with pytest.raises(ValueError, match="cache_read is less than no tokens: -3"):
        Usage(input=1, cache_read=-3)
