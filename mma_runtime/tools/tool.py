"""A function that a model may call: its schema, its checks, its answer."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import Field, field, make_dataclass
from functools import cached_property, partial
from typing import (
    Annotated,
    Any,
    Protocol,
    Self,
    cast,
    get_type_hints,
    overload,
)

import pydantic
from anyio import to_thread
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails, to_json

from mma_runtime.arguments import check_members, check_text, several
from mma_runtime.errors import (
    ArgumentInvalid,
    ConfigurationError,
    ToolFailed,
    did_you_mean,
)
from mma_runtime.llm.chat import Image, Text, ToolSpec

Content = tuple[Text | Image, ...]
"""What a tool says to the model."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ARGS_SECTION = re.compile(r"^Args:\s*$", re.MULTILINE)
_ARGS_LINE = re.compile(r"^ {2,8}(\w+)(?: \([^)]*\))?: (.*)$")
_NAMED = "a name of up to 64 letters, digits, '_' and '-'"
_CONFIG = pydantic.ConfigDict(extra="forbid")
_SHOWN = 80


class Tool(Protocol):
    """What a toolbox holds: one thing that a model may ask for.

    Tools in Python come from `@tool`; others implement this.
    """

    @property
    def name(self) -> str:
        """What the model calls it."""
        ...

    @property
    def spec(self) -> ToolSpec:
        """What a provider needs to know of it."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether it changes nothing, so that it may run beside others."""
        ...

    async def call(self, arguments: Mapping[str, Any]) -> Content:
        """Check *arguments*, do the work, and return what the model gets to see.

        Cancellation ends the work; nothing of it may go on after that.

        Raises:
            ToolFailed: the arguments are wrong or the work failed; worded for a model.
        """
        ...


def checked_tools(given: Iterable[Tool]) -> tuple[Tool, ...]:
    """Return *given*.

    Raises:
        ArgumentInvalid: Something among it was not made a tool.
        ConfigurationError: Two have the same name.
    """
    tools = several("tools", given, "several tools")
    names: set[str] = set()
    for place, one in enumerate(tools):
        name = f"tools[{place}]"
        if callable(one) and not hasattr(one, "spec"):
            raise ArgumentInvalid(name, one, "a tool (put `@tool` above it)")

        check_members(name, one, _MEMBERS, "a `Tool`")
        if one.name in names:
            raise ConfigurationError(f"two tools are named {one.name!r}")

        names.add(one.name)

    return tools


_MEMBERS = ("name", "spec", "read_only", "call")


class FunctionTool:
    """A tool made of a function, or of a method and the object that it is bound to.

    Called, it is that function still: nothing is checked or put into words for a model.

    Read from an object, a decorated method is a tool bound to it; that costs nothing,
    because the schema belongs to the function.
    """

    __slots__ = ("_bound", "_function")

    def __init__(self, function: "ToolFunction", bound: tuple[object, ...]) -> None:
        self._function = function
        self._bound = bound

    def __get__(self, instance: object | None, owner: type | None = None) -> Self:
        if instance is None or not self._function.is_method:
            return self

        return type(self)(self._function, (instance,))

    def __repr__(self) -> str:
        return f"<tool {self.name!r}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as it was before it was made a tool; an async one is to be
        awaited. Raises what it raises, and cancellation is as there.
        """
        return self._function.function(*self._bound, *args, **kwargs)

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self._function.name

    @property
    def description(self) -> str:
        """What the model is told of it."""
        return self._function.description

    @property
    def spec(self) -> ToolSpec:
        """What a provider needs to know of it; made on first use."""
        return self._function.spec

    @property
    def read_only(self) -> bool:
        """Whether it changes nothing, so that it may run beside others."""
        return self._function.read_only

    async def call(self, arguments: Mapping[str, Any]) -> Content:
        """Check *arguments*, call the function, and return what the model gets to see.

        A plain function runs in a worker thread. When the call is cancelled, a
        read-only one is left to end by itself, any other is waited for: nothing may be
        written after a run has ended.

        Raises:
            ToolFailed: the arguments do not fit, or the function says so itself.
        """
        function = self._function
        values = function.check(arguments)
        if function.is_async:
            return as_content(await function.function(*self._bound, **values))

        work = partial(function.function, *self._bound, **values)
        return as_content(
            await to_thread.run_sync(work, abandon_on_cancel=function.read_only)
        )


class ToolFunction:
    """A function with what its annotations and docstring say; made once for each."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None,
        description: str | None,
        read_only: bool,
    ) -> None:
        self.function = function
        own: str = getattr(function, "__name__", "")
        self.name: str = name or own
        self.read_only = read_only
        self.is_async: bool = inspect.iscoroutinefunction(function)
        text, self._about = _read_docstring(inspect.getdoc(function) or "")
        self.description: str = text if description is None else description
        parameters = tuple(inspect.signature(function).parameters.values())
        self.is_method: bool = bool(parameters) and parameters[0].name == "self"
        self._parameters = parameters[1:] if self.is_method else parameters
        check_text("name", self.name, _NAMED)
        if not _NAME.fullmatch(self.name):
            raise ArgumentInvalid("name", self.name, _NAMED)

        for parameter in self._parameters:
            _refuse_unusable(self.name, parameter)

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return *arguments* as the function takes them, defaults filled in."""
        try:
            values: object = self._adapter.validate_python(arguments)
        except pydantic.ValidationError as error:
            lines = [
                self._explain(problem)
                for problem in error.errors(include_url=False, include_context=False)
            ]
            raise ToolFailed(
                "\n".join(["wrong arguments:", *lines, f"Use {self.usage}."])
            ) from error

        return vars(values)

    @property
    def usage(self) -> str:
        """The call in one line, for a model that got it wrong."""
        properties: Mapping[str, Any] = self.spec.parameters.get("properties", {})
        required = self.spec.parameters.get("required", ())
        arguments = (
            f"{name}: {_kind(schema)}" + ("" if name in required else " (optional)")
            for name, schema in properties.items()
        )
        return f"{self.name}({', '.join(arguments)})"

    @cached_property
    def spec(self) -> ToolSpec:
        """What a provider needs to know."""
        schema = self._adapter.json_schema(schema_generator=_SchemaWithoutTitles)
        schema.pop("title", None)
        return ToolSpec(name=self.name, description=self.description, parameters=schema)

    @cached_property
    def _adapter(self) -> pydantic.TypeAdapter[Any]:
        # A dataclass, not a model: a parameter may be called `json` or `schema`.
        hints = get_type_hints(self.function, include_extras=True)
        fields = [
            (
                parameter.name,
                Annotated[
                    hints[parameter.name],
                    pydantic.Field(description=self._about.get(parameter.name)),
                ],
                _default(parameter.default),
            )
            for parameter in self._parameters
        ]
        arguments = make_dataclass(
            self.name.replace("-", "_"),
            fields,
            kw_only=True,
            namespace={"__pydantic_config__": _CONFIG},
        )
        return pydantic.TypeAdapter(arguments)

    def _explain(self, problem: ErrorDetails) -> str:
        path = ".".join(map(str, problem["loc"])) or "arguments"
        match problem["type"]:
            case "missing":
                return f"- {path}: is missing"
            case "unexpected_keyword_argument":
                names = [parameter.name for parameter in self._parameters]
                return f"- {path}: there is no such argument{did_you_mean(path, names)}"
            case _:
                got = repr(problem["input"])
                shown = got if len(got) <= _SHOWN else got[:_SHOWN] + "…"
                return f"- {path}: {problem['msg']}, got {shown}"


@overload
def tool(function: Callable[..., Any], /) -> FunctionTool: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, read_only: bool = False
) -> Callable[[Callable[..., Any]], FunctionTool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    read_only: bool = False,
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Make a tool of an annotated function or method, plain or async.

    The docstring up to `Args:` is what the model is told; that section describes the
    parameters. A model may only pass what is annotated, and it is checked by pydantic.
    The function returns a string, `Text` or `Image`, a tuple of these, or anything
    that can be written as JSON; it raises `ToolFailed` for what the model should know.

    *read_only* promises that it changes nothing: such calls run beside each other. The
    first parameter of a method must be called `self`.

    Raises:
        ArgumentInvalid: It is no function, or its name not one that all providers take.
        TypeError: A parameter has no annotation, or cannot be passed by name.
    """
    if function is not None and (isinstance(function, type) or not callable(function)):
        raise ArgumentInvalid(
            "function", function, "what stands below `@tool`, a `def`"
        )

    def make(function: Callable[..., Any]) -> FunctionTool:
        made = ToolFunction(
            function, name=name, description=description, read_only=read_only
        )
        return FunctionTool(made, ())

    return make if function is None else make(function)


def as_content(value: object) -> Content:
    """Put what a tool returned into parts for the model."""
    match value:
        case str():
            return (Text(value or "(no output)"),)
        case Text() | Image():
            return (value,)
        case None:
            return (Text("done"),)
        case tuple() if value and _all_parts(cast("tuple[object, ...]", value)):
            parts = cast("tuple[str | Text | Image, ...]", value)
            return tuple(
                Text(part) if isinstance(part, str) else part for part in parts
            )
        case _:
            return (Text(to_json(value).decode()),)


class _SchemaWithoutTitles(GenerateJsonSchema):
    """Leaves out the titles that only repeat the names: they cost tokens."""

    def field_title_should_be_set(
        self,
        schema: Any,  # noqa: ARG002 - pydantic asks about each
    ) -> bool:
        return False


def _all_parts(value: tuple[object, ...]) -> bool:
    return all(isinstance(part, str | Text | Image) for part in value)


def _default(default: object) -> Field[Any]:
    if default is inspect.Parameter.empty:
        return cast("Field[Any]", field())

    if default.__class__.__hash__ is None:
        return cast("Field[Any]", field(default_factory=partial(copy, default)))

    return cast("Field[Any]", field(default=default))


def _refuse_unusable(name: str, parameter: inspect.Parameter) -> None:
    if parameter.kind not in (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    ):
        raise TypeError(
            f"tool {name!r}: {parameter} cannot be passed by name; models do only that"
        )

    if parameter.annotation is inspect.Parameter.empty:
        raise TypeError(
            f"tool {name!r}: parameter {parameter.name!r} needs an annotation;"
            " the model's arguments are checked against it"
        )


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into the description and what `Args:` says of each name."""
    description, *sections = _ARGS_SECTION.split(text, maxsplit=1)
    about: dict[str, str] = {}
    name = ""
    for line in sections[0].splitlines() if sections else ():
        if line and not line.startswith(" "):
            break

        if found := _ARGS_LINE.match(line):
            name = found[1]
            about[name] = found[2].strip()
        elif name and line.strip():
            about[name] += " " + line.strip()

    return re.split(
        r"^(?:Returns|Raises|Yields):\s*$", description, flags=re.MULTILINE
    )[0].strip(), about


def _kind(schema: Mapping[str, Any]) -> str:
    options: Sequence[Mapping[str, Any]] = schema.get("anyOf", ())
    if options:
        return " or ".join(map(_kind, options))

    kind: str = schema.get("type", "object")
    return f"array of {_kind(schema['items'])}" if "items" in schema else kind
