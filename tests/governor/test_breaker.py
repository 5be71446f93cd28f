"""Which of several models is left alone, however many calls fail at once."""

import pytest

from mma_runtime.errors import (
    ProviderError,
    ProviderFacts,
    ProviderFailed,
    QuotaExhausted,
    RequestRejected,
)
from mma_runtime.governor.breaker import LONG_REST, REST, Breaker


def failing(
    kind: type[ProviderError], retry_after: float | None = None
) -> ProviderError:
    return kind("", ProviderFacts(provider="a", model="m", retry_after=retry_after))


def begin(breaker: Breaker, now: float) -> int:
    """Begin a call that the breaker lets through."""
    trial = breaker.admits(now)
    assert trial is not None
    return trial


@pytest.mark.parametrize(
    ("kind", "rest"), [(ProviderFailed, REST[0]), (QuotaExhausted, LONG_REST)]
)
def test_calls_that_fail_together_make_one_rest(
    kind: type[ProviderError], rest: float
) -> None:
    breaker = Breaker()
    begun = [begin(breaker, 0.0) for _ in range(32)]

    for trial in begun:
        assert breaker.failed(failing(kind), 1.0, trial)

    assert breaker.rests_for(1.0) == rest
    assert breaker.admits(rest) is None
    begin(breaker, 1.0 + rest)


def test_a_failed_trial_doubles_the_rest_up_to_the_longest() -> None:
    breaker, now = Breaker(), 0.0
    rests: list[float] = []
    for _ in range(7):
        breaker.failed(failing(ProviderFailed), now, begin(breaker, now))
        rests.append(breaker.rests_for(now))
        now += rests[-1]

    assert rests == [30, 60, 120, 240, 480, 600, 600]


def test_a_late_failure_does_not_let_a_second_call_try() -> None:
    breaker = Breaker()
    slow, slower, quick = (begin(breaker, 0.0) for _ in range(3))
    breaker.failed(failing(ProviderFailed), 1.0, quick)
    begin(breaker, 40.0)

    breaker.left(slow)
    breaker.failed(failing(RequestRejected), 41.0, slow)
    assert breaker.admits(42.0) is None

    breaker.failed(failing(ProviderFailed), 43.0, slower)
    assert breaker.admits(80.0) is None


def test_a_late_failure_that_says_more_makes_the_rest_longer() -> None:
    breaker = Breaker()
    first, second, third = (begin(breaker, 0.0) for _ in range(3))
    breaker.failed(failing(ProviderFailed), 0.0, first)

    breaker.failed(failing(ProviderFailed, retry_after=45), 1.0, second)
    assert breaker.rests_for(1.0) == 45

    breaker.failed(failing(QuotaExhausted), 2.0, third)
    assert breaker.rests_for(2.0) == LONG_REST


def test_one_answer_ends_the_rest_for_all() -> None:
    breaker = Breaker()
    breaker.failed(failing(ProviderFailed), 0.0, begin(breaker, 0.0))
    begin(breaker, 30.0)
    assert breaker.admits(30.0) is None

    breaker.answered()

    assert breaker.rests_for(30.0) == 0
    for _ in range(3):
        begin(breaker, 30.0)


def test_a_trial_that_ends_without_an_answer_lets_another_call_try() -> None:
    breaker = Breaker()
    breaker.failed(failing(ProviderFailed), 0.0, begin(breaker, 0.0))

    breaker.left(begin(breaker, 30.0))

    begin(breaker, 30.0)


def test_an_error_that_another_model_cannot_mend_leaves_it_closed() -> None:
    breaker = Breaker()

    assert not breaker.failed(failing(RequestRejected), 0.0, begin(breaker, 0.0))

    begin(breaker, 0.0)
