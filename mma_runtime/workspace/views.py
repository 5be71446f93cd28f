"""Views of one file: a skeleton, a curated one, or the raw text with line numbers."""

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock

from mma_runtime.errors import WorkspaceError, did_you_mean
from mma_runtime.workspace.diff import is_binary
from mma_runtime.workspace.languages import Language, language_of
from mma_runtime.workspace.outline import Outline, Range, Symbol, outline

FIRST_LINES = 40
"""How many lines are shown of text in a language that views cannot read."""

KEPT_VIEWS = 2_000
"""How many results a `Views` remembers."""

_DOC_WIDTH = 100
_VALUE_WIDTH = 80
_SIGNATURE_WIDTH = 400
_TYPE_LINES = 40
_MARK = re.compile(rb"@core_logic\b|\[HOT\]")
_TYPE = re.compile(r"\b(?:type|typedef|struct|union|enum|interface)\b")
_BREAK = re.compile(r"\s*\n\s*")
_STRING_PREFIX = re.compile(r"^[A-Za-z]{0,2}(\"\"\"|'''|\"|')")
_COMMENT_SIGNS = re.compile(r"^[\s/*!#]+|[\s/*]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is shown of a file.

    *kind* is `skeleton`, `curated`, `raw` or, where the language is unknown,
    `first lines`. *note* says what a reader has to know of it; mostly nothing.
    """

    text: str
    kind: str
    note: str = ""

    def __str__(self) -> str:
        return f"({self.note})\n{self.text}" if self.note else self.text


class Views:
    """Makes views, and remembers them by the file's content.

    May be used by several threads; it blocks, at about a second for some megabytes.
    Knows nothing of folders: the callers read.
    """

    def __init__(self, capacity: int = KEPT_VIEWS) -> None:
        self._capacity = capacity
        self._made: OrderedDict[tuple[object, ...], View | Outline] = OrderedDict()
        self._lock = Lock()

    def skeleton(self, path: str, content: bytes) -> View:
        """Show what a file offers: classes, signatures, types, what each is for.

        Bodies, private names and comments are left out.
        """
        return self._remembered(
            ("skeleton",), path, content, lambda found: _Skeleton(found, content).view()
        )

    def curated(
        self, path: str, content: bytes, *, named: Collection[str] = ()
    ) -> View:
        """Show a file with the bodies of its functions hidden, but for marked ones.

        A mark is `@core_logic` or `[HOT]`, at the definition or in a comment before
        it. *named* are symbols that are shown in full as well, such as
        `Class.method`.
        """
        key = ("curated", *sorted(named))
        return self._remembered(
            key, path, content, lambda found: _curated(found, content, named)
        )

    def raw(self, path: str, content: bytes, symbol: str | None = None) -> View:
        """Show a file, or the definition of one symbol in it, with line numbers.

        Raises:
            WorkspaceError: the symbol is not in it, or it is no text.
        """
        _refuse_binary(path, content)
        if symbol is None:
            return View(text=number_lines(content, (0, len(content))), kind="raw")

        found = self.find(path, content, symbol)
        shown = [number_lines(content, (each.start, each.end)) for each in found]
        return View(text="\n…\n".join(shown), kind="raw")

    def find(self, path: str, content: bytes, symbol: str) -> list[Symbol]:
        """Return the symbols of that name or path; there may be several overloads.

        Raises:
            WorkspaceError: there is none, or the language is unknown.
        """
        outlined = self.outline(path, content)
        if outlined is None:
            raise WorkspaceError(
                f"symbols cannot be read in {path!r}: its language is unknown"
            )

        found = outlined.find(symbol)
        if not found:
            known = {path for one in outlined.walk() for path in one.paths}
            near = did_you_mean(symbol, known | {one.name for one in outlined.walk()})
            raise WorkspaceError(f"there is no {symbol!r} in {path!r}{near}")

        return found

    def outline(self, path: str, content: bytes) -> Outline | None:
        """Return the symbols of a file; `None`: its language is unknown."""
        language = language_of(path)
        if language is None or is_binary(content):
            return None

        key = ("outline", language.name, sha256(content).digest())
        made = self._recall(key)
        if not isinstance(made, Outline):
            made = outline(language, content)
            self._remember(key, made)

        return made

    def _remembered(
        self,
        kind: tuple[str, ...],
        path: str,
        content: bytes,
        make: Callable[[Outline], View],
    ) -> View:
        _refuse_binary(path, content)
        language = language_of(path)
        if language is None:
            return _first_lines(content)

        key = (*kind, language.name, sha256(content).digest())
        made = self._recall(key)
        if not isinstance(made, View):
            made = make(outline(language, content))
            self._remember(key, made)

        return made

    def _recall(self, key: tuple[object, ...]) -> View | Outline | None:
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)

            return self._made.get(key)

    def _remember(self, key: tuple[object, ...], made: View | Outline) -> None:
        with self._lock:
            self._made[key] = made
            if len(self._made) > self._capacity:
                self._made.popitem(last=False)


def number_lines(content: bytes, place: Range) -> str:
    """Return the lines that *place* touches, each with its number."""
    start = content.rfind(b"\n", 0, place[0]) + 1
    stop = content.find(b"\n", max(place[1] - 1, start))
    lines = content[start : len(content) if stop < 0 else stop].split(b"\n")
    first = content.count(b"\n", 0, start) + 1
    width = len(str(first + len(lines)))
    return "\n".join(
        f"{number:>{width}}  {line.decode(errors='replace')}".rstrip()
        for number, line in enumerate(lines, start=first)
    )


def is_private(name: str) -> bool:
    """Tell names that are nobody else's business, as Python and JavaScript do."""
    return name.startswith("#") or (
        name.startswith("_") and not (name.startswith("__") and name.endswith("__"))
    )


class _Skeleton:
    """Draws the skeleton of one file."""

    def __init__(self, found: Outline, source: bytes) -> None:
        self._private = 0
        self._outline = found
        self._language: Language = found.language
        self._source = source

    def view(self) -> View:
        lines: list[str] = []
        if self._outline.doc is not None:
            lines += [self._comment(self._outline.doc).lstrip()]

        for symbol in self._outline.symbols:
            lines += self._draw(symbol, 0)

        if self._private:
            sign = self._language.comment
            lines.append(f"{sign} {self._private:,} private names are left out")

        return View(text="\n".join(lines) or "(defines nothing)", kind="skeleton")

    def _draw(self, symbol: Symbol, depth: int) -> Iterator[str]:
        if is_private(symbol.name):
            self._private += 1
            return

        indent = "  " * depth
        doc = self._comment(symbol.doc) if symbol.doc else ""
        if symbol.kind == "value":
            if not symbol.name.startswith("__"):
                yield indent + self._value(symbol) + doc
            return

        yield indent + self._signature(symbol) + doc
        for member in symbol.members:
            yield from self._draw(member, depth + 1)

    def _signature(self, symbol: Symbol) -> str:
        text = self._text((symbol.head, symbol.neck)).rstrip()
        text = _shorten(_joined(text), _SIGNATURE_WIDTH)
        if self._language.docs_inside and symbol.kind == "function":
            return text + " ..."

        return text

    def _value(self, symbol: Symbol) -> str:
        text = self._text((symbol.head, symbol.end)).strip()
        lines = text.split("\n")
        if _TYPE.search(lines[0]):
            return "\n".join(lines[:_TYPE_LINES])

        return _shorten(_joined(text), _VALUE_WIDTH)

    def _comment(self, place: Range) -> str:
        line = _first_line(self._text(place), inside=self._language.docs_inside)
        sign = self._language.comment
        return f"  {sign} {_shorten(line, _DOC_WIDTH)}" if line else ""

    def _text(self, place: Range) -> str:
        return self._source[place[0] : place[1]].decode(errors="replace")


def _curated(found: Outline, source: bytes, named: Collection[str]) -> View:
    shown = {symbol.path for name in named for symbol in found.find(name)}
    parts: list[bytes] = []
    at = 0
    for start, stop in _hidden(found.symbols, source, shown):
        parts += [source[at:start], found.language.hidden.encode()]
        at = stop

    text = b"".join((*parts, source[at:])).decode(errors="replace")
    return View(text=text, kind="curated")


def _hidden(
    symbols: Collection[Symbol], source: bytes, shown: Collection[str]
) -> Iterator[Range]:
    """Yield the bodies to hide, in order; what a docstring needs stays."""
    for symbol in symbols:
        if symbol.body is None or symbol.path in shown:
            continue

        if _MARK.search(source, symbol.start, symbol.body[0]):
            continue

        if symbol.kind == "class":
            yield from _hidden(symbol.members, source, shown)
            continue

        start, stop = symbol.body
        if symbol.doc is not None and start <= symbol.doc[0] < stop:
            behind = source[symbol.doc[1] : stop]
            start = symbol.doc[1] + len(behind) - len(behind.lstrip())

        if start < stop:
            yield start, stop


def _first_lines(content: bytes) -> View:
    lines = content.decode(errors="replace").split("\n")
    note = "the language is unknown to views"
    if len(lines) > FIRST_LINES:
        note += f"; these are the first {FIRST_LINES} of {len(lines):,} lines"

    return View(text="\n".join(lines[:FIRST_LINES]), kind="first lines", note=note)


def _refuse_binary(path: str, content: bytes) -> None:
    if is_binary(content):
        raise WorkspaceError(f"{path!r} is a binary file; there is no view of it")


def _joined(text: str) -> str:
    """Put a signature into one line, unless a comment would swallow the rest of it."""
    if "\n" not in text or "#" in text or "//" in text:
        return text

    return (
        _BREAK.sub(" ", text).replace("( ", "(").replace(", )", ")").replace(" )", ")")
    )


def _first_line(doc: str, *, inside: bool) -> str:
    """Return the first line of a docstring or comment, without its signs."""
    quote = _STRING_PREFIX.match(doc) if inside else None
    if quote is not None:
        doc = doc[quote.end() :].removesuffix(quote[1])

    for line in doc.split("\n"):
        said = line.strip() if quote else _COMMENT_SIGNS.sub("", line)
        if said and not said.startswith("["):
            return said

    return ""


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
