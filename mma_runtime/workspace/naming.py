"""What the nodes of a definition are called, and where its body is."""

import re
from collections.abc import Iterator

from tree_sitter import Node

ANONYMOUS = "(anonymous)"
"""How a definition without a name is called."""

Body = tuple[str, Node]
"""Whether it is the body of a `function` or of a `class`, and the body."""

_WIDTH = 200
_DEPTH = 12
_VALUE_DEPTH = 4
_FUNCTIONS = frozenset(
    {
        "arrow_function",
        "closure_expression",
        "func_literal",
        "function_expression",
        "generator_function",
        "lambda_expression",
    }
)
_AROUND = frozenset(
    {
        "as_expression",
        "assignment_expression",
        "expression_list",
        "parenthesized_expression",
        "satisfies_expression",
    }
)
_CALLS = frozenset({"call_expression", "method_invocation"})
_BODIES = frozenset({"statement_block", "block", "compound_statement", "object"})
_NAME_FIELDS = ("name", "declarator", "left", "property", "key", "type")
_VALUE_FIELDS = ("value", "right", "default_value")
_NAMES = frozenset({"qualified_identifier", "member_expression", "operator_cast"})
_AROUND_NAMES = frozenset({"parenthesized_declarator", "reference_declarator"})
_NAMELESS = frozenset({"enum_specifier", "struct_specifier", "union_specifier"})
_GENERIC = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
_EXPORTS = frozenset({"module.exports", "exports"})
_WORD = re.compile(r"\w+")
_BLANK = re.compile(r"\s+")


def name_of(node: Node) -> str:
    """Return the name of a definition, or `ANONYMOUS`; never more than a line."""
    name = _last_name(node)
    if name in _EXPORTS and (value := value_of(node)) is not None:
        # `module.exports = class Shop {…}` is found as others call it.
        own = value.child_by_field_name("name")
        return _last_name(own) if own is not None else name

    if (receiver := node.child_by_field_name("receiver")) is not None:
        # Go's `(t *T[K])`: the type is the last word, but for its parameters.
        words = _WORD.findall(_GENERIC.sub("", _text(receiver)))
        return f"{words[-1]}.{name}" if words else name

    return name


def declared_in(node: Node) -> list[Node]:
    """Return what names each of the things that one declaration declares."""
    left = node.child_by_field_name("left")
    if left is not None and left.type in {"pattern_list", "tuple_pattern"}:
        found = left.children
    else:
        found = (
            node.children_by_field_name("declarator")
            or [each for each in node.children if each.type == "variable_declarator"]
            or node.children_by_field_name("name")
        )

    return [each for each in found if each.is_named] or [node]


def value_of(node: Node) -> Node | None:
    """Return what a declaration gives to its name, if it gives anything."""
    for field in _VALUE_FIELDS:
        found = node.child_by_field_name(field)
        if found is not None:
            return found

    return None


def body_of(value: Node | None) -> Body | None:
    """Return the body of a value that is a definition at heart.

    So are functions, classes and objects that hold some, and what is called with one
    of them alone, as in `memo(function () {…})` and `defineStore({…})`.
    """
    return next(_bodies(value, _VALUE_DEPTH), None)


def _bodies(value: Node | None, depth: int) -> Iterator[Body]:
    if value is None or depth == 0:
        return

    kind = value.type
    if kind in _FUNCTIONS or kind == "class":
        if (body := value.child_by_field_name("body")) is not None:
            yield ("class" if kind == "class" else "function", body)
    elif kind == "object":
        if any(_is_definition(each, depth - 1) for each in value.named_children):
            yield "class", value
    elif kind == "object_creation_expression":
        if value.children[-1].type == "class_body":
            yield "class", value.children[-1]
    elif kind in _AROUND:
        inner = value.child_by_field_name("right") or value.named_child(0)
        yield from _bodies(inner, depth - 1)
    elif kind in _CALLS:
        yield from _called_with(value, depth - 1)


def _is_definition(member: Node, depth: int) -> bool:
    return member.type == "method_definition" or any(_bodies(value_of(member), depth))


def _called_with(call: Node, depth: int) -> list[Body]:
    arguments = call.child_by_field_name("arguments")
    found = [
        (kind, body)
        for each in (arguments.named_children if arguments else ())
        for kind, body in _bodies(each, depth)
        if body.type in _BODIES
    ]
    return found if len(found) == 1 else []


def _last_name(node: Node) -> str:
    # In C the name is at the end of a chain of declarators.
    start = node
    for _ in range(_DEPTH):
        deeper = _deeper(node)
        if deeper is None or node.type in _NAMES:
            break

        node = deeper

    is_named = node is not start or node.type.endswith("identifier")
    if not is_named or node.type in _NAMELESS:
        return ANONYMOUS

    text = _text(node)
    if not text.startswith("operator"):
        # What is nothing but a computed name, `[Symbol.iterator]`, stays.
        text = _GENERIC.sub("", text) or text

    return _BLANK.sub("", text.strip("\"'&* ").replace("::", "."))[:_WIDTH]


def _deeper(node: Node) -> Node | None:
    if node.type in _AROUND_NAMES:
        return node.named_child(node.named_child_count - 1)

    for field in _NAME_FIELDS:
        found = node.child_by_field_name(field)
        if found is not None:
            return found

    return None


def _text(node: Node) -> str:
    return (node.text or b"").decode(errors="replace")
