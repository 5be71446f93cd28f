"""The native tools for files; each works on one checkout and never leaves it."""

import json
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Annotated

from anyio import to_thread
from pydantic import Field

from mma_runtime.errors import ToolFailed, WorkspaceError
from mma_runtime.tools import search
from mma_runtime.tools.command import run_command
from mma_runtime.tools.sandbox import SandboxMode
from mma_runtime.tools.tool import tool
from mma_runtime.workspace.checkout import Checkout
from mma_runtime.workspace.diff import is_binary
from mma_runtime.workspace.directory_map import draw_map
from mma_runtime.workspace.ignoring import is_ignored

FILE_LIMIT = 5_000_000
"""The biggest file in bytes that can be read or edited."""

SEARCH_SECONDS = 20.0
"""How long a search may take; a bad pattern never ends by itself."""

_PAGE = 7_500
_LISTED = 300
_MATCHES = 100
_PLACES = 10


class FileTools:
    """Tools that read and change the files of *checkout*."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout

    @tool(read_only=True)
    def read_file(
        self,
        path: str,
        start_line: Annotated[int, Field(ge=1)] = 1,
        lines: Annotated[int, Field(ge=1)] | None = None,
    ) -> str:
        """Read a text file, or a part of it. The first line of the answer says which.

        Args:
            path: The file, relative to the project's root.
            start_line: The first line to read; lines count from 1.
            lines: How many lines to read; by default as many as fit.
        """
        text = self._read(path)
        every = text.split("\n")
        if every[-1] == "":
            every.pop()

        if not every:
            return f"{path}: empty"

        if start_line > len(every):
            raise ToolFailed(f"{path!r} has {len(every)} lines only")

        wanted = every[start_line - 1 :][:lines]
        shown, cut = _fitting(wanted)
        last = start_line + len(shown) - 1
        header = f"{path}: lines {start_line}-{last} of {len(every)}"
        if cut:
            header += f"; line {last} is too long and is cut"
        if len(shown) < len(wanted):
            header += f"; continue with start_line={last + 1}"

        return "\n".join([header, *shown])

    @tool(read_only=True)
    def list_directory(
        self, path: str = ".", depth: Annotated[int, Field(ge=1, le=20)] = 1
    ) -> str:
        """List the names in a folder. Folders end with a slash.

        Args:
            path: The folder, relative to the project's root.
            depth: How many levels to show.
        """
        folder = self._checkout.resolve(path)
        if not folder.exists():
            raise ToolFailed(f"there is no folder {path!r}")

        if not folder.is_dir():
            raise ToolFailed(f"{path!r} is a file; read_file shows it")

        checkout = self._checkout
        inside = "" if folder == checkout.root else checkout.relative(folder) + "/"
        return draw_map(checkout.root, _LISTED, depth, inside)

    @tool(read_only=True)
    async def search_files(
        self,
        pattern: str,
        path: str = ".",
        glob: str = "*",
        *,
        ignore_case: bool = False,
    ) -> str:
        """Find the lines that match a regular expression (Python's), in text files.

        Args:
            pattern: The regular expression; it is tried on each line.
            path: The folder or file to search, relative to the project's root.
            glob: Which files: by name ("*.py"), or by path ("src/**/*.py").
            ignore_case: Take capitals and small letters as equal.
        """
        try:
            re.compile(pattern)
        except re.error as error:
            raise ToolFailed(
                f"the pattern is not a regular expression: {error}"
            ) from error

        checkout = self._checkout
        files = await to_thread.run_sync(lambda: sorted(checkout.list_files(path)))
        request = {
            "root": str(checkout.root),
            "files": files,
            "pattern": pattern,
            "glob": glob,
            "ignore_case": ignore_case,
            "max_matches": _MATCHES,
        }
        with _written(checkout.home, json.dumps(request)) as place:
            result = await run_command(
                [sys.executable, "-I", "-S", search.__file__, place],
                checkout.root,
                seconds=SEARCH_SECONDS,
                sandbox=SandboxMode.OFF,  # It is ours, and only reads.
            )

        if result.timed_out:
            raise ToolFailed(
                f"the search did not end within {SEARCH_SECONDS:g} s;"
                " use a simpler pattern, or fewer files"
            )

        if not result.succeeded:
            raise ToolFailed(f"the search failed: {result.output.strip()}")

        found, cut = _fitting(result.output.rstrip("\n").split("\n"))
        return "\n".join(found) + ("\n(more; narrow the search)" if cut else "")

    @tool
    def write_file(self, path: str, content: str) -> str:
        """Write a whole file, new or in place of what was there. Makes its folders.

        Args:
            path: The file, relative to the project's root.
            content: All of its text.
        """
        is_new = self._checkout.write_bytes(path, content.encode())
        lines = content.count("\n") + (not content.endswith("\n") and content != "")
        said = f"{'wrote new file' if is_new else 'replaced'} {path} ({lines} lines)"
        place = self._checkout.relative(self._checkout.resolve(path))
        if is_new and is_ignored(self._checkout.root, place):
            said += "; .gitignore leaves it out, so it is no part of your result"

        return said

    @tool
    def edit_file(
        self, path: str, old: str, new: str, *, replace_all: bool = False
    ) -> str:
        """Replace a passage of a text file by another.

        Args:
            path: The file, relative to the project's root.
            old: The passage, exactly as it is in the file, blanks included. It must be
                there once only: take in enough lines around it.
            new: What to put in its place.
            replace_all: Replace every occurrence instead.
        """
        if not old:
            raise ToolFailed("'old' is empty; write_file writes a whole file")

        if old == new:
            raise ToolFailed("'old' and 'new' are the same; nothing would change")

        text = self._read(path, strict=True)
        if "\r\n" in text and "\r" not in old + new:
            # Models write plain newlines; the file keeps its own.
            old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")

        count = text.count(old)
        if count == 0:
            raise ToolFailed(_absent(path, text, old))

        places = _places(text, old, count)
        if count > 1 and not replace_all:
            raise ToolFailed(
                f"'old' is in {path!r} {count} times, at lines {places};"
                " take in more lines around it, or set replace_all"
            )

        self._checkout.write_bytes(path, text.replace(old, new).encode())
        if count == 1:
            return f"replaced 1 passage of {path} at line {places}"

        return f"replaced {count} passages of {path} at lines {places}"

    def _read(self, path: str, *, strict: bool = False) -> str:
        content = self._checkout.read_bytes(path, limit=FILE_LIMIT)
        if is_binary(content):
            raise ToolFailed(
                f"{path!r} is a binary file ({len(content):,} bytes); only text works"
            )

        if strict:
            return editable_text(path, content)

        return content.decode(errors="replace")


def editable_text(path: str, content: bytes) -> str:
    """Return *content* as text that may be changed and written back.

    Raises `ToolFailed` where the file at *path* is not in UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ToolFailed(
            f"{path!r} is not in UTF-8; an edit would damage it"
        ) from error


@contextmanager
def _written(folder: Path, text: str) -> Generator[str]:
    """Hold *text* in a file for a while; an argument of a command has a limit."""
    place = folder / f"search-{token_hex(8)}.json"
    try:
        try:
            place.write_text(text, encoding="utf-8")
        except OSError as error:
            raise WorkspaceError(f"the search cannot begin: {error}") from error

        yield str(place)
    finally:
        place.unlink(missing_ok=True)


def _fitting(lines: list[str]) -> tuple[list[str], bool]:
    """Return the first lines that fit on a page, and whether the last one is cut."""
    size = 0
    for count, line in enumerate(lines):
        size += len(line) + 1
        if size > _PAGE:
            if count:
                return lines[:count], False

            return [line[:_PAGE]], True

    return lines, False


def _places(text: str, old: str, count: int) -> str:
    """Name the lines of the first places, and say how many more there are."""
    lines: list[str] = []
    line, counted, start = 1, 0, text.find(old)
    while start >= 0 and len(lines) < _PLACES:
        line += text.count("\n", counted, start)
        lines.append(str(line))
        counted, start = start, text.find(old, start + len(old))

    more = f" and {count - _PLACES} more" if count > _PLACES else ""
    return ", ".join(lines) + more


def _absent(path: str, text: str, old: str) -> str:
    """Word that *old* is not there, and where something like it is."""
    message = f"'old' is not in {path!r}"
    sought = [line.strip() for line in old.strip().splitlines()]
    lines = [line.strip() for line in text.splitlines()]
    if sought:
        # As one text, that a search is not begun anew at every line.
        whole = "\n".join(["", *lines, ""])
        start = whole.find("\n".join(["", *sought, ""]))
        if start >= 0:
            number = whole.count("\n", 0, start) + 1
            return (
                f"{message}, but line {number} and those that follow differ from"
                " it only in blanks; copy them exactly"
            )

    return f"{message}; read the file and copy the passage exactly"
