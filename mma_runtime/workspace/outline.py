"""What a source file defines: its symbols, how they nest, and where each one lies."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tree_sitter import Node

from mma_runtime.workspace.languages import Language, parse

_DEPTH = 12
_FUNCTION_VALUES = frozenset(
    {"arrow_function", "function_expression", "generator_function", "class"}
)
_NAME_FIELDS = ("name", "declarator", "left", "property", "type")
_GENERIC = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
_NAMES = frozenset({"qualified_identifier", "member_expression"})
_WORD = re.compile(r"\w+")
_BLANK = re.compile(r"\s+")

Range = tuple[int, int]
"""Where something begins and ends, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """One definition. *path* names it with what it lies in: `Class.method`.

    *kind* is `class`, `function` or `value`. It reaches from *start*, comments and
    decorators before it included, to *end*; the definition itself begins at *head* and
    its signature ends at *neck*. *body* and *doc* are where there are any.
    """

    path: str
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
        exact = [symbol for symbol in every if symbol.path == name]
        return exact or [one for one in every if one.path.endswith("." + name)]


def outline(language: Language, source: bytes) -> Outline:
    """Find what *source* defines; broken code gives what can still be told."""
    language, root = parse(language, source)
    reader = _Reader(language, source)
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

    def __init__(self, language: Language, source: bytes) -> None:
        self._language = language
        self._source = source

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
                if node.start_point.row != row:
                    leading.append(node)
                continue

            row = _last_row(node)
            if not node.is_named:
                leading.clear()
                continue

            first = leading[0] if leading and not _apart(leading[-1], node) else None
            yield from self._symbols_of(node, first, inside, depth)
            leading.clear()

    def _symbols_of(
        self, node: Node, first: Node | None, inside: str, depth: int
    ) -> Iterator[Symbol]:
        language = self._language
        kind = node.type
        if kind in language.functions:
            yield self._symbol(node, node, first, inside, depth, kind="function")
        elif kind in language.classes and node.child_by_field_name("body"):
            yield self._symbol(node, node, first, inside, depth, kind="class")
        elif kind in language.wrappers:
            inner = list(self.symbols(node.children, inside, depth + 1))
            if len(inner) == 1:
                yield self._widened(inner[0], node, first)
            else:
                yield from inner
        elif kind in language.values:
            yield from self._values(node, first, inside, depth)
        elif kind == "assignment_expression":
            # `exports.f = function () {…}`: a definition in all but name.
            value = node.child_by_field_name("right")
            if value is not None and value.type in _FUNCTION_VALUES:
                yield self._symbol(
                    node, value, first, inside, depth, kind="function", named=node
                )
        elif kind in language.open or kind == "ERROR":
            yield from self.symbols(node.children, inside, depth + 1)

    def _values(
        self, node: Node, first: Node | None, inside: str, depth: int
    ) -> Iterator[Symbol]:
        declared = [
            child for child in node.children if child.type == "variable_declarator"
        ]
        # `const f = () => …` and the like are functions in all but name.
        for child in declared:
            value = child.child_by_field_name("value")
            if value is not None and value.type in _FUNCTION_VALUES:
                kind = "class" if value.type == "class" else "function"
                outer = node if len(declared) == 1 else child
                yield self._symbol(
                    outer, value, first, inside, depth, kind=kind, named=child
                )
                return

        # In C++ a `struct` is declared as the type of a field.
        inner = node.child_by_field_name("type")
        if inner is not None and inner.type in self._language.classes:
            yield from self._symbols_of(inner, first, inside, depth)
            return

        named = declared[0] if declared else None
        yield self._symbol(node, node, first, inside, depth, kind="value", named=named)

    def _symbol(
        self,
        outer: Node,
        node: Node,
        first: Node | None,
        inside: str,
        depth: int,
        *,
        kind: str,
        named: Node | None = None,
    ) -> Symbol:
        name = self._name(named or node)
        if (receiver := node.child_by_field_name("receiver")) is not None:
            # Go's `(t *T[K])`: the type is the last word, but for its parameters.
            whole = self._text((receiver.start_byte, receiver.end_byte))
            words = _WORD.findall(_GENERIC.sub("", whole))
            name = f"{words[-1]}.{name}" if words else name

        path = f"{inside}.{name}" if inside else name
        body = node.child_by_field_name("body") if kind != "value" else None
        doc: Range | None = None
        members: tuple[Symbol, ...] = ()
        neck = outer.end_byte
        if body is not None:
            neck = _neck(body)
            if kind == "class":
                members = tuple(self.symbols(body.children, path, depth + 1))
            if self._language.docs_inside:
                doc = _docstring(body)

        if doc is None and first is not None:
            doc = (first.start_byte, outer.start_byte)

        return Symbol(
            path=path,
            kind=kind,
            start=first.start_byte if first else outer.start_byte,
            head=outer.start_byte,
            neck=neck,
            end=outer.end_byte,
            body=(body.start_byte, body.end_byte) if body else None,
            doc=doc,
            members=members,
        )

    def _widened(self, symbol: Symbol, node: Node, first: Node | None) -> Symbol:
        own_doc = symbol.doc
        if own_doc is None and first is not None:
            own_doc = (first.start_byte, node.start_byte)

        return Symbol(
            path=symbol.path,
            kind=symbol.kind,
            start=first.start_byte if first else node.start_byte,
            head=node.start_byte,
            neck=symbol.neck if symbol.body else node.end_byte,
            end=node.end_byte,
            body=symbol.body,
            doc=own_doc,
            members=symbol.members,
        )

    def _name(self, node: Node) -> str:
        # In C the name is at the end of a chain of declarators.
        for _ in range(_DEPTH):
            deeper = _deeper(node)
            if deeper is None or node.type in _NAMES:
                break

            node = deeper

        text = _GENERIC.sub("", self._text((node.start_byte, node.end_byte)))
        return _BLANK.sub("", text.strip("\"'&* ").replace("::", "."))

    def _text(self, place: Range) -> str:
        return self._source[place[0] : place[1]].decode(errors="replace")


def _deeper(node: Node) -> Node | None:
    for field in _NAME_FIELDS:
        found = node.child_by_field_name(field)
        if found is not None:
            return found

    return None


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
