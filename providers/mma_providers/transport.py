"""One HTTP client per provider, ours, and the time limits of a call on it."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import anyio
import httpx2

from mma_providers.failures import Late

T = TypeVar("T")

_CLOSING = 5.0  # Seconds that connections get to say goodbye.
_LEFTOVER = 1.0  # Seconds for what follows the last event, so the connection is kept.


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long to wait, in seconds; *call* bounds a whole call, streaming included."""

    connect: float = 10.0
    first_byte: float = 180.0
    between_chunks: float = 120.0
    call: float = 1800.0


class Transport:
    """An httpx2 client that is built on first use and closed with its provider.

    A client that is given stays its owner's and is not closed. Every call is given its
    time by `Pace`, so the client itself has no limit but that of connecting.
    """

    def __init__(
        self, *, secure: bool, limits: Limits, client: httpx2.AsyncClient | None = None
    ) -> None:
        self.limits = limits
        self.closed: bool = False
        self._secure = secure
        self._given = client
        self._client = client

    @property
    def timeout(self) -> httpx2.Timeout:
        """The client's own limit: that of connecting; `Pace` has the others."""
        return httpx2.Timeout(None, connect=self.limits.connect)

    @property
    def client(self) -> httpx2.AsyncClient:
        """The client, built at the first call of this."""
        if self._client is None:
            self._client = httpx2.AsyncClient(
                verify=_system_trust() if self._secure else no_trust(),
                timeout=self.timeout,
                # The runtime's governor bounds concurrency, not the pool.
                limits=httpx2.Limits(
                    max_connections=None, max_keepalive_connections=100
                ),
                follow_redirects=True,
            )
        return self._client

    async def aclose(self) -> None:
        """Close the client unless it was given; safe to call twice."""
        self.closed = True
        if self._client is None or self._client is self._given:
            return

        client, self._client = self._client, None
        with anyio.move_on_after(_CLOSING, shield=True):
            await client.aclose()


class Pace:
    """The clock of one call: tells what it waits for and ends waits that last too long.

    A wait that a limit ends raises `Late`. Cancellation from outside passes through.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._end = anyio.current_time() + limits.call
        self._read_before = False

    async def answer(self, sending: Awaitable[T]) -> T:
        """Await the head of the answer."""
        with self._scope(self._limits.first_byte):
            return await sending
        raise self._late("first byte", self._limits.first_byte)

    async def read(self, source: AsyncIterator[bytes]) -> bytes | None:
        """Return the next bytes of *source*, `None` at its end."""
        first = not self._read_before
        limit = self._limits.first_byte if first else self._limits.between_chunks
        with self._scope(limit):
            data = await anext(source, None)
            self._read_before = True
            return data
        raise self._late("first byte" if first else "next part", limit)

    async def drain(self, source: AsyncIterator[bytes]) -> None:
        """Read what little may follow the last event."""
        with anyio.move_on_after(_LEFTOVER):
            async for _ in source:
                pass

    def _scope(self, limit: float) -> anyio.CancelScope:
        return anyio.CancelScope(deadline=min(self._end, anyio.current_time() + limit))

    def _late(self, awaited: str, limit: float) -> Late:
        if anyio.current_time() >= self._end:
            return Late(f"the whole call took more than {self._limits.call:g} s")
        return Late(f"the {awaited} did not come within {limit:g} s")


@asynccontextmanager
async def reading(response: httpx2.Response) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Give the body of *response* in the parts that come; close it at the end."""
    source = response.aiter_bytes()
    try:
        yield source
    finally:
        await response.aclose()
        # Its generators, one in another, end only when the innermost is run again:
        # it finds the connection closed, and that unwinds them all.
        with suppress(httpx2.HTTPError, httpx2.StreamError):
            async for _ in source:
                pass


@cache
def _system_trust() -> ssl.SSLContext:
    # One for all providers: building one takes longer than many calls.
    return httpx2.create_ssl_context()


@cache
def no_trust() -> ssl.SSLContext:
    """Return a context without certificates: HTTPS fails with it, HTTP needs none."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
