"""The native tool that reads a page of the public web; off unless it is asked for."""

import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urljoin, urlsplit

import httpx2
from anyio import CancelScope, fail_after, getaddrinfo

from mma_runtime.errors import ToolFailed
from mma_runtime.tools.tool import tool

SECONDS = 20.0
"""How long a fetch may take, with all redirects."""

SIZE_LIMIT = 1_000_000
"""How many bytes of a page are read."""

MAX_REDIRECTS = 5

Address = IPv4Address | IPv6Address

_TEXT = re.compile(r"text/|application/(?:[\w.+-]*\+)?(?:json|xml|javascript)")
_BLANK_LINES = re.compile(r"\n\s*\n+")
_NAT64 = 0x0064_FF9B << 96


class FetchTools:
    """Reads pages whose every address passes *allowed*, by default public ones."""

    def __init__(
        self,
        allowed: Callable[[Address], bool] | None = None,
        *,
        seconds: float = SECONDS,
        size_limit: int = SIZE_LIMIT,
    ) -> None:
        self._allowed = allowed or is_public
        self._seconds = seconds
        self._size_limit = size_limit

    @tool
    async def fetch_url(self, url: str) -> str:
        """Read a page of the public web, as text.

        Args:
            url: Its address; http and https only.
        """
        try:
            with fail_after(self._seconds):
                return await self._fetch(url)
        except TimeoutError as error:
            raise ToolFailed(
                f"{url} did not answer within {self._seconds:g} s"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ToolFailed(
                f"{url} cannot be read: {str(error) or type(error).__name__}"
            ) from error

    async def _fetch(self, url: str) -> str:
        # Nothing of our surroundings: no proxy, no key of a `.netrc`, no cookies.
        async with httpx2.AsyncClient(
            trust_env=False, follow_redirects=False
        ) as client:
            for _ in range(MAX_REDIRECTS + 1):
                request = await self._request(client, url)
                response = await client.send(request, stream=True)
                try:
                    if not response.has_redirect_location:
                        return await self._read(url, response)

                    url = urljoin(url, response.headers["location"])
                finally:
                    await response.aclose()

        raise ToolFailed(f"more than {MAX_REDIRECTS} redirects, the last to {url}")

    async def _request(self, client: httpx2.AsyncClient, url: str) -> httpx2.Request:
        """Make a request to an address that was checked, and to no other.

        Were the name looked up once more, to connect, it could lead elsewhere by then.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ToolFailed(f"{url!r} is no URL: {error}") from error

        if parts.scheme not in ("http", "https") or not host:
            raise ToolFailed(f"{url!r} is not an http or https URL")

        if parts.username is not None or parts.password is not None:
            raise ToolFailed("a URL with a name or password in it is not fetched")

        addresses = await _look_up(
            host, port or (443 if parts.scheme == "https" else 80)
        )
        refused = [each for each in addresses if not self._allowed(each)]
        if refused or not addresses:
            raise ToolFailed(
                f"{host!r} is not on the public internet; it is not fetched"
            )

        first = addresses[0]
        place = f"[{first}]" if first.version == 6 else str(first)  # noqa: PLR2004 - as in IPv6
        target = httpx2.URL(url).copy_with(host=place, fragment=None)
        name = host if port is None else f"{host}:{port}"
        return client.build_request(
            "GET",
            target,
            headers={"Host": name, "Accept": "text/*, application/json;q=0.9"},
            extensions={"sni_hostname": host},
        )

    async def _read(self, url: str, response: httpx2.Response) -> str:
        kind = response.headers.get("content-type", "text/plain").split(";")[0].strip()
        if not response.is_success:
            raise ToolFailed(f"{url} answered HTTP {response.status_code}")

        if not _TEXT.match(kind):
            raise ToolFailed(f"{url} is {kind}, not text")

        content = bytearray()
        with CancelScope() as enough:
            async for block in response.aiter_bytes():
                content += block
                if len(content) > self._size_limit:
                    # Not `break`: cancelled, all generators inside end in order.
                    enough.cancel()

        cut = len(content) > self._size_limit
        text = content[: self._size_limit].decode(
            response.charset_encoding or "utf-8", errors="replace"
        )
        if "html" in kind:
            text = _text_of(text)

        note = f"\n(only the first {self._size_limit:,} bytes)" if cut else ""
        return f"{url}\n{text}{note}"


def is_public(address: Address) -> bool:
    """Tell an address on the public internet from every other.

    Addresses of version 6 that stand for one of version 4 are as that one is.
    """
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if int(address) >> 32 << 32 == _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)

        if address.is_site_local:
            # What IPv6 had for private networks first; `is_global` knows it no more.
            return False

    return address.is_global and not (address.is_multicast or address.is_reserved)


async def _look_up(host: str, port: int) -> Sequence[Address]:
    try:
        found = await getaddrinfo(host, port)
    except (OSError, UnicodeError) as error:
        raise ToolFailed(f"there is no host {host!r}: {error}") from error

    return [ip_address(str(place[0]).partition("%")[0]) for *_, place in found]


def _text_of(html: str) -> str:
    page = _Page()
    page.feed(html)
    page.close()
    return _BLANK_LINES.sub("\n\n", "".join(page.parts)).strip()


class _Page(HTMLParser):
    """Keeps the text of a page."""

    # Not the whole head: its end tag may be left out.
    _UNSEEN = frozenset({"script", "style", "title", "svg", "template", "noscript"})
    _BREAKS = frozenset(
        {"p", "br", "div", "li", "tr", "pre", "h1", "h2", "h3", "h4", "section"}
    )

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(
        self,
        tag: str,
        attrs: list[tuple[str, str | None]],  # noqa: ARG002 - as the parser calls it
    ) -> None:
        self._unseen += tag in self._UNSEEN
        if tag in self._BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._UNSEEN and self._unseen:
            self._unseen -= 1

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)
