import os
import subprocess
from pathlib import Path

import pytest

from mma_runtime.workspace import Workspace, directory_map
from mma_runtime.workspace.ignoring import is_ignored

RULES = """\
# a comment
*.log
/dist/
build
!keep.log
docs/*.html
\\#odd
a/**/z
"""

PATHS = [
    "x.log",
    "deep/er/x.log",
    "keep.log",
    "deep/keep.log",
    "dist/x",
    "sub/dist/x",
    "build",
    "sub/build/x",
    "docs/a.html",
    "docs/deep/a.html",
    "#odd",
    "a/z",
    "a/b/c/z",
    "plain.py",
    "sub/special.log",
    "sub/own.txt",
    "sub/deep/own.txt",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    (project / "sub").mkdir(parents=True)
    (project / ".gitignore").write_text(RULES)
    (project / "sub" / ".gitignore").write_text("!special.log\n/own.txt\n")
    return project


@pytest.mark.parametrize("path", PATHS)
def test_git_ignores_the_same(path: str, project: Path) -> None:
    subprocess.run(("git", "init", "-q"), cwd=project, check=True)
    asked = subprocess.run(
        ("git", "check-ignore", "-q", path), cwd=project, check=False
    )

    assert is_ignored(project, path) is (asked.returncode == 0)


async def test_what_is_ignored_is_neither_mapped_nor_copied(
    project: Path, tmp_path: Path
) -> None:
    for path in ("main.py", "x.log", "dist/out.js", "sub/own.txt", "sub/keep.log"):
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_text("x\n")

    workspace = await Workspace.open(project, tmp_path / "run")

    shown = ".gitignore\nmain.py\nsub/\n  .gitignore\n  keep.log"
    assert await directory_map(project) == shown
    assert await directory_map(workspace.tree) == shown


async def test_ignored_output_of_a_build_is_no_change(
    project: Path, tmp_path: Path
) -> None:
    workspace = await Workspace.open(project, tmp_path / "run")
    checkout = await workspace.checkout("T1")
    (checkout.root / "dist").mkdir()
    (checkout.root / "dist" / "out.js").write_text("x")
    (checkout.root / "new.py").write_text("x")

    assert (await checkout.diff()).files == ("new.py",)


async def test_a_file_that_a_ticket_begins_to_ignore_is_not_deleted(
    project: Path, tmp_path: Path
) -> None:
    (project / "main.py").write_text("x\n")
    (project / "sub" / "deep").mkdir()
    (project / "sub" / "deep" / "more.py").write_text("x\n")
    workspace = await Workspace.open(project, tmp_path / "run")
    checkout = await workspace.checkout("T1")
    (checkout.root / ".gitignore").write_text("*.py\nsub/\n")
    await workspace.merge(await checkout.diff())

    later = await workspace.checkout("T2")
    (later.root / "main.py").write_text("changed\n")

    assert (later.root / "sub" / "deep" / "more.py").exists()
    assert (await later.diff()).files == ("main.py",)
    assert (await workspace.changes()).files == (".gitignore",)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "binary"])
def test_a_gitignore_that_is_no_text_file_is_no_rule(
    kind: str, project: Path, tmp_path: Path
) -> None:
    rules = project / ".gitignore"
    rules.unlink()
    match kind:
        case "link":
            (tmp_path / "elsewhere").write_text("*.log\n")
            rules.symlink_to(tmp_path / "elsewhere")
        case "folder":
            rules.mkdir()
        case "pipe":
            os.mkfifo(rules)
        case _:
            rules.write_bytes(b"\xff\0\xfe\n")

    assert not is_ignored(project, "x.log")
