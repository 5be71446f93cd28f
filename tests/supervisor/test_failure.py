"""What is read out of a failed command's output."""

import pytest

from mma_runtime.supervisor.failure import (
    ERROR_LINES,
    FailedTest,
    Place,
    error_text,
    failed_test,
    is_lint,
    places,
)

TRACEBACK = """\
Traceback (most recent call last):
  File "/w/tree/app/main.py", line 12, in main
    run()
  File "/w/tree/app/run.py", line 40, in run
    return 1 / 0
ZeroDivisionError: division by zero
"""
PYTEST = """\
    def test_cut():
>       assert shorten("a-b", 2) == "a"
E       AssertionError: assert 'a-' == 'a'

tests/test_shorten.py:9: AssertionError
=========================== short test summary info ============================
FAILED tests/test_shorten.py::TestCut::test_cut[2-a] - AssertionError: assert 'a-'...
1 failed in 0.03s
"""
UNITTEST = "FAIL: test_cut (tests.test_shorten.TestCut.test_cut)\n---\nTraceback"
RUST = "error[E0308]: mismatched types\n --> src/lib.rs:7:5\n"
TSC = "src/app.ts:3:7 - error TS2322: Type 'string' is not assignable\n"


@pytest.mark.parametrize(
    ("output", "last"),
    [
        (TRACEBACK, Place("/w/tree/app/run.py", 40)),
        (PYTEST, Place("tests/test_shorten.py", 9)),
        (RUST, Place("src/lib.rs", 7)),
        (TSC, Place("src/app.ts", 3)),
        ("./a.py:4:1: E302 expected 2 blank lines", Place("a.py", 4)),
        ("at run (lib/x.js:3:4)", Place("lib/x.js", 3)),
    ],
    ids=["python", "pytest", "rust", "tsc", "flake8", "node"],
)
def test_the_place_that_is_named_last_comes_first(output: str, last: Place) -> None:
    assert next(places(output)) == last


@pytest.mark.parametrize("output", ["", "12:30:01 done", "https://x.org:80/a", "\0\0"])
def test_an_output_without_places_has_none(output: str) -> None:
    assert list(places(output)) == []


def test_a_place_is_named_once() -> None:
    assert list(places("a.py:1: x\na.py:1: y")) == [Place("a.py", 1)]


@pytest.mark.parametrize(
    ("output", "test"),
    [
        (PYTEST, FailedTest("tests/test_shorten.py", "TestCut.test_cut")),
        (UNITTEST, FailedTest("tests/test_shorten.py", "TestCut.test_cut")),
        (TRACEBACK, None),
        ("", None),
    ],
    ids=["pytest", "unittest", "traceback", "nothing"],
)
def test_the_first_failed_test_is_found(output: str, test: FailedTest | None) -> None:
    assert failed_test(output) == test


def test_a_short_output_is_its_own_error() -> None:
    assert error_text(TRACEBACK) == TRACEBACK.rstrip()


def test_of_a_long_output_the_telling_lines_are_kept() -> None:
    noise = [f"collected item {number}" for number in range(500)]
    noise[250] = "TypeError: no"
    text = error_text("\n".join(noise))

    assert "TypeError: no" in text
    assert text.endswith("collected item 499")
    assert len(text.splitlines()) <= ERROR_LINES


def test_an_endless_line_is_cut() -> None:
    assert len(error_text("x" * 100_000)) < 3_000


@pytest.mark.parametrize(
    ("command", "lints"),
    [
        ("ruff check .", True),
        ("python -m ruff check", True),
        ("uv run ruff format --check .", True),
        ("npx eslint src", True),
        (".venv/bin/black --check .", True),
        ("python -m pytest -q", False),
        ("python tools/ruff_report.py", False),
        ("pytest tests/ruff", False),
        ('echo "half', False),
        ("", False),
    ],
)
def test_linters_are_known_by_their_first_words(command: str, *, lints: bool) -> None:
    assert is_lint(command) is lints
