"""Runs that repeat exactly: a seeded order of tasks, on a clock that costs no time."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from random import Random
from types import ModuleType
from typing import TypeVar

import anyio
import trio  # noqa: TID251 - only trio's schedule can be seeded
from trio.testing import MockClock  # noqa: TID251 - time that costs none

T = TypeVar("T")


def run_seeded(scenario: Callable[[Random], Awaitable[T]], seed: int) -> T:
    """Run *scenario* on trio with a virtual clock, in an order that *seed* decides.

    *seed* is any whole number. The same one repeats the same run exactly; another lets
    the tasks that are ready run in another order. Time stands still while any task can
    run, and jumps to the next deadline when none can. The scenario gets a source of
    random numbers that hangs on the seed as well. An error that leaves it carries a
    note with the seed.

    Raises:
        RuntimeError: this release of trio has no hook to seed its schedule.
    """
    clock = MockClock(autojump_threshold=0)
    with seeded_schedule(import_module("trio._core._run"), seed):
        try:
            return anyio.run(
                partial(_await, scenario, Random(seed)),  # noqa: S311 - repeatable
                backend="trio",
                backend_options={"clock": clock},
            )
        except BaseException as error:
            error.add_note(f"seed {seed}: `run_seeded(..., seed={seed})` repeats it")
            raise


async def _await(scenario: Callable[[Random], Awaitable[T]], random: Random) -> T:
    return await scenario(random)


@contextmanager
def seeded_schedule(module: ModuleType, seed: int) -> Generator[None]:
    """Make trio sort what is ready and shuffle it by *seed*.

    That is the hook that Hypothesis uses; *module* is the one that has it, *seed* any
    whole number.

    Raises:
        RuntimeError: This release of trio has no such hook.
    """
    random = getattr(module, "_r", None)
    allowed = getattr(module, "_ALLOW_DETERMINISTIC_SCHEDULING", None)
    if not isinstance(random, Random) or not isinstance(allowed, bool):
        raise RuntimeError(  # noqa: TRY004 - not the caller's mistake
            f"trio {trio.__version__} has no hook to seed its schedule; use a release"
            " that mma-runtime is tested with, or mend mma_runtime/testing/schedules.py"
        )

    state = random.getstate()
    random.seed(seed)
    vars(module)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    try:
        yield
    finally:
        vars(module)["_ALLOW_DETERMINISTIC_SCHEDULING"] = allowed
        random.setstate(state)
