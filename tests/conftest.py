"""What holds for all tests."""

from collections.abc import Iterator

import pytest

from mma_runtime.testing import forbid_requests


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[None]:
    """No test reaches the network."""
    with forbid_requests():
        yield
