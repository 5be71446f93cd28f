"""Every block of Python in the README and in the pages runs.

Programs run as they stand; models are answered for on loopback. Tests are given to
pytest. What is neither runs after what its page has shown before, with a `runtime`, a
`run` and its `outcome` at hand; those of `run` only check that there is such a thing.
"""

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from mma_runtime import Run, Runtime, Scenario
from mma_runtime.bus import Bus
from mma_runtime.events import ApprovalAsked, Origin
from mma_runtime.supervisor.question import Question
from mma_runtime.testing import Answer, FunctionProvider, ScriptedServer, wire_server
from tests.docs.blocks import ROOT, Block, blocks, name_of, save_files

BLOCKS = [block for block in blocks() if block.language == "python"]

SETTINGS = """
[pytest]
anyio_mode = "auto"
filterwarnings = ["error"]
addopts = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
"""

ONE_TICKET = {
    "name": "one",
    "tiers": {"worker": {"model": "function:m"}},
    "tickets": [{"id": "parser", "description": "Say yes."}],
}


def _starts_a_loop(node: ast.stmt) -> bool:
    text = ast.unparse(node)
    return text.startswith(("anyio.run(", "asyncio.run(", "trio.run(", "if __name__"))


def _is_program(block: Block) -> bool:
    return any(map(_starts_a_loop, ast.parse(block.text).body))


def _has_tests(block: Block) -> bool:
    return "def test_" in block.text


def _definitions(block: Block) -> str:
    """Return the block without what starts its event loop, and without its tests."""
    kept = [
        node
        for node in _tree(block).body
        if not _starts_a_loop(node) and not _is_test(node)
    ]
    return ast.unparse(ast.Module(kept, []))


def _is_test(node: ast.stmt) -> bool:
    return isinstance(
        node, ast.FunctionDef | ast.AsyncFunctionDef
    ) and node.name.startswith("test_")


def _tree(block: Block) -> ast.Module:
    return ast.parse(block.text, filename=str(block))


def _before(block: Block) -> list[Block]:
    return [
        one for one in BLOCKS if one.page == block.page and one.number < block.number
    ]


PROGRAMS = list(filter(_is_program, BLOCKS))
TESTED = list(dict.fromkeys(block.page for block in BLOCKS if _has_tests(block)))
FRAGMENTS = [
    block for block in BLOCKS if not _is_program(block) and not _has_tests(block)
]


@pytest.fixture(scope="module")
def service() -> Iterator[ScriptedServer]:
    """What all real models of the documentation say."""
    with wire_server() as server:
        server.say_always(Answer(text="It is done."))
        yield server


def _python(*arguments: str, folder: Path, server: ScriptedServer) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-W", "error", *arguments],
        cwd=folder,
        env={**os.environ, **server.environment()},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_runs_and_prints_what_it_says(
    block: Block, tmp_path: Path, workplace: Path, service: ScriptedServer
) -> None:
    (tmp_path / "scenarios").symlink_to(workplace / "scenarios")
    save_files(block.page, tmp_path)
    last = block.text.splitlines()[-1]
    _, _, promised = last.partition("  # ")
    programs = [block.text]
    if promised:
        assert "anyio.run(main)" in last
        programs.append(
            block.text.replace("anyio.run(main)", 'anyio.run(main, backend="trio")')
        )

    for program in programs:
        stdout, stderr = _python("-c", program, folder=tmp_path, server=service)

        assert stderr == ""
        assert stdout != ""
        assert promised in ("", ", ".join(stdout.splitlines()))


@pytest.mark.parametrize("page", TESTED, ids=name_of)
def test_the_tests_of_a_page_pass(
    page: Path, tmp_path: Path, service: ScriptedServer
) -> None:
    for block in BLOCKS:
        if block.page == page and _has_tests(block):
            before = [_definitions(one) for one in _before(block)]
            source = "\n\n".join([*before, block.text])
            path = tmp_path / f"test_block_{block.number}.py"
            path.write_text(source, encoding="utf-8")

    (tmp_path / "pytest.toml").write_text(SETTINGS, encoding="utf-8")

    stdout, _ = _python("-m", "pytest", "-q", folder=tmp_path, server=service)

    assert " passed" in stdout


@pytest.mark.parametrize("block", FRAGMENTS, ids=str)
async def test_a_fragment_runs_after_what_its_page_has_shown(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = FunctionProvider(lambda _: "yes")
    async with Runtime(home=tmp_path, providers=[model], environment={}) as runtime:
        real = await runtime.start(Scenario.model_validate(ONE_TICKET))
        outcome = await real.outcome()
        names: dict[str, Any] = {
            "__name__": "page",
            "runtime": runtime,
            "run": _double(real, outcome),
            "outcome": outcome,
        }
        for one in _before(block):
            await _execute(_definitions(one), str(one), names)

        await _execute(block.text, str(block), names)


def _double(run: Run, outcome: object) -> Any:
    """Return what takes every call that a run takes, and no other."""
    double = create_autospec(Run, instance=True)
    double.id, double.name = run.id, run.name
    double.outcome.return_value = outcome
    double.costs.return_value = run.costs()
    double.questions = (Question(id="parser/start", origin=Origin(ticket="parser")),)
    bus = Bus()
    bus.emit(ApprovalAsked(origin=Origin(ticket="parser"), call="", tool=""))
    bus.close()
    double.events.side_effect = bus.subscribe
    return double


async def _execute(source: str, name: str, names: dict[str, Any]) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, name, "exec", flags=flags, dont_inherit=True)
    result = eval(code, names)  # noqa: S307 - our own pages
    if inspect.iscoroutine(result):
        await result


def test_no_page_has_lost_its_examples() -> None:
    assert {block.page.name for block in BLOCKS} >= {"README.md", "actors.md"}
    assert (ROOT / "README.md") in {block.page for block in PROGRAMS}
