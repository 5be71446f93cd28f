"""Which tools are given: by name, by pattern, and what has to be named in full."""

import pytest

from mma_runtime.tools.choice import given, may_name, pattern_problem

NAMES = ("read_file", "write_file", "fetch_url", "mcp__notes__find", "mcp__notes__add")


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (None, ("read_file", "write_file", "mcp__notes__find", "mcp__notes__add")),
        ((), ()),
        (("write_file", "read_file"), ("read_file", "write_file")),
        (("*_file",), ("read_file", "write_file")),
        (("mcp__notes__*",), ("mcp__notes__find", "mcp__notes__add")),
        (("*",), ("read_file", "write_file", "mcp__notes__find", "mcp__notes__add")),
        (("fetch_*", "fetch_???"), ()),
        (("fetch_url",), ("fetch_url",)),
        (("nothing",), ()),
    ],
)
def test_tools_are_given_by_name_or_by_pattern(
    patterns: tuple[str, ...] | None, names: tuple[str, ...]
) -> None:
    assert given(patterns, NAMES) == names


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("read_file", ""),
        ("*", ""),
        ("mcp__later__anything", ""),
        ("mcp__*", ""),
        ("mcp__lat*", ""),
        ("raed_file", "unknown tool 'raed_file'; did you mean `read_file`?"),
        ("zzz*", "unknown tool 'zzz*'; known: fetch_url, mcp__notes__add"),
        ("fetch_*", "unknown tool 'fetch_*'"),
        ("mcp__notes__fnid", "did you mean `mcp__notes__find`?"),
        ("mcp__ltaer__x", "there is no MCP server 'ltaer'; did you mean `later`?"),
        ("mcp__x", "there is no MCP server 'x'; known: later"),
        ("", "unknown tool ''"),
    ],
)
def test_a_pattern_that_gives_nothing_is_a_problem(pattern: str, problem: str) -> None:
    found = pattern_problem(pattern, NAMES, ["later"])

    assert found == problem if not problem else problem in found


@pytest.mark.parametrize(
    ("pattern", "may"),
    [
        ("mcp__a__*", True),
        ("mcp__a__x", True),
        ("mcp__*__x", True),
        ("*", True),
        ("mcp__ab__*", False),
        ("mcp__a", False),
        ("read_*", False),
    ],
)
def test_a_server_is_needed_if_one_of_its_tools_may_be_meant(
    pattern: str, may: bool
) -> None:
    assert may_name(pattern, "a") is may
