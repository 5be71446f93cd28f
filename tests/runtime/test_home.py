import itertools
import re
import time

import pytest

from mma_runtime.runtime.home import new_run


def test_runs_that_begin_within_one_second_sort_by_when_they_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = itertools.count(1_800_000_000_000, 1)
    monkeypatch.setattr(time, "time", lambda: next(ticks) / 1_000)

    names = [new_run() for _ in range(1_500)]

    assert names == sorted(names)
    assert re.fullmatch(r"20270115-080000-000[0-9a-f]{5}", names[0])
    assert names[1_000].startswith("20270115-080001-000")


def test_runs_that_begin_at_the_same_moment_have_names_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.999_99)

    names = {new_run() for _ in range(20)}

    assert len(names) == 20
    assert {name[:19] for name in names} == {"20270115-080000-fff"}
