"""Which tools an agent is given: names, and patterns of names.

Pure functions; nothing here makes a tool. A pattern is a name in which `*` stands for
anything, as in `mcp__tracker__*`.
"""

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from mma_runtime.errors import did_you_mean

OPT_IN = frozenset({"fetch_url"})
"""Tools that only those have who name them in full: no pattern gives them."""

MCP_PREFIX = "mcp__"
"""How the names of all tools of MCP servers begin."""

_SIGNS = ("*", "?", "[")


def given(patterns: Iterable[str] | None, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of *names* that *patterns* give, in the order of *names*.

    `None` gives all but those in `OPT_IN`.
    """
    return _given(None if patterns is None else tuple(patterns), tuple(names))


# Asked for each of thousands of tickets, mostly with one answer for them all.
@lru_cache(maxsize=64)
def _given(patterns: tuple[str, ...] | None, names: tuple[str, ...]) -> tuple[str, ...]:
    if patterns is None:
        return tuple(name for name in names if name not in OPT_IN)

    wanted = frozenset(patterns)
    signed = [one for one in wanted if any(sign in one for sign in _SIGNS)]
    return tuple(
        name
        for name in names
        if name in wanted or any(_gives(pattern, name) for pattern in signed)
    )


def pattern_problem(
    pattern: str, names: Collection[str], servers: Collection[str] = ()
) -> str:
    """Return what is wrong with *pattern*, or nothing.

    *names* are those of the tools that are known. What the MCP *servers* have is only
    known when they run: of theirs the server's name is checked.
    """
    if any(_gives(pattern, name) for name in names) or any(
        may_name(pattern, server) for server in servers
    ):
        return ""

    if pattern.startswith(MCP_PREFIX) and not _is_listed(pattern, names):
        server = pattern.removeprefix(MCP_PREFIX).partition("__")[0]
        known = ", ".join(sorted(servers)) or "none"
        return (
            f"unknown tool {pattern!r}: there is no MCP server"
            f" {server!r}{did_you_mean(server, servers)}; known: {known}"
        )

    hint = did_you_mean(pattern, names) or f"; known: {', '.join(sorted(names))}"
    return f"unknown tool {pattern!r}{hint}"


def may_name(pattern: str, server: str) -> bool:
    """Tell whether *pattern* may stand for a tool of the MCP server *server*."""
    prefix = f"{MCP_PREFIX}{server}__"
    ends = [pattern.find(sign) for sign in _SIGNS if sign in pattern]
    if not ends:
        return pattern.startswith(prefix)

    fixed = pattern[: min(ends)]
    return fixed.startswith(prefix) or prefix.startswith(fixed)


def _gives(pattern: str, name: str) -> bool:
    return pattern == name or (name not in OPT_IN and fnmatchcase(name, pattern))


def _is_listed(pattern: str, names: Iterable[str]) -> bool:
    """Tell whether the pattern's server is among those whose tools are known."""
    server = pattern.removeprefix(MCP_PREFIX).partition("__")[0]
    return any(name.startswith(f"{MCP_PREFIX}{server}__") for name in names)
