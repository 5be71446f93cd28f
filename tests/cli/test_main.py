import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mma_runtime.cli.main import COMMANDS, cli, command_first
from tests.cli.conftest import Project

HEAVY = ("anyio", "asyncio", "pydantic", "rich", "trio", "yaml")


MMA = (sys.executable, "-m", "mma_runtime")


def run_python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["run", "f.yaml"], ["run", "f.yaml"]),
        (["--json", "run", "f.yaml"], ["run", "--json", "f.yaml"]),
        (["f.yaml", "--json", "check"], ["check", "f.yaml", "--json"]),
        (["--help"], ["--help"]),
        (["rnu", "f.yaml"], ["rnu", "f.yaml"]),
        (["--", "run"], ["--", "run"]),
        (["run", "run"], ["run", "run"]),
        ([], []),
    ],
)
def test_the_command_comes_first_wherever_it_stands(
    args: list[str], expected: list[str]
) -> None:
    assert command_first(args) == expected


def test_help_lists_every_command_and_loads_none() -> None:
    result = CliRunner().invoke(cli, ["--help"])

    assert result.exit_code == 0
    assert all(name in result.output for name in COMMANDS)


def test_help_needs_click_and_the_standard_library_alone() -> None:
    code = (
        "import sys; from mma_runtime.cli.main import cli;"
        " cli.main(['--help'], standalone_mode=False);"
        f" print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    result = run_python("-c", code)

    assert result.stdout.splitlines()[-1] == "[]", result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_loads_and_tells_its_options(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])

    assert result.exit_code == 0
    assert "Options:" in result.output


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("rnu", "Did you mean 'run'?"),
        ("quickstart.yaml", "Did you mean 'mma run quickstart.yaml'?"),
        ("qqq", "See 'mma --help'."),
    ],
)
def test_an_unknown_command_is_answered_with_what_was_meant(
    word: str, hint: str
) -> None:
    result = CliRunner().invoke(cli, [word])

    assert result.exit_code == 2
    assert hint in result.output


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(cli, ["--version"])

    assert result.output.startswith("mma, version 0.")


def test_the_package_can_be_run_as_a_module() -> None:
    result = run_python("-m", "mma_runtime", "rnu")

    assert result.returncode == 2
    assert "Did you mean 'run'?" in result.stderr


FULL = Path("/dev/full")

on_linux = pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")


@on_linux
@pytest.mark.parametrize("args", [["--help"], ["schema"], ["runs"], ["prices"]])
def test_a_full_disk_behind_stdout_is_told_in_one_line(
    args: list[str], tmp_path: Path
) -> None:
    with FULL.open("w") as full:
        result = subprocess.run(
            [*MMA, *args],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    assert result.returncode == 1
    assert result.stderr == ("mma: stdout cannot be written: No space left on device\n")


@on_linux
@pytest.mark.parametrize("more", [[], ["--json"], ["--jsonl"]])
def test_a_run_whose_result_cannot_be_written_keeps_its_exit_code(
    project: Project, more: list[str]
) -> None:
    home = ["--home", str(project.home)]
    with FULL.open("w") as full:
        result = subprocess.run(
            [*MMA, "run", str(project.scenario), *home, *more],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert result.returncode == 0
    told = "mma: stdout cannot be written: No space left on device\n"
    assert result.stderr.count(told) == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("closed", ["1", "2", "1 2", "0 1 2"])
@pytest.mark.parametrize("args", [["--help"], ["schema"], ["nope"], ["run"]])
def test_closed_streams_change_no_exit_code(
    project: Project, args: list[str], closed: str
) -> None:
    if args == ["run"]:
        args = ["run", str(project.scenario), "--home", str(project.home)]

    command = shlex.join([*MMA, *args])
    ends = " ".join(f"{number}>&-" for number in closed.split())
    result = subprocess.run(
        ["sh", "-c", f"exec {command} {ends}"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == (2 if args == ["nope"] else 0)
    assert "Traceback" not in result.stderr


@on_linux
@pytest.mark.parametrize("args", [["nope"], ["run", "gone.yaml"]])
def test_a_full_disk_behind_stderr_changes_no_exit_code(args: list[str]) -> None:
    with FULL.open("w") as full:
        result = subprocess.run(
            [*MMA, *args], stdout=subprocess.PIPE, stderr=full, check=False
        )

    assert result.returncode == 2


def test_click_is_given_a_group() -> None:
    assert isinstance(cli, click.Group)
