"""What is no `Exception`, wherever it comes from, ends the block and leaves it."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from mma_runtime import Actor, Agent, Message, Run, Runtime, handles, tool
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.testing import FunctionProvider, RequestForbidden, forbid_requests
from tests.team import Said, use


class Unplugged(BaseException):
    """Not an `Exception`, as an interrupt."""


@tool
async def pull_the_plug() -> str:
    """Pull the plug."""
    raise Unplugged


@tool
async def leave() -> str:
    """Leave the program."""
    sys.exit(3)


def asks_for(name: str) -> FunctionProvider:
    """Return a model that uses one tool and is done."""

    def answer(request: ChatRequest) -> Said:
        return use(name) if request.turn == 1 else "done"

    return FunctionProvider(answer)


class Pull(Message):
    """Pulls the plug."""


class Plug(Actor):
    @handles
    async def pull(self, _message: Pull) -> None:
        raise Unplugged


async def test_that_of_a_tool_leaves_the_block_as_itself(tmp_path: Path) -> None:
    model = asks_for("pull_the_plug")
    with anyio.fail_after(10), pytest.raises(Unplugged):
        async with Runtime(home=tmp_path, providers=[model]) as runtime:
            await runtime.ask(Agent("function:m", tools=[pull_the_plug]), "Do it.")


async def test_that_of_a_provider_leaves_the_block_as_itself(tmp_path: Path) -> None:
    def answer(_request: ChatRequest) -> Said:
        pytest.fail("in a double")

    model = FunctionProvider(answer)
    with anyio.fail_after(10), pytest.raises(pytest.fail.Exception, match="a double"):
        async with Runtime(home=tmp_path, providers=[model]) as runtime:
            await runtime.ask(Agent("function:m"), "Do it.")


async def test_that_of_an_actor_of_ones_own_leaves_the_block_as_itself(
    tmp_path: Path,
) -> None:
    with anyio.fail_after(10), pytest.raises(Unplugged):
        async with Runtime(home=tmp_path) as runtime:
            plug = await runtime.spawn("plug", Plug)
            plug.tell(Pull())
            await anyio.sleep_forever()


async def test_that_of_the_block_leaves_it_as_itself_and_its_runs_end(
    tmp_path: Path,
) -> None:
    begun = anyio.Event()
    run: Run | None = None

    async def never(_request: ChatRequest) -> Said:
        begun.set()
        await anyio.sleep_forever()
        return "never"

    with anyio.fail_after(10):
        with pytest.raises(Unplugged):
            async with Runtime(
                home=tmp_path, providers=[FunctionProvider(never)]
            ) as runtime:
                run = await runtime.start_agent(Agent("function:m"), "Wait.")
                await begun.wait()
                raise Unplugged

        assert run is not None
        assert (await run.outcome()).costs.total.unknown_calls == 1


async def test_a_request_that_is_forbidden_fails_the_test_that_made_it(
    tmp_path: Path,
) -> None:
    with anyio.fail_after(10), pytest.raises(RequestForbidden, match="openai"):
        async with Runtime(
            home=tmp_path, environment={"OPENAI_API_KEY": "x"}
        ) as runtime:
            with forbid_requests():
                await runtime.ask(Agent("openai:gpt-4o-mini"), "Hello?")


PROGRAM = """
import sys

import anyio

from mma_runtime import Agent, Runtime
from tests.runtime.test_interrupts import asks_for, leave


async def main():
    async with Runtime(home=sys.argv[1], providers=[asks_for("leave")]) as runtime:
        await runtime.ask(Agent("function:m", tools=[leave]), "Leave.")


anyio.run(main, backend=sys.argv[2])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_that_a_tool_exits_is_exited(backend: str, tmp_path: Path) -> None:
    # In a process of its own: asyncio lets it out of the event loop past everything.
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), backend]
    done = subprocess.run(command, check=False, timeout=30, capture_output=True)

    assert done.returncode == 3
