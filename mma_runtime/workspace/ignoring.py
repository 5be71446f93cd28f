"""What a project's `.gitignore` files leave out, folder by folder.

A path is held against the patterns itself, never by the folders above it: whoever walks
a tree has asked about those before. `pathspec` mixes the two, and leaves out folders
that `!*/` takes back in.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

GITIGNORE = ".gitignore"

_SIZE_LIMIT = 1_000_000
_CLASS = re.compile(r"\[([!^]?)(\]?(?:\\.|[^\]\\])*)\]")
_BLANKS = re.compile(r"(?<!\\) +$")


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One line of a `.gitignore`; *takes_back* is a line with `!`."""

    regex: re.Pattern[str]
    takes_back: bool
    folders_only: bool


class Rules:
    """The patterns that hold in one folder: its own first, then those above it.

    As in git the last pattern that matches decides, and a file nearer to the path
    decides before one further up.
    """

    __slots__ = ("_above", "_depth", "_patterns")

    def __init__(
        self, patterns: tuple[_Pattern, ...], prefix: str, above: "Rules | None"
    ) -> None:
        self._patterns = patterns
        self._depth = len(prefix)
        self._above = above

    def ignore(self, path: str, *, is_folder: bool) -> bool:
        """Tell whether *path*, from the root, is left out; its folder is not."""
        below = path[self._depth :]
        for pattern in self._patterns:
            if pattern.folders_only and not is_folder:
                continue

            if pattern.regex.fullmatch(below):
                return not pattern.takes_back

        if self._above is not None:
            return self._above.ignore(path, is_folder=is_folder)

        return False


def rules_of(root: str, prefix: str, above: Rules | None) -> Rules | None:
    """Return the rules of the folder *prefix* below *root*, whose parent has *above*.

    *prefix* ends with a slash, or is empty. A link or a huge file is no rule, and
    what cannot be read neither.
    """
    path = f"{root}/{prefix}{GITIGNORE}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return above

    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return above

        text = os.read(descriptor, _SIZE_LIMIT).decode(errors="replace")
    finally:
        os.close(descriptor)

    return Rules(_patterns(text), prefix, above)


def rules_above(root: str, within: str) -> Rules | None:
    """Return the rules that the folder *within* has from those above it.

    `None` in a folder that is left out itself: whoever looks there wants to see it.
    """
    rules: Rules | None = None
    prefix = ""
    for part in within.split("/")[:-1]:
        rules = rules_of(root, prefix, rules)
        if rules is not None and rules.ignore(prefix + part, is_folder=True):
            return None

        prefix += part + "/"

    return rules


def is_ignored(root: Path, path: str) -> bool:
    """Tell whether the file *path* below *root* is left out, or a folder above it."""
    parts = path.split("/")
    rules: Rules | None = None
    prefix = ""
    for depth, part in enumerate(parts, start=1):
        rules = rules_of(os.fspath(root), prefix, rules)
        is_folder = depth < len(parts)
        if rules is not None and rules.ignore(prefix + part, is_folder=is_folder):
            return True

        prefix += part + "/"

    return False


@lru_cache(maxsize=64)
def _patterns(text: str) -> tuple[_Pattern, ...]:
    """Read the lines of a `.gitignore`, the last one first."""
    return tuple(_read(text))[::-1]


def _read(text: str) -> Iterator[_Pattern]:
    for line in text.removeprefix("\ufeff").split("\n"):
        glob = _BLANKS.sub("", line.removesuffix("\r"))
        if not glob or glob.startswith("#"):
            continue

        takes_back = glob.startswith("!")
        glob = glob.removeprefix("!")
        folders_only = glob.endswith("/")
        glob = glob.removesuffix("/")
        anchored = "/" in glob
        glob = glob.removeprefix("/")
        if not glob:
            continue

        try:
            regex = re.compile(("" if anchored else "(?:.*/)?") + _translate(glob))
        except re.error:
            # Such as a range from z to a: git matches nothing by it.
            continue

        yield _Pattern(regex, takes_back, folders_only)


def _translate(glob: str) -> str:
    """Turn a pattern into a regular expression for a whole path."""
    parts: list[str] = []
    segments = glob.split("/")
    last = len(segments) - 1
    for number, segment in enumerate(segments):
        if segment == "**" and last:
            # Folders at any depth; at the end, whatever is below.
            parts.append("(?:.*/)?" if number < last else ".+")
            continue

        parts.append(_translate_segment(segment) + ("/" if number < last else ""))

    return "".join(parts)


def _translate_segment(segment: str) -> str:
    parts: list[str] = []
    place = 0
    while place < len(segment):
        sign = segment[place]
        found = _CLASS.match(segment, place) if sign == "[" else None
        if found is not None:
            parts.append(f"(?!/)[{'^' if found[1] else ''}{_members(found[2])}]")
            place = found.end()
            continue

        if sign == "\\" and place + 1 < len(segment):
            place += 1
            parts.append(re.escape(segment[place]))
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(sign) or re.escape(sign))
        place += 1

    return "".join(parts)


def _members(inside: str) -> str:
    """Return what is between brackets as a regular expression has it."""
    escaped = re.sub(r"(?<!\\)([\[&~|^])", r"\\\1", inside)
    return "\\" + escaped if escaped.startswith("]") else escaped
