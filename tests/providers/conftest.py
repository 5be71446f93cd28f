"""The loopback server that the providers' tests talk to."""

from collections.abc import Iterator

import pytest

from mma_runtime.testing.wire.scripted import ScriptedServer


@pytest.fixture
def wire() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server
