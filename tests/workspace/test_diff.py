import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mma_runtime.workspace import Diff, FileChange, FileStat
from mma_runtime.workspace.tree import EXECUTABLE, FILE, LINK


def change(
    path: str,
    before: bytes | None,
    after: bytes | None,
    mode_before: int = FILE,
    mode_after: int = FILE,
) -> FileChange:
    return FileChange(
        path=path,
        before=before,
        after=after,
        mode_before=None if before is None else mode_before,
        mode_after=None if after is None else mode_after,
    )


LONG = b"".join(b"line %d\n" % n for n in range(1, 41))

CHANGES = {
    "a line in the middle": change("a", LONG, LONG.replace(b"line 20\n", b"new\n")),
    "two far apart": change(
        "a", LONG, LONG.replace(b"line 5\n", b"").replace(b"line 35\n", b"x\ny\n")
    ),
    "first and last": change("a", LONG, b"new\n" + LONG[7:] + b"end\n"),
    "new file": change("new/deep/a", None, b"x\ny\n"),
    "new empty file": change("new", None, b""),
    "deleted file": change("a", b"x\ny\n", None),
    "deleted empty file": change("a", b"", None),
    "emptied": change("a", b"x\n", b""),
    "no newline at the end any more": change("a", b"x\ny\n", b"x\ny"),
    "a newline at the end now": change("a", b"x\ny", b"x\ny\n"),
    "no newline at either end": change("a", b"x\ny", b"x\nz"),
    "carriage returns": change("a", b"x\r\ny\rz\r\n", b"x\r\ny\rZ\r\n"),
    "latin-1": change("a", b"caf\xe9\n", b"caf\xe9s\n"),
    "made executable": change("a", b"x\n", b"x\n", FILE, EXECUTABLE),
    "made executable and changed": change("a", b"x\n", b"y\n", FILE, EXECUTABLE),
    "new link": change("a", None, b"pkg/b", FILE, LINK),
    "link elsewhere": change("a", b"b", b"c", LINK, LINK),
    "file to link": change("a", b"x\n", b"b", FILE, LINK),
    "link to file": change("a", b"b", b"x\n", LINK, FILE),
    "blank in the name": change("a b/c d", b"x\n", b"y\n"),
    "odd name": change('q"t\t\\é\n', b"x\n", b"y\n"),
    "new odd name": change('q"t\t\\é\n', None, b"y\n"),
    "binary": change("a", b"\0\1\2", bytes(range(256)) * 20),
    "new binary": change("a", None, b"\0" * 100),
    "deleted binary": change("a", b"\0" * 100, None),
}


def put(root: Path, path: str, content: bytes | None, mode: int | None) -> None:
    if content is None:
        return

    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if mode == LINK:
        place.symlink_to(os.fsdecode(content))
    else:
        place.write_bytes(content)
        place.chmod(0o755 if mode == EXECUTABLE else 0o644)


def found(root: Path, path: str) -> tuple[bytes, int] | None:
    place = root / path
    if place.is_symlink():
        return os.fsencode(place.readlink()), LINK
    if not place.exists():
        return None

    executable = place.stat().st_mode & 0o100
    return place.read_bytes(), EXECUTABLE if executable else FILE


def applied(root: Path, diff: Diff, *command: str) -> str:
    for each in diff.changes:
        put(root, each.path, each.before, each.mode_before)

    done = subprocess.run(
        command, cwd=root, input=diff.patch, capture_output=True, check=False
    )
    return "" if done.returncode == 0 else (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("name", CHANGES)
def test_git_applies_the_patch(name: str, tmp_path: Path) -> None:
    each = CHANGES[name]

    problem = applied(tmp_path, Diff((each,)), "git", "apply", "-")

    expected = None if each.after is None else (each.after, each.mode_after)
    assert problem == ""
    assert found(tmp_path, each.path) == expected


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, each in CHANGES.items()
        # patch(1) knows no binary files, asks before it deletes an empty one, and
        # knows links and modes in newer versions only.
        if not each.binary
        and name != "deleted empty file"
        and {each.mode_before, each.mode_after} <= {None, FILE}
    ],
)
def test_patch_applies_the_patch(name: str, tmp_path: Path) -> None:
    each = CHANGES[name]

    problem = applied(tmp_path, Diff((each,)), "patch", "-p1", "--binary")

    assert problem == ""
    assert found(tmp_path, each.path) == (each.after and (each.after, FILE)) or (
        each.after == b""
    )


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n"]), max_size=30),
    after=st.lists(st.sampled_from([b"a\n", b"b\n", b"d\n", b"\n"]), max_size=30),
    cut=st.booleans(),
)
def test_git_applies_any_patch(
    before: list[bytes],
    after: list[bytes],
    cut: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("tree")
    old, new = b"".join(before), b"".join(after).removesuffix(b"\n" if cut else b"")
    if old == new:
        return

    assert applied(root, Diff((change("a", old, new),)), "git", "apply", "-") == ""
    assert (root / "a").read_bytes() == new


def test_the_text_is_a_unified_diff() -> None:
    diff = Diff((CHANGES["a line in the middle"], CHANGES["new empty file"]))

    assert diff.text == (
        "diff --git a/a b/a\n"
        "--- a/a\n"
        "+++ b/a\n"
        "@@ -17,7 +17,7 @@\n"
        " line 17\n line 18\n line 19\n-line 20\n+new\n line 21\n line 22\n line 23\n"
        "diff --git a/new b/new\n"
        "new file mode 100644\n"
    )


def test_the_text_only_names_binary_files_and_is_always_text() -> None:
    assert Diff((CHANGES["binary"],)).text == (
        "diff --git a/a b/a\nBinary files a/a and b/a differ\n"
    )
    assert "+caf\ufffds\n" in Diff((CHANGES["latin-1"],)).text


def test_lines_are_counted_file_by_file() -> None:
    diff = Diff(
        (
            CHANGES["two far apart"],
            CHANGES["new file"],
            CHANGES["deleted file"],
            CHANGES["binary"],
            CHANGES["made executable"],
        )
    )

    assert [
        (each.state, each.added, each.removed, each.binary) for each in diff.stat
    ] == [
        ("modified", 2, 2, False),
        ("added", 2, 0, False),
        ("deleted", 0, 2, False),
        ("modified", 0, 0, True),
        ("modified", 0, 0, False),
    ]
    assert diff.stat[0] == FileStat(
        path="a", state="modified", added=2, removed=2, binary=False
    )


def test_an_empty_diff_is_false_and_has_no_text() -> None:
    assert not Diff()
    assert (Diff().text, Diff().patch, Diff().files, Diff().stat) == ("", b"", (), ())
    assert Diff((CHANGES["new empty file"],))


def test_a_huge_rewritten_file_does_not_take_for_ever() -> None:
    before = b"".join(b"%d\n" % n for n in range(60_000))
    after = b"".join(b"%d\n" % (n * 7 % 60_000) for n in range(60_000))

    stat = Diff((change("a", before, after),)).stat[0]

    assert stat.added == stat.removed > 0
