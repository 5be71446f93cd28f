"""Search the files of a folder for a regular expression; a program of its own.

A pattern from a model may take for ever, and Python cannot stop it, nor do anything
else meanwhile. So `search_files` runs this file as a command with a time limit. It
uses the standard library alone and starts without site-packages.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_LIMIT = 300
_FILE_LIMIT = 5_000_000
_BINARY_SAMPLE = 8_000


@dataclass(frozen=True, kw_only=True)
class Search:
    """What to look for and where; *files* and *glob* are paths from *root*."""

    root: str
    files: list[str]
    pattern: str
    glob: str
    ignore_case: bool
    max_matches: int


def find(search: Search) -> Iterator[str]:
    """Yield `path:line: text` for each line that matches, then what was left out."""
    pattern = re.compile(search.pattern, re.IGNORECASE if search.ignore_case else 0)
    wanted = re.compile(translate(search.glob))
    matches = skipped = 0
    for path in search.files:
        name = path if "/" in search.glob else path.rpartition("/")[2]
        if not wanted.fullmatch(name):
            continue

        text = _read(os.path.join(search.root, path))
        if text is None:
            skipped += 1
            continue

        for number, line in enumerate(text.split("\n"), start=1):
            if not pattern.search(line):
                continue

            if matches == search.max_matches:
                yield f"(more than {matches:,} lines match; narrow the search)"
                return

            matches += 1
            yield f"{path}:{number}: {_shorten(line.rstrip())}"

    if not matches:
        yield "no line matches"

    if skipped:
        yield f"(not searched: {skipped:,} binary, huge or unreadable files)"


def translate(glob: str) -> str:
    """Turn a path pattern into a regular expression: `**/` spans folders, `*` not."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        parts.get(part) or re.escape(part)
        for part in re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    )


def _read(path: str) -> str | None:
    try:
        if os.path.getsize(path) > _FILE_LIMIT:
            return None

        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None

    if b"\0" in content[:_BINARY_SAMPLE]:
        return None

    return content.decode(errors="replace")


def _shorten(line: str) -> str:
    return line if len(line) <= _LINE_LIMIT else line[:_LINE_LIMIT] + "…"


def main() -> None:
    """Print what the search in the file named first finds."""
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr] # TextIO here
    with open(sys.argv[1], encoding="utf-8") as request:
        search = Search(**json.load(request))

    for found in find(search):
        print(found)  # noqa: T201 - this is its output


if __name__ == "__main__":
    main()
