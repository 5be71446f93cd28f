"""What is wrong with a file's syntax, as far as its language is known."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import PurePosixPath

from tree_sitter import Node

from mma_runtime.workspace.languages import broken, language_of, parse

MOST_PROBLEMS = 10
"""How many problems of one file are named."""

_SHOWN = 60

# Files whose readers take comments and trailing commas, whatever JSON says.
_COMMENTED = re.compile(
    r"\.(?:jsonc|code-workspace)$"
    r"|(?:^|/)(?:[tj]sconfig[^/]*|\.?devcontainer|\.eslintrc|\.swcrc)\.json$"
    r"|(?:^|/)\.vscode/[^/]*\.json$",
    re.IGNORECASE,
)
_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_LAST_COMMA = re.compile(rf"({_STRING})|,(?=\s*[\]}}])", re.DOTALL)


def syntax_problems(path: str, content: bytes) -> list[str] | None:
    """Return what is wrong in a file, in order, each with its line.

    `None`: its language is unknown. A parser goes on after an error: the first problem
    is to be trusted most.
    """
    match PurePosixPath(path).suffix.lower():
        case ".json" | ".jsonc" | ".code-workspace":
            is_commented = _COMMENTED.search(path) is not None
            return _loaded(_load_commented if is_commented else _load_json, content)
        case ".toml":
            return _loaded(tomllib.loads, content)
        case _:
            pass

    language = language_of(path)
    if language is None:
        return None

    problems: list[str] = []
    _, root = parse(language, content)
    for node in broken(root):
        problems.append(_word(node, content))
        if len(problems) == MOST_PROBLEMS:
            break

    return problems


def _word(node: Node, content: bytes) -> str:
    row, column = node.start_point
    place = f"line {row + 1}, column {column + 1}"
    if node.is_missing:
        return f"{place}: {node.type!r} is missing"

    shown = content[node.start_byte : node.end_byte].decode(errors="replace")
    first = shown.strip().split("\n")[0]
    return f"{place}: cannot be read from here: {first[:_SHOWN]!r}"


def _load_json(text: str) -> object:
    # Windows' editors begin files with this sign; readers of JSON pass over it.
    return json.loads(text.removeprefix("\ufeff"))


def _load_commented(text: str) -> object:
    return _load_json(_LAST_COMMA.sub(_blanked, _COMMENT.sub(_blanked, text)))


def _blanked(found: re.Match[str]) -> str:
    """Return a string as it is, and of anything else its line breaks and its width."""
    return found[1] or re.sub(r"[^\n]", " ", found[0])


def _loaded(load: Callable[[str], object], content: bytes) -> list[str]:
    try:
        load(content.decode())
    except (ValueError, RecursionError) as error:
        return [str(error) or type(error).__name__]

    return []
