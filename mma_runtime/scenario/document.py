"""A YAML text as plain data, with the line and column of every key and value.

Scalars stay texts, exactly as written (`0.10`, `no`, `007`), except an empty one and
`null`, which are `None`: what a text means is decided by the key that it stands under.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from mma_runtime.errors import Problem
from mma_runtime.scenario.checks import Loc, dotted
from mma_runtime.scenario.references import is_kept

# A scenario has some hundred nodes; aliases of aliases can make billions of a few.
MAX_NODES = 100_000
MAX_DEPTH = 50
MAX_BYTES = 1_000_000

_WORDS = {
    "found character '\\t' that cannot start any token": (
        "a tab; YAML is indented with spaces"
    ),
    "mapping values are not allowed here": (
        "a `:` is not expected here; put a text that has one in quotes"
    ),
    "found duplicate anchor": "an anchor with this name is there already",
    "but found another document": "a second document; a scenario is one document",
}


_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
_YAML = "tag:yaml.org,2002:"
_NULL = f"{_YAML}null"
_MERGE = f"{_YAML}merge"
_TAGS = {
    f"{_YAML}{kind}"
    for kind in (
        "map",
        "seq",
        "str",
        "null",
        "bool",
        "int",
        "float",
        "timestamp",
        "value",
        "merge",
    )
}


class Unreadable(Exception):
    """The text is not YAML that can be used; `problem` says why and where."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text; both count from 1."""

    line: int
    column: int


Expand = Callable[[str], tuple[str, list[tuple[str, str]]]]
"""Takes a text; returns it with references replaced, and (reference, problem) pairs."""


@dataclass(slots=True)
class Document:
    """Plain *data*, where each key and value of it stands, and what was wrong."""

    data: object = None
    keys: dict[Loc, Mark] = field(default_factory=dict[Loc, Mark])
    values: dict[Loc, Mark] = field(default_factory=dict[Loc, Mark])
    problems: list[Problem] = field(default_factory=list[Problem])

    def problem(self, loc: Loc, message: str, *, at_key: bool = False) -> Problem:
        """Return *message* as a problem with the place of *loc* or what holds it."""
        place = loc
        known = self.keys if at_key else self.values
        mark = known.get(place)
        while mark is None and place:
            place = place[:-1]
            mark = self.keys.get(place) or self.values.get(place)

        mark = mark or Mark(1, 1)
        return Problem(
            message=message, path=dotted(loc), line=mark.line, column=mark.column
        )


def compose(text: str) -> Node:
    """Return the node tree of *text*.

    Raises:
        Unreadable: It is not YAML, is empty, or has more than one document.
    """
    try:
        node = yaml.SafeLoader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise Unreadable(_syntax_problem(error)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"the character U+{error.character:04X} must not be in a YAML file"
        raise Unreadable(Problem(message=message, line=line, column=1)) from error
    except RecursionError as error:
        raise Unreadable(Problem(message=_TOO_DEEP, line=1, column=1)) from error

    if node is None:
        raise Unreadable(Problem(message="empty; begin with `name:`"))

    return node


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    said = error.problem or "a syntax error"
    words = next(
        (words for begin, words in _WORDS.items() if said.startswith(begin)), ""
    )
    if not words:
        context = f" {error.context}" if error.context else ""
        words = f"not valid YAML{context}: {said}"

    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(message=words)

    return Problem(message=words, line=mark.line + 1, column=mark.column + 1)


def read(node: Node, expand: Expand, source: str, loc: Loc = ()) -> Document:
    """Turn *node* of *source* into data under *loc*; texts go through *expand*.

    Raises:
        Unreadable: Aliases of aliases make it too large.
    """
    reader = _Reader(expand, source)
    reader.document.data = reader.value(node, loc)
    return reader.document


class _Reader:
    def __init__(self, expand: Expand, source: str) -> None:
        self.document = Document()
        self._expand = expand
        self._source = source
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: Node, loc: Loc) -> object:
        """Return the data of *node* and note where it stands."""
        self.document.values[loc] = _mark(node)
        self._guard(node, loc)
        if id(node) in self._open:
            self._say(node, loc, "an alias that contains itself")
            return None

        if node.tag not in _TAGS:
            # Read as if it were not there, so that nothing else is wrong with it.
            self._say(node, loc, f"the tag {node.tag!r} means nothing here; drop it")

        self._open.add(id(node))
        value = self._by_kind(node, loc)
        self._open.discard(id(node))
        return value

    def _by_kind(self, node: Node, loc: Loc) -> object:
        if isinstance(node, MappingNode):
            return self._mapping(node, loc)

        if isinstance(node, SequenceNode):
            return [
                self.value(item, (*loc, place)) for place, item in enumerate(node.value)
            ]

        return self._scalar(node, loc)

    def _scalar(self, node: Node, loc: Loc) -> str | None:
        if node.tag == _NULL:
            return None

        if is_kept(loc):
            return str(node.value)

        text, problems = self._expand(str(node.value))
        for reference, message in problems:
            self._say(node, loc, message, mark=self._mark_of(reference, node))

        return text

    def _mark_of(self, reference: str, node: Node) -> Mark:
        index = self._source.find(reference, node.start_mark.index, node.end_mark.index)
        if index < 0:
            return _mark(node)

        line_start = self._source.rfind("\n", 0, index) + 1
        return Mark(self._source.count("\n", 0, index) + 1, index - line_start + 1)

    def _mapping(self, node: MappingNode, loc: Loc) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in self._pairs(node, loc):
            if not isinstance(key_node, ScalarNode):
                self._say(key_node, loc, "a key has to be a word")
                continue

            place = (*loc, str(key_node.value))
            if place in self.document.keys:
                line = self.document.keys[place].line
                self._say(key_node, place, f"this key is in line {line} already")
                continue

            self.document.keys[place] = _mark(key_node)
            data[key_node.value] = self.value(value_node, place)

        return data

    def _pairs(self, node: MappingNode, loc: Loc) -> list[tuple[Node, Node]]:
        """Return what the mapping says, and what it does not but its `<<` does."""
        pairs = [pair for pair in node.value if pair[0].tag != _MERGE]
        names = {key.value for key, _ in pairs if isinstance(key, ScalarNode)}
        for key, value in node.value:
            if key.tag != _MERGE:
                continue

            for base in value.value if isinstance(value, SequenceNode) else [value]:
                self._guard(base, loc)
                if not isinstance(base, MappingNode) or id(base) in self._open:
                    self._say(base, loc, "`<<` takes another table or a list of them")
                    continue

                more = [
                    pair
                    for pair in self._pairs(base, loc)
                    if pair[0].value not in names
                ]
                names.update(key.value for key, _ in more)
                pairs += more

        return pairs

    def _guard(self, node: Node, loc: Loc) -> None:
        """Refuse what a few aliases or brackets can blow up to."""
        self._count += 1
        if self._count > MAX_NODES:
            self._say(node, loc, f"aliases make this more than {MAX_NODES:,} entries")
            raise Unreadable(self.document.problems[-1])

        if len(self._open) > MAX_DEPTH:
            self._say(node, loc[:1], _TOO_DEEP)
            raise Unreadable(self.document.problems[-1])

    def _say(
        self, node: Node, loc: Loc, message: str, *, mark: Mark | None = None
    ) -> None:
        mark = mark or _mark(node)
        self.document.problems.append(
            Problem(
                message=message, path=dotted(loc), line=mark.line, column=mark.column
            )
        )


def _mark(node: Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)
