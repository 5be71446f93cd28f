"""What is wrong with a file's syntax, as far as its language is known."""

import json
import tomllib
from collections.abc import Callable
from pathlib import PurePosixPath

from tree_sitter import Node

from mma_runtime.workspace.languages import broken, language_of, parse

MOST_PROBLEMS = 10
"""How many problems of one file are named."""

_SHOWN = 60


def syntax_problems(path: str, content: bytes) -> list[str] | None:
    """Return what is wrong in a file, in order, each with its line.

    `None`: its language is unknown. A parser goes on after an error: the first problem
    is to be trusted most.
    """
    match PurePosixPath(path).suffix.lower():
        case ".json":
            return _loaded(json.loads, content)
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


def _loaded(load: Callable[[str], object], content: bytes) -> list[str]:
    try:
        load(content.decode())
    except (ValueError, RecursionError) as error:
        return [str(error) or type(error).__name__]

    return []
