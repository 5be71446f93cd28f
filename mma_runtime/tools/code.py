"""The native tools that know what code means: symbols, where they are, and syntax."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from anyio import to_thread
from pydantic import Field
from tree_sitter import Node

from mma_runtime.errors import ToolFailed, WorkspaceError
from mma_runtime.tools.files import editable_text
from mma_runtime.tools.tool import tool
from mma_runtime.workspace.checkout import Checkout
from mma_runtime.workspace.files import VIEW_LIMIT
from mma_runtime.workspace.languages import language_of, parse
from mma_runtime.workspace.outline import Symbol
from mma_runtime.workspace.syntax import syntax_problems

_FOUND = 50
_USAGES = 100
_LINE = 200


class CodeTools:
    """Tools that read and change code in *checkout* by its symbols."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout

    @tool(read_only=True)
    def find_symbol(self, name: str, path: str = ".") -> str:
        """Find where a class, function, method or constant is defined.

        Args:
            name: Its name, or with what it lies in: "Class.method".
            path: The folder or file to look in, relative to the project's root.
        """
        last = name.replace("::", ".").rpartition(".")[2].encode()
        lines: list[str] = []
        for file, content in self._sources(path, last):
            outlined = self._checkout.views.outline(file, content)
            for symbol in outlined.find(name) if outlined else ():
                line = _line(content, symbol.head)
                kind = "" if symbol.kind == "value" else f" {symbol.kind}"
                lines.append(f"{file}:{line}:{kind} {', '.join(symbol.paths)}")

        if not lines:
            return f"there is no definition of {name!r} in {path!r}"

        if len(lines) > _FOUND:
            more = f"(and {len(lines) - _FOUND:,} more; give the path of a folder)"
            return "\n".join([*lines[:_FOUND], more])

        return "\n".join(lines)

    @tool(read_only=True)
    async def get_skeleton(self, path: str) -> str:
        """Show what a file offers: classes, signatures, types and what each is for.

        Much shorter than the file. Bodies, private names and comments are left out.

        Args:
            path: The file, relative to the project's root.
        """
        return f"{path}:\n{await self._checkout.skeleton(path)}"

    @tool(read_only=True)
    async def get_definition(self, symbol: str, path: str) -> str:
        """Show the whole definition of one symbol, with line numbers.

        Args:
            symbol: Its name, or with what it lies in: "Class.method".
            path: The file, relative to the project's root; find_symbol tells it.
        """
        view = await self._checkout.raw(f"{path}:{symbol}")
        return f"{path}:\n{view}"

    @tool
    def update_definition(
        self,
        symbol: str,
        path: str,
        new: str,
        line: Annotated[int, Field(ge=1)] | None = None,
    ) -> str:
        """Replace the whole definition of one symbol, as get_definition shows it.

        Refused when it would break the file's syntax.

        Args:
            symbol: Its name, or with what it lies in: "Class.method".
            path: The file, relative to the project's root.
            new: The new definition, with its decorators and the comments before it,
                without line numbers.
            line: The line it begins at, where several have the same name.
        """
        if not new.strip():
            raise ToolFailed("'new' is empty; edit_file deletes a passage")

        checkout = self._checkout
        content = checkout.read_bytes(path, limit=VIEW_LIMIT)
        editable_text(path, content)
        found = _only(checkout.views.find(path, content, symbol), content, line)
        start = content.rfind(b"\n", 0, found.start) + 1
        indent = content[start : found.start]
        text = new.strip("\n")
        if indent.strip():
            # Something stands before it on its line: it goes where it begins.
            start = found.start
        elif not text.startswith(indent.decode()) or text[len(indent)].isspace():
            put = content[:start] + text.encode() + content[found.end :]
            rows = _rows_in_strings(path, put)
            first = content.count(b"\n", 0, start)
            text = _indented(text, indent.decode(), {row - first for row in rows})

        if b"\r\n" in content and "\r" not in text:
            text = text.replace("\n", "\r\n")

        changed = content[:start] + text.encode() + content[found.end :]
        _refuse_broken(path, content, changed)
        checkout.write_bytes(path, changed)
        last = _line(changed, start + len(text.encode()))
        return (
            f"replaced {found.path} in {path}, now lines {_line(changed, start)}-{last}"
        )

    @tool(read_only=True)
    def find_usages(self, name: str, path: str = ".") -> str:
        """Find where a name is used in code; comments and strings do not count.

        Args:
            name: One name, without what it lies in.
            path: The folder or file to look in, relative to the project's root.
        """
        word = name.replace("::", ".").rpartition(".")[2]
        if not word:
            raise ToolFailed("'name' is empty")

        lines: list[str] = []
        for file, content in self._sources(path, word.encode()):
            for usage in _usages(file, content, word.encode()):
                if len(lines) == _USAGES:
                    lines.append(f"(more than {_USAGES} usages; give a folder's path)")
                    return "\n".join(lines)

                lines.append(f"{file}:{usage.line}: {usage.text}")

        return "\n".join(lines) or f"{word!r} is not used in code in {path!r}"

    @tool(read_only=True)
    def check_syntax(self, path: str) -> str:
        """Tell whether a file's syntax is right, without running anything.

        Args:
            path: The file, relative to the project's root.
        """
        content = self._checkout.read_bytes(path, limit=VIEW_LIMIT)
        problems = syntax_problems(path, content)
        if problems is None:
            return f"{path}: its language is unknown; nothing was checked"

        if not problems:
            return f"{path}: the syntax is right"

        return "\n".join([f"{path}:", *problems])

    @tool(read_only=True)
    async def git_diff(self, path: str | None = None) -> str:
        """Show what this ticket has changed so far, as a unified diff.

        Args:
            path: A file or folder, relative to the project's root; by default all.
        """
        diff = await self._checkout.diff()
        if path is not None:
            place = self._checkout.relative(self._checkout.resolve(path))
            diff = diff.within(place)

        return await to_thread.run_sync(partial(getattr, diff, "text")) or "no changes"

    def _sources(self, path: str, word: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the code files below *path* that have *word* in them."""
        for file in sorted(self._checkout.list_files(path)):
            if language_of(file) is None:
                continue

            try:
                content = self._checkout.read_bytes(file, limit=VIEW_LIMIT)
            except WorkspaceError:
                # Huge, gone meanwhile or a link: not what is looked for.
                continue

            if word in content:
                yield file, content


@dataclass(frozen=True, slots=True)
class _Usage:
    line: int
    text: str


def _usages(path: str, content: bytes, word: bytes) -> Iterator[_Usage]:
    language = language_of(path)
    if language is None:
        return

    _, root = parse(language, content)
    shown = 0
    for match in re.finditer(rb"(?<!\w)" + re.escape(word) + rb"(?!\w)", content):
        node = root.descendant_for_byte_range(match.start(), match.end())
        line = _line(content, match.start())
        if node is None or line == shown or not _is_code(node):
            continue

        shown = line
        start = content.rfind(b"\n", 0, match.start()) + 1
        stop = content.find(b"\n", match.start())
        text = content[start : len(content) if stop < 0 else stop]
        yield _Usage(line, text.decode(errors="replace").strip()[:_LINE])


def _is_code(node: Node) -> bool:
    """Whether a node is a name, and not a word in a comment or a string."""
    return "comment" not in node.type and "string" not in node.type


def _only(found: list[Symbol], content: bytes, line: int | None) -> Symbol:
    places = [_line(content, each.start) for each in found]
    if line is not None:
        heads = [_line(content, each.head) for each in found]
        for each, first, head in zip(found, places, heads, strict=True):
            if line in (first, head):
                return each

    if len(found) == 1 and line is None:
        return found[0]

    shown = ", ".join(map(str, places))
    raise ToolFailed(
        f"{found[0].path!r} is defined at line {shown}; say which by `line`"
    )


def _indented(text: str, indent: str, kept: Collection[int]) -> str:
    """Give *text* that indentation, but for its *kept* rows, which lie in strings."""
    lines = dict(enumerate(text.split("\n")))
    moved = {row: line for row, line in lines.items() if row not in kept}
    margin = min(
        len(line) - len(line.lstrip()) for line in moved.values() if line.strip()
    )
    for row, line in moved.items():
        lines[row] = indent + line[margin:] if line.strip() else ""

    return "\n".join(lines.values())


def _rows_in_strings(path: str, content: bytes) -> set[int]:
    """Return the rows that begin within a string, whose value an indent would change.

    A string that stands alone is documentation, and moves with its code.
    """
    language = language_of(path)
    if language is None:
        return set()

    _, root = parse(language, content)
    rows: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if _is_string(node):
            if node.parent is None or node.parent.type != "expression_statement":
                rows.update(range(node.start_point.row + 1, node.end_point.row + 1))
        elif node.end_point.row > node.start_point.row:
            pending += node.children

    return rows


def _is_string(node: Node) -> bool:
    return "string" in node.type and node.type != "concatenated_string"


def _refuse_broken(path: str, before: bytes, after: bytes) -> None:
    problems = syntax_problems(path, after)
    if problems and not syntax_problems(path, before):
        raise ToolFailed(
            "nothing was changed: the file could not be read any more\n"
            + "\n".join(problems)
        )


def _line(content: bytes, place: int) -> int:
    return content.count(b"\n", 0, place) + 1
