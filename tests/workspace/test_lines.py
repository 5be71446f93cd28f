"""Which lines of two texts are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mma_runtime.workspace import lines
from mma_runtime.workspace.lines import Opcode, match_lines, split_lines

TEXTS = st.lists(st.sampled_from([b"a\n", b"b\n", b"}\n", b"\n"]), max_size=60)


def rebuilt(opcodes: list[Opcode], before: list[bytes], after: list[bytes]) -> None:
    """Check that *opcodes* lead from *before* to *after*, without a gap."""
    old: list[bytes] = []
    new: list[bytes] = []
    for kind, a1, a2, b1, b2 in opcodes:
        assert (a1, b1) == (len(old), len(new))
        assert (kind == "equal") == (before[a1:a2] == after[b1:b2])
        old += before[a1:a2]
        new += after[b1:b2]

    assert (old, new) == (before, after)


@given(TEXTS, TEXTS)
def test_every_line_of_both_texts_is_in_one_stretch(
    before: list[bytes], after: list[bytes]
) -> None:
    rebuilt(match_lines(before, after), before, after)


def test_lines_that_are_rare_are_matched_among_those_that_recur() -> None:
    before = [b"}\n", b"x %d\n" % 1] * 1_200
    after = [b"{\n", *before[: len(before) // 2], b"new\n", *before[1_200:], b"}\n"]

    opcodes = match_lines(before, after)

    rebuilt(opcodes, before, after)


def test_where_all_lines_recur_the_middle_is_replaced_whole() -> None:
    before = [b"first\n", *[b"{\n", b"}\n"] * 2_000, b"last\n"]
    after = [b"first\n", *[b"}\n", b"\n", b"{\n"] * 1_500, b"last\n"]

    opcodes = match_lines(before, after)

    rebuilt(opcodes, before, after)
    assert [opcode[0] for opcode in opcodes] == ["equal", "replace", "equal"]


def test_popular_lines_beside_rare_ones_are_matched_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "_PAIRS", 1_000)
    before = [line for at in range(200) for line in (b"{\n", b"%d\n" % at, b"}\n")]
    after = [b"changed\n", *before[:300], *before[303:], b"more\n"]

    opcodes = match_lines(before, after)

    rebuilt(opcodes, before, after)
    assert sum(a2 - a1 for kind, a1, a2, _, _ in opcodes if kind == "equal") == 597


@given(TEXTS, TEXTS, st.integers(0, 500))
def test_matching_that_is_cut_short_is_coarser_but_right(
    before: list[bytes], after: list[bytes], looks: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_LOOKS", looks)
        rebuilt(match_lines(before, after), before, after)


@pytest.mark.parametrize(
    ("before", "after"), [([], []), ([b"a\n"], []), ([], [b"a\n", b"b"])]
)
def test_texts_without_lines_match(before: list[bytes], after: list[bytes]) -> None:
    rebuilt(match_lines(before, after), before, after)


def test_only_a_newline_ends_a_line() -> None:
    assert split_lines(b"a\r\nb\rc") == [b"a\r\n", b"b\rc"]
