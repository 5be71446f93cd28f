import subprocess
from collections.abc import Sequence
from pathlib import Path
from pickle import dumps, loads

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mma_runtime.errors import MergeConflict
from mma_runtime.workspace import FileChange
from mma_runtime.workspace.merging import (
    SHOWN_LIMIT,
    merge_change,
    merge_lines,
    show_conflicts,
)
from mma_runtime.workspace.tree import EXECUTABLE, FILE, LINK

BASE = tuple(b"line %d\n" % n for n in range(1, 13))

texts = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n"]), max_size=12)

edits = st.lists(
    st.tuples(
        st.integers(0, len(BASE)),
        st.integers(0, 2),
        st.lists(st.integers(1, 3), max_size=2, unique=True),
    ),
    max_size=3,
)


def edited(side: bytes, edits: Sequence[tuple[int, int, list[int]]]) -> list[bytes]:
    """Replace stretches of `BASE` by lines that are found nowhere else."""
    lines = list(BASE)
    ends = len(BASE)
    for start, count, new in sorted(edits, key=lambda edit: edit[0], reverse=True):
        stop = min(start + count, ends)
        if start <= stop:
            lines[start:stop] = [b"%s %d at %d\n" % (side, n, start) for n in new]
            ends = start - 1

    return lines


def merged(
    base: Sequence[bytes], accepted: Sequence[bytes], proposed: Sequence[bytes]
) -> bytes | None:
    chunks = merge_lines(base, accepted, proposed)
    if any(chunk.conflict for chunk in chunks):
        return None

    return b"".join(line for chunk in chunks for line in chunk.merged)


def merged_by_git(
    folder: Path,
    base: Sequence[bytes],
    accepted: Sequence[bytes],
    proposed: Sequence[bytes],
) -> bytes | None:
    for name, lines in (("base", base), ("ours", accepted), ("theirs", proposed)):
        (folder / name).write_bytes(b"".join(lines))

    done = subprocess.run(
        ("git", "merge-file", "-p", "ours", "base", "theirs"),
        cwd=folder,
        capture_output=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None


def change(before: bytes | None, after: bytes | None, mode: int = FILE) -> FileChange:
    return FileChange(
        path="a",
        before=before,
        after=after,
        mode_before=None if before is None else mode,
        mode_after=None if after is None else mode,
    )


@settings(max_examples=150, deadline=None)
@given(accepted=edits, proposed=edits)
def test_git_merges_in_the_same_way(
    accepted: list[tuple[int, int, list[int]]],
    proposed: list[tuple[int, int, list[int]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    # Lines that are there once only: git and we cannot match them differently.
    ours, theirs = edited(b"ours", accepted), edited(b"theirs", proposed)
    folder = tmp_path_factory.mktemp("merge")

    assert merged(BASE, ours, theirs) == merged_by_git(folder, BASE, ours, theirs)


@given(base=texts, other=texts)
def test_a_change_of_one_side_alone_is_taken_whole(
    base: list[bytes], other: list[bytes]
) -> None:
    assert merged(base, other, base) == b"".join(other)
    assert merged(base, base, other) == b"".join(other)


@given(base=texts, other=texts)
def test_the_same_change_of_both_sides_is_no_conflict(
    base: list[bytes], other: list[bytes]
) -> None:
    assert merged(base, other, other) == b"".join(other)


@given(base=texts, accepted=texts, proposed=texts)
def test_it_does_not_matter_who_was_first(
    base: list[bytes], accepted: list[bytes], proposed: list[bytes]
) -> None:
    assert merged(base, accepted, proposed) == merged(base, proposed, accepted)


@given(base=texts, accepted=texts, proposed=texts)
def test_the_chunks_hold_every_line_of_all_three_texts_in_order(
    base: list[bytes], accepted: list[bytes], proposed: list[bytes]
) -> None:
    chunks = merge_lines(base, accepted, proposed)

    assert [line for chunk in chunks for line in chunk.base] == base
    assert [line for chunk in chunks for line in chunk.accepted] == accepted
    assert [line for chunk in chunks for line in chunk.proposed] == proposed


@pytest.mark.parametrize(
    ("accepted", "proposed"),
    [
        ((b"A\n", b"2\n", b"3\n"), (b"1\n", b"B\n", b"3\n")),
        ((b"1\n", b"x\n", b"2\n", b"3\n"), (b"1\n", b"y\n", b"2\n", b"3\n")),
        ((b"1\n", b"3\n"), (b"1\n", b"B\n", b"3\n")),
        ((b"1\n", b"2\n", b"3"), (b"1\n", b"2\n", b"3\n", b"4\n")),
    ],
    ids=["touching lines", "two insertions", "deleted and changed", "the last newline"],
)
def test_changes_that_touch_are_a_conflict(
    accepted: tuple[bytes, ...], proposed: tuple[bytes, ...]
) -> None:
    assert merged((b"1\n", b"2\n", b"3\n"), accepted, proposed) is None


def test_a_conflict_is_drawn_between_markers_with_what_is_around_it() -> None:
    accepted = list(BASE)
    accepted[5] = b"ours\n"
    proposed = list(BASE)
    proposed[5] = b"theirs"
    del proposed[6:]

    shown = show_conflicts(merge_lines(BASE, accepted, proposed))

    assert shown == (
        "line 3:\n"
        "line 3\nline 4\nline 5\n"
        "<<<<<<< accepted meanwhile\n"
        "ours\n" + "".join(f"line {n}\n" for n in range(7, 13)) + ""
        "||||||| what both began with\n"
        "" + "".join(f"line {n}\n" for n in range(6, 13)) + ""
        "=======\n"
        "theirs\n"
        ">>>>>>> this ticket\n"
    )


def test_only_so_much_of_a_conflict_is_drawn() -> None:
    chunks = merge_lines([], [b"o" * 5_000], [b"t" * 5_000])

    shown = show_conflicts(chunks)

    assert len(shown) < SHOWN_LIMIT + 100
    assert shown.endswith("characters are not shown …]")


@pytest.mark.parametrize(
    ("ticket", "content", "mode", "said"),
    [
        (change(b"x\n", b"y\n"), None, None, "deleted meanwhile"),
        (change(b"x\n", None), b"z\n", FILE, "this ticket deleted it"),
        (change(None, b"y\n"), b"z\n", FILE, "both created it"),
        (change(b"\0x", b"\0y"), b"\0z", FILE, "cannot be merged line by line"),
        (change(b"x", b"y", LINK), b"z", LINK, "cannot be merged line by line"),
        (change(b"x\n", b"y\n"), b"z\n", FILE, "<<<<<<< accepted meanwhile\nz\n"),
    ],
)
def test_a_conflict_says_what_clashes(
    ticket: FileChange, content: bytes | None, mode: int | None, said: str
) -> None:
    with pytest.raises(MergeConflict) as caught:
        merge_change(ticket, content, mode)

    assert said in caught.value.shown
    assert loads(dumps(caught.value)).conflicts == caught.value.conflicts  # noqa: S301


def test_modes_that_clash_are_a_conflict() -> None:
    ticket = FileChange(
        path="a", before=b"x", after=b"x", mode_before=FILE, mode_after=EXECUTABLE
    )

    with pytest.raises(MergeConflict, match="accepted meanwhile: a"):
        merge_change(ticket, b"x", LINK)


def test_a_file_that_is_as_wanted_already_needs_no_change() -> None:
    assert merge_change(change(b"x\n", b"y\n"), b"y\n", FILE) is None


def test_of_many_conflicts_some_are_shown() -> None:
    conflict = MergeConflict({f"{n}.py": "both" for n in range(8)})

    assert conflict.shown.count("both") == 5
    assert conflict.shown.endswith("(and conflicts in 3 more files)")
