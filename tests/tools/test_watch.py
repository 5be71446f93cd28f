"""Commands end with us, even if nobody lets us end them."""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process
from sniffio import current_async_library

from mma_runtime.tools.watch import watched
from tests.tools.test_command import Lifeline

PROGRAM = """
import sys
from functools import partial
from pathlib import Path
import anyio
from mma_runtime.tools import run_command
from mma_runtime.tools.sandbox import SandboxMode

backend, mode, folder, *argv = sys.argv[1:]
run = partial(run_command, sandbox=SandboxMode(mode))
anyio.run(run, argv, Path(folder), backend=backend)
"""

SERVER = """
import sys
import anyio
from mma_runtime.kernel import ActorSystem
from mma_runtime.tools.mcp import open_server
from mma_runtime.tools.servers import McpServer

async def main(argv):
    async with ActorSystem() as system:
        await open_server(system.spawn, McpServer(name="deaf", command=tuple(argv)))

backend, _mode, _folder, *argv = sys.argv[1:]
anyio.run(main, argv, backend=backend)
"""

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows them")


@asynccontextmanager
async def running(
    mode: str, folder: Path, argv: list[str], code: str = PROGRAM
) -> AsyncGenerator[Process]:
    """Run a command in a process of its own, which is killed at the latest here."""
    backend = current_async_library()
    program = [sys.executable, "-c", code, backend, mode, str(folder), *argv]
    async with await anyio.open_process(program, stdin=None) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


async def kill(
    program: AbstractAsyncContextManager[Process], lifeline: Lifeline
) -> None:
    """Kill *program* while its command runs, and see all end that it had started."""
    with anyio.fail_after(30):
        async with program as process:
            await lifeline.first_line()
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await lifeline.all_dead()


@pytest.mark.parametrize("mode", ["off", "auto"])
async def test_a_command_ends_when_we_are_killed(tmp_path: Path, mode: str) -> None:
    lifeline = Lifeline(tmp_path)
    command = lifeline.shell("trap '' TERM; sleep 60 & echo ready >&9; sleep 60")

    await kill(running(mode, tmp_path, command), lifeline)


@ON_LINUX
@pytest.mark.parametrize("mode", ["off", "auto"])
async def test_so_does_what_has_left_the_group_of_the_command(
    tmp_path: Path, mode: str
) -> None:
    lifeline = Lifeline(tmp_path)
    command = lifeline.shell("setsid sh -c 'echo ready >&9; sleep 60; :' & sleep 60")

    await kill(running(mode, tmp_path, command), lifeline)


@ON_LINUX
async def test_so_does_an_mcp_server_that_does_not_listen(tmp_path: Path) -> None:
    lifeline = Lifeline(tmp_path)
    command = lifeline.shell("echo ready >&9; sleep 60; :")

    await kill(running("off", tmp_path, command, SERVER), lifeline)


@ON_LINUX
async def test_a_process_that_nobody_has_named_yet_is_found_by_its_mark(
    tmp_path: Path,
) -> None:
    lifeline = Lifeline(tmp_path)
    command = lifeline.shell("echo ready >&9; sleep 60; :")

    with anyio.fail_after(30):
        async with watched("MMA_COMMAND=a-mark") as watch:
            async with await anyio.open_process(
                command, stdin=None, env={**os.environ, "MMA_COMMAND": "a-mark"}
            ) as process:
                await lifeline.first_line()
                # What our death does, too.
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, watch.lifeline)
                os.close(null)
                await process.wait()

            await lifeline.all_dead()

    assert process.returncode == -signal.SIGKILL


async def test_the_watch_ends_with_the_block(tmp_path: Path) -> None:
    async with (
        watched("MMA_COMMAND=another-mark") as watch,
        await anyio.open_process(["true"], cwd=tmp_path) as process,
    ):
        watch.note(process)

    assert watch.returncode == 0


async def test_a_watch_that_knows_of_nobody_ends_with_the_block_as_well() -> None:
    async with watched("MMA_COMMAND=no-mark") as watch:
        pass

    assert watch.returncode == 0


async def test_a_watch_that_somebody_has_ended_is_no_harm(tmp_path: Path) -> None:
    async with watched("MMA_COMMAND=a-third-mark") as watch:
        os.kill(watch.pid, signal.SIGKILL)
        async with await anyio.open_process(["true"], cwd=tmp_path) as process:
            watch.note(process)

    assert watch.returncode == -signal.SIGKILL


async def test_where_there_is_no_watch_there_is_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **_more: object) -> Process:
        raise OSError("no more processes")

    monkeypatch.setattr("mma_runtime.tools.watch.open_process", refuse)
    before = len([*Path("/dev/fd").iterdir()])

    with pytest.raises(OSError, match="no more processes"):
        async with watched("MMA_COMMAND=a-fourth-mark"):
            pass

    assert len([*Path("/dev/fd").iterdir()]) == before
