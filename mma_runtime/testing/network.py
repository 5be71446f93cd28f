"""No test leaves this machine."""

from collections.abc import Generator
from contextlib import contextmanager
from unittest.mock import patch

import httpx2


class RequestForbidden(BaseException):
    """A test would have left this machine; see `forbid_requests`.

    Not an `Exception`: an SDK would make a lost connection of it, and be asked again.
    """


@contextmanager
def forbid_requests() -> Generator[None]:
    """Fail every HTTP request that would leave this machine, while it is entered.

    Covers what goes through httpx2, so every provider that comes with the runtime.

    Raises:
        RequestForbidden: In the test, where the request is made.
    """
    send, send_sync = (
        httpx2.AsyncHTTPTransport.handle_async_request,
        httpx2.HTTPTransport.handle_request,
    )

    async def checked(
        transport: httpx2.AsyncHTTPTransport, request: httpx2.Request
    ) -> httpx2.Response:
        _check_loopback(request.url.host)
        return await send(transport, request)

    def checked_sync(
        transport: httpx2.HTTPTransport, request: httpx2.Request
    ) -> httpx2.Response:
        _check_loopback(request.url.host)
        return send_sync(transport, request)

    with (
        patch.object(httpx2.AsyncHTTPTransport, "handle_async_request", checked),
        patch.object(httpx2.HTTPTransport, "handle_request", checked_sync),
    ):
        yield


def _check_loopback(host: str) -> None:
    if host not in {"127.0.0.1", "::1", "localhost"}:
        raise RequestForbidden(f"a test asked for {host!r}; `forbid_requests` is on")
