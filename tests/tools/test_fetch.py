import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, ip_address

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from mma_runtime.errors import ToolFailed
from mma_runtime.llm.chat import Text
from mma_runtime.tools.fetch import Address, FetchTools, is_public


def anywhere(address: Address) -> bool:
    return True


async def fetch(url: str, tools: FetchTools | None = None) -> str:
    content = await (tools or FetchTools(anywhere)).fetch_url.call({"url": url})
    assert isinstance(content[0], Text)
    return content[0].text


@asynccontextmanager
async def server(
    answer: Callable[[str, str], bytes | None],
) -> AsyncGenerator[str]:
    """Serve on loopback; *answer* takes path and host, `None` never answers."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def handle(stream: SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()

            lines = head.decode().split("\r\n")
            host = next(
                line.partition(": ")[2]
                for line in lines
                if line.lower().startswith("host:")
            )
            answered = answer(lines[0].split()[1], host)
            if answered is None:
                await anyio.sleep_forever()
            else:
                # Whoever has enough of a huge page hangs up.
                with suppress(anyio.BrokenResourceError):
                    await stream.send(answered)

    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no Django here
        yield f"http://localhost:{port}"
        group.cancel_scope.cancel()

    await listener.aclose()


def page(body: bytes, kind: str = "text/plain", status: str = "200 OK") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


def redirect(to: str) -> bytes:
    return (
        f"HTTP/1.1 302 Found\r\nlocation: {to}\r\nconnection: close\r\n"
        "content-length: 0\r\n\r\n"
    ).encode()


@pytest.fixture(autouse=True)
def version_4_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` is where the server listens."""
    real = socket.getaddrinfo

    def look_up(host: object, port: object, *more: object, **rest: object) -> object:
        found = real(host, port, *more, **rest)  # type: ignore[arg-type] # as given
        return [each for each in found if each[0] == socket.AF_INET] or found

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


async def test_a_page_is_read_as_text_by_its_name() -> None:
    async with server(lambda path, host: page(f"{path} of {host}".encode())) as url:
        assert await fetch(url + "/a?b=c") == (
            f"{url}/a?b=c\n/a?b=c of {url.removeprefix('http://')}"
        )


async def test_of_html_only_the_text_is_kept() -> None:
    html = (
        b"<html><head><title>t</title></head><body><h1>Shop &amp; more</h1>"
        b"<script>evil()</script><p>one</p><p>two <b>three</b></p></body></html>"
    )
    async with server(lambda path, host: page(html, "text/html; charset=utf-8")) as url:
        assert await fetch(url) == f"{url}\nShop & more\none\ntwo three"


async def test_html_needs_no_end_of_its_head() -> None:
    html = b"<!doctype html><title>t</title><style>p{}</style><p>one <a href=/x>two</a>"
    async with server(lambda path, host: page(html, "text/html")) as url:
        assert await fetch(url) == f"{url}\none two"


async def test_redirects_are_followed_so_far() -> None:
    def answer(path: str, host: str) -> bytes:
        count = int(path.strip("/") or 0)
        return page(b"there") if count == 5 else redirect(f"/{count + 1}")

    async with server(answer) as url:
        assert await fetch(url) == f"{url}/5\nthere"
    async with server(lambda path, host: redirect("/again")) as url:
        with pytest.raises(ToolFailed, match="more than 5 redirects"):
            await fetch(url)


async def test_a_redirect_to_a_private_address_is_refused() -> None:
    def only_the_server(address: Address) -> bool:
        return address == IPv4Address("127.0.0.1")

    for target in ("http://169.254.169.254/latest/meta-data", "http://[::1]:80/"):
        async with server(lambda path, host, to=target: redirect(to)) as url:  # type: ignore[misc]
            with pytest.raises(ToolFailed, match="not on the public internet"):
                await fetch(url, FetchTools(only_the_server))
    async with server(lambda path, host: redirect("file:///etc/passwd")) as url:
        with pytest.raises(ToolFailed, match="not an http or https URL"):
            await fetch(url)


async def test_the_address_that_was_checked_is_the_one_that_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up: list[object] = []
    real = socket.getaddrinfo

    def look_up(host: object, port: object, *more: object, **rest: object) -> object:
        if host in ("rebinding.example", b"rebinding.example"):
            looked_up.append(host)
            host = "127.0.0.1"
        return real(host, port, *more, **rest)  # type: ignore[arg-type] # as given

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with server(lambda path, host: page(host.encode())) as url:
        port = url.rpartition(":")[2]
        text = await fetch(f"http://rebinding.example:{port}/")

    assert text.endswith(f"\nrebinding.example:{port}")
    assert len(looked_up) == 1


async def test_a_huge_page_is_cut_and_a_silent_server_given_up() -> None:
    async with server(lambda path, host: page(b"x" * 5_000)) as url:
        text = await fetch(url, FetchTools(anywhere, size_limit=1_000))
    assert text.endswith("x\n(only the first 1,000 bytes)")
    assert text.count("x") == 1_000

    async with server(lambda path, host: None) as url:
        with pytest.raises(ToolFailed, match=r"did not answer within 0\.05 s"):
            await fetch(url, FetchTools(anywhere, seconds=0.05))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (page(b"\x89PNG", "image/png"), "is image/png, not text"),
        (page(b"", status="404 Not Found"), "answered HTTP 404"),
        (b"no http at all\r\n\r\n", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
async def test_an_answer_that_is_no_page_is_said(answer: bytes, said: str) -> None:
    async with server(lambda path, host: answer) as url:
        with pytest.raises(ToolFailed, match=said):
            await fetch(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost:8000/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://172.16.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://127.0.0.1.:80/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "//example.com/",
        "http://user:key@example.com/",
        "http://",
        "http://[::1",
        "http://example.com:99999/",
        "not a url",
        "",
        "http://a" + "a" * 70 + ".example/",
    ],
)
async def test_what_is_not_on_the_public_web_is_refused(url: str) -> None:
    with pytest.raises(ToolFailed):
        await fetch(url, FetchTools())


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::5db8:d70e", True),
        ("::ffff:10.0.0.1", False),
        ("2001:0:5ef5:79fb:0:59b:a2a5:28f1", False),
        ("ff02::1", False),
        ("fec0::1", False),
        ("240.0.0.1", False),
    ],
)
def test_public_addresses_are_told_from_others(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public
