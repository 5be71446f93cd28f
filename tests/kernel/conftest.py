"""The kernel's tests run on every event loop that there is."""

import asyncio
from typing import Any

import pytest

EAGER: Any = getattr(asyncio, "eager_task_factory", None)


def eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(EAGER)
    return loop


BACKENDS = [
    pytest.param("asyncio", id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop"),
    pytest.param("trio", id="trio"),
]
if EAGER is not None:
    # Python 3.12 and later.
    eager = ("asyncio", {"loop_factory": eager_loop})
    BACKENDS.append(pytest.param(eager, id="asyncio+eager"))


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param
