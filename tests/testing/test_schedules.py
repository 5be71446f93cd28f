"""The kit for deterministic schedules."""

from random import Random
from types import ModuleType

import anyio
import pytest

from mma_runtime.testing import run_seeded, seeded_schedule


async def race(random: Random) -> list[tuple[str, float]]:
    log: list[tuple[str, float]] = []

    async def run(name: str) -> None:
        for _ in range(3):
            await anyio.sleep(random.choice([0, 0, 60]))
            log.append((name, anyio.current_time()))

    start = anyio.current_time()
    async with anyio.create_task_group() as group:
        for name in "abcd":
            group.start_soon(run, name)

    return [(name, when - start) for name, when in log]


def test_the_same_seed_repeats_the_same_run() -> None:
    assert run_seeded(race, 7) == run_seeded(race, 7)


def test_other_seeds_give_other_runs() -> None:
    runs = {tuple(run_seeded(race, seed)) for seed in range(10)}

    assert len(runs) == 10


def test_a_failure_names_its_seed() -> None:
    async def fail(random: Random) -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong") as caught:
        run_seeded(fail, 1234)

    assert "seed 1234" in caught.value.__notes__[0]


def test_a_trio_without_the_hook_is_said_loudly() -> None:
    with (
        pytest.raises(RuntimeError, match="has no hook to seed its schedule"),
        seeded_schedule(ModuleType("trio"), 1),
    ):
        pass
