"""The loopback server that the providers' tests talk to."""

from collections.abc import Iterator

import pytest

from mma_runtime.testing import forbid_requests
from tests.wire.scripted import ScriptedServer


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[None]:
    with forbid_requests():
        yield


@pytest.fixture
def wire() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server
