import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio
import pytest
from anyio import create_task_group, fail_after

from mma_runtime.errors import ConfigurationError, ToolFailed
from mma_runtime.events import NOWHERE, ActorRestarted, Event
from mma_runtime.kernel import ActorSystem
from mma_runtime.llm.chat import Image, Text, ToolCall
from mma_runtime.tools import Toolbox
from mma_runtime.tools.mcp import McpTool, open_server, tool_name
from mma_runtime.tools.mcp_connection import Keeper
from mma_runtime.tools.servers import McpServer

PROGRAM = str(Path(__file__).with_name("mcp_program.py"))

TRANSPORTS = ["stdio", "http"]


@asynccontextmanager
async def program(port: int) -> AsyncGenerator[None]:
    """Run the server over HTTP; anybody may end it meanwhile."""
    async with await anyio.open_process(
        [sys.executable, PROGRAM, "http", str(port)],
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
    ) as process:
        try:
            while True:
                try:
                    stream = await anyio.connect_tcp("127.0.0.1", port)
                except OSError:
                    await anyio.sleep(0.05)
                else:
                    await stream.aclose()
                    break

            yield
        finally:
            if process.returncode is None:
                process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def crooked(kind: str) -> McpServer:
    """Return a server that answers as none should."""
    program = str(Path(__file__).with_name("mcp_crooked.py"))
    return McpServer(name="crooked", command=(sys.executable, program, kind))


@asynccontextmanager
async def served(
    transport: str, events: list[Event] | None = None, **settings: object
) -> AsyncGenerator[dict[str, McpTool]]:
    heard: list[Event] = [] if events is None else events
    with fail_after(60):
        async with ActorSystem(heard.append) as system:
            if transport == "stdio":
                server = McpServer(
                    name="test",
                    command=(sys.executable, PROGRAM, "stdio"),
                    **settings,  # type: ignore[arg-type] # as given
                )
                tools = await open_server(system.spawn, server)
                yield {each.name.rpartition("__")[2]: each for each in tools}
                return

            port = free_port()
            async with program(port):
                server = McpServer(
                    name="test",
                    url=f"http://127.0.0.1:{port}/mcp",
                    **settings,  # type: ignore[arg-type] # as given
                )
                tools = await open_server(system.spawn, server)
                yield {each.name.rpartition("__")[2]: each for each in tools}


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    while not true():  # noqa: ASYNC110 - it sets no event of ours
        await anyio.sleep(0.01)


async def said(tool: McpTool, **arguments: object) -> str:
    (part,) = await tool.call(arguments)
    assert isinstance(part, Text)
    return part.text


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_tools_are_listed_with_a_name_of_their_own_and_called(
    transport: str,
) -> None:
    async with served(transport) as tools:
        assert tools["add"].name == "mcp__test__add"
        assert tools["add"].spec.description == "Add two numbers."
        assert set(tools["add"].spec.parameters["properties"]) == {"a", "b"}
        assert await said(tools["add"], a=1, b=2) == "3"
        assert await tools["picture"].call({}) == (
            Image("image/png", b"\x89PNG\r\n\x1a\n"),
        )


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_goes_wrong_is_told_to_the_model(transport: str) -> None:
    async with served(transport) as tools:
        with pytest.raises(ToolFailed, match="Error executing tool fail"):
            await tools["fail"].call({})
        with pytest.raises(ToolFailed, match="a"):
            await tools["add"].call({"a": "one"})
        assert await said(tools["add"], a=1, b=2) == "3"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_calls_run_beside_each_other_and_a_cancelled_one_ends(
    transport: str, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    async with served(transport) as tools:
        async with create_task_group() as group:
            group.start_soon(tools["slow"].call, {"mark": str(mark)})
            await until(mark.exists)
            assert await said(tools["add"], a=2, b=2) == "4"
            group.cancel_scope.cancel()

        await until(lambda: mark.read_text() == "cancelled")
        assert await said(tools["add"], a=2, b=3) == "5"


async def test_a_call_ends_when_its_time_is_up(tmp_path: Path) -> None:
    async with served("stdio", seconds=0.5) as tools:
        with pytest.raises(ToolFailed, match=r"did not answer within 0\.5 s"):
            await tools["slow"].call({"mark": str(tmp_path / "mark")})

        assert await said(tools["add"], a=2, b=3) == "5"


async def test_a_server_that_dies_is_started_again_by_its_supervisor() -> None:
    events: list[Event] = []
    async with served("stdio", events) as tools:
        before = await said(tools["look"])

        with pytest.raises(ToolFailed, match="may have been carried out or not"):
            await tools["die"].call({})

        after = await said(tools["look"])
        assert after.startswith("seen by")
        assert after != before

    restarts = [each for each in events if isinstance(each, ActorRestarted)]
    assert [each.actor for each in restarts] == ["mcp-test/connection"]


async def test_a_call_that_only_reads_is_made_again_by_itself(tmp_path: Path) -> None:
    mark = str(tmp_path / "x")
    async with served("stdio", trusted=True) as tools:
        assert await said(tools["die_once"], mark=mark) == "alive again"


async def test_who_is_not_trusted_is_not_called_twice(tmp_path: Path) -> None:
    async with served("stdio") as tools:
        with pytest.raises(ToolFailed, match="may have been carried out or not"):
            await tools["die_once"].call({"mark": str(tmp_path / "x")})

        assert (await said(tools["look"])).startswith("seen by")


async def test_a_server_over_http_that_comes_back_is_used_again() -> None:
    port = free_port()
    server = McpServer(name="test", url=f"http://127.0.0.1:{port}/mcp")
    with fail_after(60):
        async with ActorSystem() as system:
            async with program(port):
                tools = {
                    each.name: each for each in await open_server(system.spawn, server)
                }
                with pytest.raises(ToolFailed):
                    await tools["mcp__test__die"].call({})

            async with program(port):
                while True:
                    try:
                        assert await said(tools["mcp__test__add"], a=1, b=1) == "2"
                    except ToolFailed:
                        await anyio.sleep(0.1)
                    else:
                        break


async def test_a_server_that_dies_again_and_again_is_given_up_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Keeper, "intensity", (2, 60.0))
    script = tmp_path / "once.py"
    script.write_text(
        "import pathlib, runpy, sys\n"
        f"mark = pathlib.Path({str(tmp_path / 'mark')!r})\n"
        "if mark.exists(): sys.exit(1)\n"
        "mark.touch()\n"
        f"sys.argv = ['x', 'stdio']; runpy.run_path({PROGRAM!r}, run_name='__main__')\n"
    )
    server = McpServer(name="once", command=(sys.executable, str(script)))
    with fail_after(60):
        async with ActorSystem() as system:
            tools = {
                each.name: each for each in await open_server(system.spawn, server)
            }
            with pytest.raises(ToolFailed):
                await tools["mcp__once__die"].call({})
            with pytest.raises(ToolFailed, match="is gone for good"):
                await tools["mcp__once__look"].call({})
            with pytest.raises(ToolFailed, match="is gone for good"):
                await tools["mcp__once__look"].call({})


async def test_results_are_cut_like_those_of_any_tool() -> None:
    async with served("stdio") as tools:
        box = Toolbox(tools.values())
        done = await box.run(
            [ToolCall(id="1", name="mcp__test__flood", arguments={})],
            origin=NOWHERE,
            emit=lambda event: None,
        )

    (part,) = done.results[0].content
    assert isinstance(part, Text)
    assert len(part.text) <= 8_000


async def test_a_server_gets_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")

    async with served("stdio", environment={"MINE": "1"}) as tools:
        parts = await tools["surroundings"].call({})

    names = "\n".join(part.text for part in parts if isinstance(part, Text))
    assert "MINE" in names
    assert "OPENAI_API_KEY" not in names


async def test_only_the_tools_that_are_named_are_given() -> None:
    async with served("stdio", tools=("add", "look")) as tools:
        assert list(tools) == ["add", "look"]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("no base64", Text("(image/png that models cannot see is left out)")),
        ("no image", Text("(image/png that models cannot see is left out)")),
        ("another image", Image("image/jpeg", b"\xff\xd8\xff rest")),
        (
            "big image",
            Text("(image/png of 6,000,008 bytes is too big and is left out)"),
        ),
        ("structure", Text('{"answer": 42}')),
    ],
)
async def test_what_a_server_returns_is_taken_for_what_it_is(
    kind: str, content: Text | Image
) -> None:
    with fail_after(60):
        async with ActorSystem() as system:
            (tool,) = await open_server(system.spawn, crooked(kind))

            assert await tool.call({}) == (content,)


async def test_an_answer_that_is_none_is_told_to_the_model() -> None:
    with fail_after(60):
        async with ActorSystem() as system:
            (tool,) = await open_server(system.spawn, crooked("no result"))

            with pytest.raises(ToolFailed, match="mcp__crooked__t gave an answer that"):
                await tool.call({})


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("no schema", "'crooked' lists tools that are none: tools.0.inputSchema"),
        ("twice", "'crooked' lists two tools 't'"),
    ],
)
async def test_a_list_of_tools_that_is_none_is_refused(kind: str, told: str) -> None:
    with fail_after(60):
        async with ActorSystem() as system:
            with pytest.raises(ConfigurationError, match=told):
                await open_server(system.spawn, crooked(kind))


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_server_is_believed_to_only_read_when_it_is_trusted(
    trusted: bool,
) -> None:
    async with served("stdio", trusted=trusted) as tools:
        assert tools["look"].read_only is trusted
        assert not tools["add"].read_only


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"command": ("/no/such/program",)}, "cannot be used: .*No such file"),
        ({"command": (sys.executable, "-c", "print('no mcp')")}, "cannot be used"),
        ({"url": f"http://127.0.0.1:{free_port()}/mcp"}, "cannot be used"),
        (
            {"command": (sys.executable, PROGRAM, "stdio"), "tools": ("ad",)},
            "no tool 'ad'; did you mean `add`",
        ),
    ],
)
async def test_a_server_that_cannot_be_used_is_named(
    settings: dict[str, object], said: str
) -> None:
    server = McpServer(name="bad", **settings)  # type: ignore[arg-type] # as given
    with fail_after(60):
        async with ActorSystem() as system:
            with pytest.raises(ConfigurationError, match=said):
                await open_server(system.spawn, server)


async def test_a_server_that_hangs_at_its_start_is_given_up() -> None:
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    server = McpServer(name="slow", command=command, start_seconds=0.7)
    with fail_after(9):
        async with ActorSystem() as system:
            with pytest.raises(ConfigurationError) as caught:
                await open_server(system.spawn, server)

    said = "the MCP server 'slow' cannot be used: it was not ready within 0.7 s"
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "a b", "command": ("x",)}, "cannot be an MCP server's name"),
        ({"name": "a" * 25, "command": ("x",)}, "cannot be an MCP server's name"),
        ({"name": "a"}, "either a command or a URL"),
        ({"name": "a", "command": ("x",), "url": "http://x"}, "either a command"),
        ({"name": "a", "url": "file:///x"}, r"not an http\(s\) URL"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        McpServer(**settings)  # type: ignore[arg-type] # as given


def test_names_fit_all_providers_and_stay_apart() -> None:
    names = {
        tool_name("s", tool) for tool in ("a", "a.b", "a/b", "a_b", "x" * 90, "x" * 91)
    }

    assert len(names) == 6
    assert all(len(name) <= 64 and name.startswith("mcp__s__") for name in names)
    assert all(name.replace("_", "").replace("-", "").isalnum() for name in names)


def test_keys_are_not_shown() -> None:
    server = McpServer(name="a", url="http://x", headers={"Authorization": "secret"})

    assert "secret" not in repr(server)
