"""`mma new` writes what runs as it is, and overwrites nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mma_runtime.cli.main import cli
from mma_runtime.cli.new import FILES


def mma(*args: str) -> Result:
    return CliRunner().invoke(cli, args, standalone_mode=False)


def written(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def test_what_is_new_runs_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = mma("new")

    assert result.return_value == 0
    assert result.stdout.splitlines() == [
        "wrote hello.yaml",
        "wrote hello.script.yaml",
        "wrote project/greeting.py",
        "next: mma run hello.yaml",
    ]
    run = mma("run", "hello.yaml")
    assert run.return_value == 0, run.stderr
    assert "completed: 1 ticket completed" in run.stdout


def test_a_folder_is_made_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = mma("new", "a b/c")

    assert written(tmp_path / "a b" / "c") == sorted(FILES)
    assert result.stdout.endswith("next: cd 'a b/c' && mma run hello.yaml\n")


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")

    result = mma("new", str(tmp_path))

    assert f"There is {name} in '{tmp_path}' already" in str(result.exception)
    assert written(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "folder"), [("a", "a"), ("a", "a/b"), ("project", "")]
)
def test_a_file_in_a_folders_place_is_told_and_nothing_written(
    tmp_path: Path, file: str, folder: str
) -> None:
    (tmp_path / file).touch()

    result = mma("new", str(tmp_path / folder))

    assert result.return_value == 2
    assert result.stderr.startswith(f"mma: {tmp_path / file}")
    assert written(tmp_path) == [file]
