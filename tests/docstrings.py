"""The public names, what their code raises, and what is said of their numbers."""

import ast
import builtins
import inspect
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import mma_runtime
import mma_runtime.testing
from mma_runtime import errors

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
OURS = ("mma_", "tests.")


@dataclass(frozen=True, slots=True)
class Public:
    """A public class or function; of a method *owner* is the class."""

    name: str
    value: Any
    owner: type | None = None

    @property
    def text(self) -> str:
        """Its docstring in one line; of a class with that of its constructor."""
        found = inspect.getdoc(self.value) or ""
        if isinstance(self.value, type):
            made = vars(self.value).get("__init__")
            found += f" {getattr(made, '__doc__', None) or ''}"

        return " ".join(found.split())


def described(*, exported: bool = True) -> Iterator[Any]:
    """Return what the pages of the reference name, and what is *exported* besides."""
    for package in (mma_runtime, mma_runtime.testing) if exported else ():
        for name in package.__all__:
            yield getattr(package, name)

    for page in PAGES:
        for target in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE):
            yield _resolved(target)


def public(*, exported: bool = True) -> list[Public]:
    """Return the classes and functions among `described`, and their public members."""
    found: dict[str, Public] = {}
    for value in described(exported=exported):
        for one in _within(value):
            found.setdefault(one.name, one)

    return list(found.values())


def _resolved(target: str) -> Any:
    try:
        return import_module(target)
    except ModuleNotFoundError:
        module, _, name = target.rpartition(".")
        return getattr(import_module(module), name)


def _within(value: Any) -> Iterator[Public]:
    if isinstance(value, ModuleType):
        for name in getattr(value, "__all__", None) or vars(value):
            member = getattr(value, name)
            home = getattr(member, "__module__", "")
            if not name.startswith("_") and home.startswith(value.__name__):
                yield from _within(member)
    elif isinstance(value, type):
        yield Public(_name(value), value)
        for name, member in vars(value).items():
            function = _function(member)
            is_ours = getattr(function, "__module__", "").startswith(OURS)
            if not name.startswith("_") and is_ours:
                yield Public(f"{_name(value)}.{name}", function, value)
    elif isinstance(value, FunctionType):
        yield Public(_name(value), value)


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _function(member: Any) -> FunctionType | None:
    member = getattr(member, "fget", None) or getattr(member, "__func__", member)
    return member if isinstance(member, FunctionType) else None


# --- what is raised -------------------------------------------------------------


def raised(one: Public) -> set[type[BaseException]]:
    """Return what its code raises by itself and by the functions that it calls by name.

    Of a class it is what its constructor raises. What is caught is left out, and what
    objects raise whose class only shows when it runs.
    """
    function, owner = one.value, one.owner
    if isinstance(function, type):
        members, owner = vars(function), function
        function = members.get("__init__") or members.get("__post_init__")

    function = inspect.unwrap(function) if callable(function) else None
    if not isinstance(function, FunctionType):
        return set()

    return _raised_by(function, owner, set())


def _raised_by(
    function: FunctionType, owner: type | None, seen: set[FunctionType]
) -> set[type[BaseException]]:
    if function in seen or not function.__module__.startswith(OURS):
        return set()

    seen.add(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:  # A dataclass's own constructor has no source.
        return set()

    walker = _Walker(function, owner, seen)
    walker.visit(tree)
    return walker.found


class _Walker(ast.NodeVisitor):
    def __init__(
        self, function: FunctionType, owner: type | None, seen: set[FunctionType]
    ) -> None:
        self.found: set[type[BaseException]] = set()
        self._function = function
        self._owner = owner
        self._seen = seen

    def visit_Raise(self, node: ast.Raise) -> None:
        made = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if isinstance(made, ast.Name):
            kind = self._global(made.id)
            if isinstance(kind, type) and issubclass(kind, BaseException):
                self.found.add(kind)

        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name):
                called, owner = self._global(name), None
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                called, owner = getattr(self._owner, name, None), self._owner
            case _:
                called, owner = None, None

        function = _function(called)
        if function is not None:
            self.found |= _raised_by(inspect.unwrap(function), owner, self._seen)

        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        inner = _Walker(self._function, self._owner, self._seen)
        for statement in node.body:
            inner.visit(statement)

        caught = tuple(
            kind
            for handler in node.handlers
            if handler.type is not None
            for name in ast.walk(handler.type)
            if isinstance(name, ast.Name)
            if isinstance(kind := self._global(name.id), type)
        )
        self.found |= {one for one in inner.found if not issubclass(one, caught)}
        for part in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(part)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        # What is defined within is called by somebody else.
        if node.name == self._function.__name__:
            self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def _global(self, name: str) -> Any:
        return self._function.__globals__.get(name, getattr(builtins, name, None))


def named(one: Public) -> tuple[type[BaseException], ...]:
    """Return the errors that its docstring names, or those that it refers to do."""
    text = one.text
    if re.search(r"[Rr]aises (what|as)", text):
        for name in re.findall(r"`(?:\w+\.)*(\w+)`", text):
            text += "".join(f" {other.text}" for other in _by_last_name().get(name, ()))

    words = set(re.findall(r"\w+", text))
    kinds = [getattr(errors, word, getattr(builtins, word, None)) for word in words]
    return tuple(
        kind
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, BaseException)
    )


@cache
def _by_last_name() -> dict[str, list[Public]]:
    found = defaultdict[str, list[Public]](list)
    for one in public():
        found[one.name.rpartition(".")[2]].append(one)

    return found


# --- units ----------------------------------------------------------------------

_NUMBER = re.compile(r"\b(int|float|Decimal|timedelta)\b")
_TELLING = frozenset(
    (
        *("attempt", "attempts", "bytes", "calls", "characters", "column", "count"),
        *("events", "exit_code", "files", "in_flight", "line", "lines", "messages"),
        *("minute", "requests", "restarts", "rounds", "seconds", "tickets", "tokens"),
        *("tries", "turn", "turns", "usd"),
    )
)
"""What tells the unit of a number in its own name."""

_UNIT = re.compile(
    r"\b(seconds?|minutes?|days?|dollars|tokens?|characters|bytes|calls|requests"
    r"|rounds|attempts|tickets|tracks|events?|messages|lines?|columns?|files|times"
    r"|turns|counts|how (many|often)|number of|per cent|share|from [01]|HTTP"
    r"|restarts|items|the place|version|whole number)\b",
    re.IGNORECASE,
)


def numbers(one: Public) -> Iterator[tuple[str, str]]:
    """Return the names of its numbers with what is said of each."""
    value: Any = one.value
    told = _told_beside(value) if inspect.isclass(value) else {}
    annotated: list[Any] = [value]
    if inspect.isclass(value) and not is_dataclass(value):
        annotated.append(getattr(value, "__init__", None))

    for name in (name for part in annotated for name in _numbers_of(part)):
        if name == "return":
            yield one.name.rpartition(".")[2], one.text
        else:
            yield name, told.get(name) or _sentences_on(name, one.text)


def has_unit(name: str, told: str) -> bool:
    """Whether the unit of the number *name* is told, by its name or in words."""
    parts = {name, *name.split("_")}
    return bool(parts & _TELLING) or _UNIT.search(told) is not None


def _numbers_of(value: Any) -> Iterator[str]:
    if isinstance(value, type | FunctionType):
        for name, hint in inspect.get_annotations(value).items():
            if not name.startswith("_") and _NUMBER.search(str(hint)):
                yield name


def _told_beside(kind: type) -> dict[str, str]:
    """Return what is said of attributes where they stand."""
    fields: Mapping[str, Any] = getattr(kind, "model_fields", {})
    told: dict[str, str] = {
        name: field.description or "" for name, field in fields.items()
    }
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    body: list[ast.stmt] = getattr(tree, "body", [])
    for pair in pairwise(body):
        match pair:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                told[name] = text
            case _:
                pass

    return told


def _sentences_on(name: str, text: str) -> str:
    sentences = re.split(r"(?<=[.;:])\s+", text)
    return " ".join(one for one in sentences if re.search(rf"[*`]{name}[*`]", one))
