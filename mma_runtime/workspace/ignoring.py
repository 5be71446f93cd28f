"""What a project's `.gitignore` files leave out, folder by folder."""

import os
import stat
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

GITIGNORE = ".gitignore"

_SIZE_LIMIT = 1_000_000


class _Answer(Protocol):
    include: bool | None


class _Patterns(Protocol):
    def check_file(self, file: str) -> _Answer: ...


class Rules:
    """The patterns that hold in one folder: its own first, then those above it.

    As in git the last pattern that matches decides, and a file nearer to the path
    decides before one further up.
    """

    __slots__ = ("_above", "_depth", "_patterns")

    def __init__(self, patterns: _Patterns, prefix: str, above: "Rules | None") -> None:
        self._patterns = patterns
        self._depth = len(prefix)
        self._above = above

    def ignore(self, path: str, *, is_folder: bool) -> bool:
        """Tell whether *path*, from the root, is left out; its folder is not."""
        below = path[self._depth :] + ("/" if is_folder else "")
        decided = self._patterns.check_file(below).include
        if decided is None and self._above is not None:
            return self._above.ignore(path, is_folder=is_folder)

        return bool(decided)


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
def _patterns(text: str) -> _Patterns:
    # Loaded by the first `.gitignore` that is met: it takes longer than all our own.
    specs = import_module("pathspec")
    return cast("_Patterns", specs.GitIgnoreSpec.from_lines(text.splitlines()))
