import os
import subprocess
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


GLOBS = r"""
a /a a/ *.log !x.log build/ /build **/a a/** a/b b/* !b/a * !*.py !*/ [ab] \!a a/**/b
/* !/a ? #x *.* ** a** **b/c.py !a/ a//b . [!a] [a-b] x.[lo]* []a] [^b] \*.log *.l?g
[[] [z-a] [
"""

BLANKS = ["", "  ", " a", "a\\ ", "b ", "a\r", "\ufeffa"]

LINES = st.sampled_from([*GLOBS.split(), *BLANKS])

NAMES = ("a", "b", "x.log", "build", "c.py", " a")


@settings(max_examples=40, deadline=None)
@given(files=st.lists(st.lists(LINES, max_size=4), min_size=4, max_size=4))
def test_git_ignores_the_same_whatever_the_patterns(
    files: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("ignoring")
    subprocess.run(("git", "init", "-q"), cwd=root, check=True)
    (root / "a" / "b").mkdir(parents=True)
    (root / "b").mkdir()
    for folder, lines in zip((".", "a", "b", "a/b"), files, strict=True):
        (root / folder / ".gitignore").write_text("\n".join(lines) + "\n")

    paths = ["/".join(each) for n in (1, 2, 3) for each in product(NAMES, repeat=n)]
    paths = [path for path in paths if not (root / path).is_dir()]
    asked = subprocess.run(
        ("git", "check-ignore", "--no-index", "--stdin", "-z"),
        cwd=root,
        input="\0".join(paths),
        capture_output=True,
        text=True,
        check=False,
    )

    ignored = [path for path in paths if is_ignored(root, path)]
    assert ignored == [path for path in asked.stdout.split("\0") if path]


async def test_what_is_taken_back_in_is_found_in_folders(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*\n!*/\n!*.py\n")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "a.py").touch()
    (tmp_path / "pkg" / "a.txt").touch()

    assert await directory_map(tmp_path) == "pkg/\n  a.py"


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
