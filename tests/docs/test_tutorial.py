"""The tutorial works as it stands: its files are saved, its commands are run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mma_runtime.cli.new import FILES
from mma_runtime.testing import Answer, Call, wire_server
from tests.docs.blocks import ROOT, blocks, save_files

PAGE = ROOT / "docs" / "tutorial.md"

EDIT = {"path": "greeting.py", "old": '"Hello"', "new": 'f"Hello, {name}!"'}


def _commands() -> list[tuple[str, list[str]]]:
    """Return the commands, each with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for block in blocks():
        if block.page == PAGE and block.language == "console":
            for line in block.text.splitlines():
                if line.startswith("$ "):
                    found.append((line[2:], []))
                else:
                    found[-1][1].append(line)

    return found


def test_the_files_of_the_page_are_those_that_mma_new_writes() -> None:
    shown = {block.file: block.text for block in blocks() if block.page == PAGE}

    assert {name: shown[name] for name in FILES} == FILES


def test_every_command_does_what_the_page_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with wire_server(
        Answer(calls=[Call(name="edit_file", arguments=EDIT)]),
        Answer(text="greet says the name."),
    ) as server:
        for command, printed in _commands():
            if command.startswith(("pip ", "export ")):
                continue

            done = subprocess.run(  # noqa: S602 - our own page
                command,
                shell=True,
                cwd=tmp_path,
                env={**os.environ, **server.environment(), "PATH": path},
                capture_output=True,
                encoding="utf-8",
                check=False,
            )

            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            assert all(line in done.stdout for line in printed), done.stdout

    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("usd: 0.05", "usd: 0.00001", 3, "over_budget"),
        ("tickets:", "ticktes:", 2, "tickets"),
    ],
)
def test_what_is_broken_ends_as_the_page_says(
    tmp_path: Path, old: str, new: str, code: int, said: str
) -> None:
    save_files(PAGE, tmp_path)
    path = tmp_path / "hello.yaml"
    path.write_text(path.read_text("utf-8").replace(old, new))

    done = subprocess.run(
        [sys.executable, "-m", "mma_runtime", "run", "hello.yaml"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.returncode == code
    assert said in done.stdout + done.stderr
