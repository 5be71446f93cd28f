"""Time that costs none, on both event loops."""

import time

import anyio
import pytest

from mma_runtime.testing import virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return virtual_backend(request.param)


async def test_an_hour_passes_at_once() -> None:
    began, clock = time.monotonic(), anyio.current_time()

    await anyio.sleep(3600)

    assert anyio.current_time() - clock == pytest.approx(3600)
    assert time.monotonic() - began < 60


async def test_deadlines_come_in_their_order() -> None:
    log: list[str] = []

    async def after(seconds: float, name: str) -> None:
        await anyio.sleep(seconds)
        log.append(name)

    with anyio.move_on_after(50):
        async with anyio.create_task_group() as group:
            group.start_soon(after, 100, "late")
            group.start_soon(after, 20, "second")
            group.start_soon(after, 10, "first")

    assert log == ["first", "second"]


def test_a_backend_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="curio"):
        virtual_backend("curio")
