"""What a source file defines: its symbols, how they nest, and where each one lies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tree_sitter import Node

from mma_runtime.workspace.languages import Language, parse
from mma_runtime.workspace.naming import (
    ANONYMOUS,
    body_of,
    declared_in,
    name_of,
    value_of,
)

_DEPTH = 12

Range = tuple[int, int]
"""Where something begins and ends, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """One definition. *path* names it with what it lies in: `Class.method`.

    *also* are the paths of what it defines beside: `b` in `a, b = 1, 2`. *kind* is
    `class`, `function` or `value`. It reaches from *start*, comments and decorators
    before it included, to *end*; the definition itself begins at *head* and its
    signature ends at *neck*. *body* and *doc* are where there are any.
    """

    path: str
    also: tuple[str, ...] = ()
    kind: str
    start: int
    head: int
    neck: int
    end: int
    body: Range | None = None
    doc: Range | None = None
    members: "tuple[Symbol, ...]" = ()

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def paths(self) -> tuple[str, ...]:
        """All that it defines, its own path first."""
        return (self.path, *self.also)

    def walk(self) -> "Iterator[Symbol]":
        """Yield this symbol and all that lie in it, in order."""
        yield self
        for member in self.members:
            yield from member.walk()


@dataclass(frozen=True, slots=True)
class Outline:
    """The symbols of one file and its own documentation."""

    language: Language
    symbols: tuple[Symbol, ...]
    doc: Range | None = None

    def walk(self) -> Iterator[Symbol]:
        """Yield every symbol, in order."""
        for symbol in self.symbols:
            yield from symbol.walk()

    def find(self, name: str) -> list[Symbol]:
        """Return the symbols with that path, or else those whose path ends with it.

        There may be several: overloads, a property and its setter.
        """
        name = name.replace("::", ".").strip(".")
        every = list(self.walk())
        exact = [symbol for symbol in every if name in symbol.paths]
        return exact or [
            symbol
            for symbol in every
            if any(path.endswith("." + name) for path in symbol.paths)
        ]


def outline(language: Language, source: bytes) -> Outline:
    """Find what *source* defines; broken code gives what can still be told."""
    language, root = parse(language, source)
    reader = _Reader(language)
    symbols = tuple(reader.symbols(root.children, "", 0))
    doc = None
    if language.docs_inside:
        doc = _docstring(root)
    elif root.children and root.children[0].type in language.leading:
        first = root.children[0]
        if not symbols or symbols[0].start != first.start_byte:
            doc = (first.start_byte, first.end_byte)

    return Outline(language, symbols, doc)


class _Reader:
    """Reads the nodes of one file."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def symbols(
        self, nodes: Sequence[Node], inside: str, depth: int
    ) -> Iterator[Symbol]:
        """Yield the symbols that *nodes* define, in order."""
        language = self._language
        leading: list[Node] = []
        row = -1
        for node in nodes if depth < _DEPTH else ():
            kind = node.type
            if kind in language.leading:
                if leading and _apart(leading[-1], node):
                    leading.clear()
                # A comment behind code belongs to that code.
                if node.start_point.row != row or not _is_comment(node):
                    leading.append(node)
                continue

            row = _last_row(node)
            if not node.is_named:
                leading.clear()
                continue

            if leading and _apart(leading[-1], node):
                leading.clear()

            yield from self._symbols_of(node, tuple(leading), inside, depth)
            leading.clear()

    def _symbols_of(
        self, node: Node, leading: Sequence[Node], inside: str, depth: int
    ) -> Iterator[Symbol]:
        language = self._language
        kind = node.type
        body = node.child_by_field_name("body")
        if kind in language.functions:
            yield self._symbol(node, leading, inside, depth, ("function", body))
        elif kind in language.classes and body is not None:
            yield self._symbol(node, leading, inside, depth, ("class", body))
        elif kind in language.wrappers:
            yield from self._wrapped(node, leading, inside, depth)
        elif kind in language.values:
            yield from self._values(node, leading, inside, depth)
        elif kind == "assignment_expression":
            # `exports.f = function () {…}`: a definition in all but name.
            if (found := body_of(value_of(node))) is not None:
                yield self._symbol(node, leading, inside, depth, found)
        elif kind == "call_expression":
            # Old scripts lie in a function that is called at once.
            if (found := body_of(node.child_by_field_name("function"))) is not None:
                yield from self.symbols(found[1].children, inside, depth + 1)
        elif kind in language.open or kind == "ERROR":
            yield from self.symbols(node.children, inside, depth + 1)

    def _wrapped(
        self, node: Node, leading: Sequence[Node], inside: str, depth: int
    ) -> Iterator[Symbol]:
        inner = list(self.symbols(node.children, inside, depth + 1))
        if len(inner) == 1:
            yield _widened(inner[0], node, leading)
        elif inner:
            yield from inner
        elif (found := body_of(node.child_by_field_name("value"))) is not None:
            # `export default () => …`: this is how others name it.
            names = [_within(inside, "default")]
            yield self._symbol(node, leading, inside, depth, found, names=names)

    def _values(
        self, node: Node, leading: Sequence[Node], inside: str, depth: int
    ) -> Iterator[Symbol]:
        # In C++ a `struct` is declared as the type of a field.
        inner = node.child_by_field_name("type")
        if inner is not None and inner.type in self._language.classes:
            yield from self._symbols_of(inner, leading, inside, depth)
            return

        # `const f = () => …` and the like are functions in all but name.
        declared = declared_in(node)
        found = [body_of(value_of(each)) for each in declared]
        if len(declared) > 1 and any(found):
            for each, body in zip(declared, found, strict=True):
                what = body or ("value", None)
                yield self._symbol(each, (), inside, depth, what)

            return

        names = [_within(inside, name_of(each)) for each in declared]
        what = found[0] or body_of(value_of(node)) or ("value", None)
        yield self._symbol(node, leading, inside, depth, what, names=names)

    def _symbol(
        self,
        node: Node,
        leading: Sequence[Node],
        inside: str,
        depth: int,
        what: tuple[str, Node | None],
        *,
        names: Sequence[str] = (),
    ) -> Symbol:
        kind, body = what
        path, *also = names or [_within(inside, name_of(node))]
        doc: Range | None = None
        members: tuple[Symbol, ...] = ()
        neck = node.end_byte
        if body is not None:
            neck = _neck(body)
            if kind == "class":
                # What lies in a namespace without a name is named as if beside it.
                within = inside if path.endswith(ANONYMOUS) else path
                members = tuple(self.symbols(body.children, within, depth + 1))
            if self._language.docs_inside:
                doc = _docstring(body)

        return Symbol(
            path=path,
            also=tuple(also),
            kind=kind,
            start=leading[0].start_byte if leading else node.start_byte,
            head=node.start_byte,
            neck=neck,
            end=node.end_byte,
            body=(body.start_byte, body.end_byte) if body else None,
            doc=doc or _comment(leading),
            members=members,
        )


def _within(inside: str, name: str) -> str:
    return f"{inside}.{name}" if inside else name


def _widened(symbol: Symbol, node: Node, leading: Sequence[Node]) -> Symbol:
    """Return *symbol* with what stands around it, as decorators do."""
    return replace(
        symbol,
        start=leading[0].start_byte if leading else node.start_byte,
        head=node.start_byte,
        neck=symbol.neck if symbol.body else node.end_byte,
        end=node.end_byte,
        doc=symbol.doc or _comment(leading),
    )


def _comment(leading: Sequence[Node]) -> Range | None:
    comments = [node for node in leading if _is_comment(node)]
    return (comments[0].start_byte, comments[-1].end_byte) if comments else None


def _is_comment(node: Node) -> bool:
    return node.type.endswith("comment")


def _neck(body: Node) -> int:
    before = body.prev_sibling
    while before is not None and before.type == "comment":
        before = before.prev_sibling

    return before.end_byte if before is not None else body.start_byte


def _docstring(body: Node) -> Range | None:
    for child in body.children:
        if child.type == "comment":
            continue

        if child.type != "expression_statement" or not child.children:
            return None

        string = child.children[0]
        if string.type != "string":
            return None

        return string.start_byte, string.end_byte

    return None


def _apart(one: Node, other: Node) -> bool:
    """Whether there is an empty line between two nodes."""
    return other.start_point.row - _last_row(one) > 1


def _last_row(node: Node) -> int:
    """Return the row of a node's last sign; some take in the newline behind it."""
    end = node.end_point
    return end.row if end.column else end.row - 1
