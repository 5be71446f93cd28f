"""The HTTP client of each provider: made late, made once, with one set of trust."""

import ssl
from typing import Any

import anyio
import pytest

from mma_providers import transport
from mma_providers.failures import Late
from mma_providers.transport import Limits, Pace, Transport
from mma_runtime.errors import ConnectionFailed
from mma_runtime.testing import RequestForbidden
from tests.providers.services import SERVICES, collect


@pytest.fixture
def trusts(monkeypatch: pytest.MonkeyPatch) -> list[ssl.SSLContext]:
    """The TLS contexts with certificates that were built."""
    built: list[ssl.SSLContext] = []
    build = ssl.create_default_context

    def counted(*args: Any, **options: Any) -> ssl.SSLContext:
        built.append(build(*args, **options))
        return built[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)
    vars(transport)["_system_trust"].cache_clear()
    return built


async def test_all_services_share_one_tls_context(trusts: list[ssl.SSLContext]) -> None:
    for service in SERVICES:
        provider = service.provider(api_key="k")
        # The request gets as far as the transport, which tests may not use.
        with pytest.raises(RequestForbidden):
            await collect(provider, service.ask())
        await provider.aclose()

    assert len(trusts) == 1


async def test_plain_http_builds_none(trusts: list[ssl.SSLContext]) -> None:
    for service in SERVICES:
        provider = service.provider(api_key="k", base_url="http://127.0.0.1:9")
        with pytest.raises(ConnectionFailed):
            await collect(provider, service.ask())
        await provider.aclose()

    assert trusts == []


async def test_a_server_that_is_not_there_is_named_without_passwords() -> None:
    for service in SERVICES:
        provider = service.provider(api_key="k", base_url="http://a:b@127.0.0.1:9/v1")
        with pytest.raises(ConnectionFailed) as caught:
            await collect(provider, service.ask())
        await provider.aclose()

        assert "(server http://127.0.0.1:9/v1; is it started?)" in str(caught.value)
        assert "a:b@" not in f"{caught.value} {provider!r}"
        assert not caught.value.facts.sent


async def test_a_client_is_made_once_and_closed_once() -> None:
    owner = Transport(secure=False, limits=Limits())

    client = owner.client
    assert owner.client is client
    await owner.aclose()
    await owner.aclose()

    assert client.is_closed


async def test_a_limit_ends_a_wait_and_cancellation_is_none_of_its_business() -> None:
    pace = Pace(Limits(first_byte=0.01))
    with pytest.raises(Late, match=r"first byte did not come within 0\.01 s"):
        await pace.answer(anyio.sleep_forever())

    pace = Pace(Limits())
    with anyio.move_on_after(0.01) as scope:
        await pace.answer(anyio.sleep_forever())
    assert scope.cancelled_caught
