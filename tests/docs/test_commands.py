"""Every command in the documentation exists, with each of its options."""

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from mma_runtime.cli.main import COMMANDS, cli, command_first
from tests.docs.blocks import PAGES, ROOT, Block, blocks, name_of

FOREIGN = {"chmod", "curl", "export", "git", "pip"}
"""Programs that are nobody's business here."""

CONSOLES = [block for block in blocks() if block.language == "console"]


def _commands(block: Block) -> Iterator[list[str]]:
    """Yield the commands that stand after a prompt, each as its words."""
    text = block.text.replace("\\\n", " ")
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    assert lines, "a console shows at least one command, after `$ `"
    for line in lines:
        for command in line.split("&&"):
            words = shlex.split(command, comments=True)
            while words and re.match(r"^[A-Z_]+=", words[0]):
                words = words[1:]

            yield words


def _check(words: list[str]) -> None:
    match words:
        case ["uv", "run", *rest] | ["pip", "install", "uv", "&&", *rest]:
            _check(rest)
        case ["mma", *rest]:
            _check_mma(rest)
        case ["opentelemetry-instrument", *rest]:
            _check(rest)
        case ["python", "-m", module, *_]:
            assert find_spec(module) is not None
        case ["python", file, *_]:
            assert (ROOT / file).is_file() or (ROOT / "docs" / file).is_file()
        case ["pytest", *rest]:
            _check_pytest(rest)
        case _:
            assert words[0] in FOREIGN


def _check_mma(arguments: list[str]) -> None:
    if set(arguments) <= {"--help", "--version"}:
        return

    name, *rest = command_first(arguments)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, f"there is no command {name!r}"
    with command.make_context(name, rest):
        pass


def _check_pytest(arguments: list[str]) -> None:
    options = {one.partition("=")[0] for one in arguments if one.startswith("--mma")}
    plugin = (ROOT / "mma_runtime/pytest_plugin/__init__.py").read_text("utf-8")
    assert options <= set(re.findall(r'"(--mma-\w+)"', plugin))


@pytest.mark.parametrize("block", CONSOLES, ids=str)
def test_each_command_of_a_console_could_be_run(block: Block) -> None:
    for words in _commands(block):
        _check(words)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_command_in_a_sentence_exists_with_its_options(page: Path) -> None:
    for text in re.findall(r"`mma ([^`]+)`", page.read_text("utf-8")):
        words = text.split()
        known = [word for word in words if word in COMMANDS]
        assert known or words[0].startswith("-"), f"`mma {text}`"
        for name in known[:1]:
            command = cli.get_command(click.Context(cli), name)
            assert command is not None
            options = {one for param in command.params for one in param.opts}
            options |= {one for p in command.params for one in p.secondary_opts}
            written = {word.partition("=")[0] for word in words if word[:2] == "--"}
            assert written <= options | {"--help"}, f"`mma {text}`"


def test_an_option_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(click.UsageError, match="--colour"):
        _check(["uv", "run", "mma", "run", "x.yaml", "--colour"])
    with pytest.raises(AssertionError):
        _check(["mma", "rum", "x.yaml"])
    with pytest.raises(AssertionError):
        _check(["wget", "x"])
