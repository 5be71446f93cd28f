import threading
from typing import Annotated, Literal

import anyio
import pytest
from pydantic import BaseModel, Field

from mma_runtime.errors import ToolFailed
from mma_runtime.llm.chat import Image, Text
from mma_runtime.tools import FunctionTool, Tool, tool


@tool(read_only=True)
async def greet(name: str, times: Annotated[int, Field(ge=1)] = 1) -> str:
    """Greet somebody.

    Politely.

    Args:
        name: Whom to greet,
            by the first name.
        times: How often.
    """
    return " ".join([f"Hello {name}"] * times)


class Counter:
    """A counter with a tool for it."""

    def __init__(self) -> None:
        self.count = 0

    @tool
    def add(self, amount: int = 1) -> int:
        """Count on."""
        self.count += amount
        return self.count


async def test_a_tool_can_be_called_as_the_function_that_it_was() -> None:
    @tool
    def half(number: float) -> float:
        """Halve."""
        return number / 2

    class Desk:
        factor = 2

        @tool
        async def times(self, number: int) -> int:
            """Multiply."""
            return self.factor * number

    assert half(3) == 1.5
    assert await Desk().times(number=21) == 42
    with pytest.raises(TypeError):
        half()


def returning(value: object) -> FunctionTool:
    @tool
    async def give() -> object:
        return value

    return give


def test_name_description_and_schema_come_from_the_function() -> None:
    assert greet.name == "greet"
    assert greet.description == "Greet somebody.\n\nPolitely."
    assert greet.read_only
    assert greet.spec.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": {
                "type": "string",
                "description": "Whom to greet, by the first name.",
            },
            "times": {
                "type": "integer",
                "minimum": 1,
                "default": 1,
                "description": "How often.",
            },
        },
    }


def test_a_decorated_function_is_a_tool() -> None:
    accepted: Tool = greet

    assert accepted.spec.name == "greet"


def test_parameters_may_be_called_like_methods_of_models_and_keep_their_titles() -> (
    None
):
    @tool
    async def save(json: str, schema: str, title: str, copy: bool = True) -> str:
        return json + schema + title + str(copy)

    assert list(save.spec.parameters["properties"]) == [
        "json",
        "schema",
        "title",
        "copy",
    ]


async def test_arguments_are_checked_and_defaults_filled_in() -> None:
    assert await greet.call({"name": "Ada"}) == (Text("Hello Ada"),)
    assert await greet.call({"name": "Ada", "times": "2"}) == (
        Text("Hello Ada Hello Ada"),
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "- name: is missing"),
        ({"name": "Ada", "tims": 2}, "no such argument; did you mean `times`?"),
        ({"name": "Ada", "times": 0}, "- times: Input should be greater than"),
        ({"name": "Ada", "times": "many"}, "got 'many'"),
        ({"name": None}, "- name: Input should be a valid string, got None"),
        ({"name": "x" * 1_000, "times": "y" * 1_000}, "…"),
    ],
)
async def test_wrong_arguments_are_explained_to_the_model(
    arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(ToolFailed) as caught:
        await greet.call(arguments)

    assert said in str(caught.value)
    assert "Use greet(name: string, times: integer (optional))." in str(caught.value)
    assert len(str(caught.value)) < 500


async def test_a_method_is_bound_to_its_object_and_shares_the_schema() -> None:
    first, second = Counter(), Counter()

    assert await first.add.call({"amount": 2}) == (Text("2"),)
    assert await first.add.call({}) == (Text("3"),)
    assert await second.add.call({}) == (Text("1"),)
    assert first.add.spec is second.add.spec is Counter.add.spec
    assert "self" not in first.add.spec.parameters["properties"]


def test_a_plain_function_stays_unbound_as_a_class_attribute() -> None:
    class Holder:
        tool = greet

    assert Holder().tool is greet


async def test_a_plain_function_runs_in_a_worker_thread() -> None:
    @tool
    def where() -> str:
        return threading.current_thread().name

    assert await where.call({}) != (Text(threading.main_thread().name),)


async def test_a_cancelled_writer_in_a_thread_is_waited_for_and_a_reader_is_not() -> (
    None
):
    going, begun, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert going.wait(5)
        ended.set()

    async def cancel_when_begun(scope: anyio.CancelScope, go: bool) -> None:
        await anyio.to_thread.run_sync(begun.wait)
        scope.cancel()
        if go:
            going.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_when_begun, group.cancel_scope, False)
            await tool(read_only=True)(work).call({})

        assert not ended.is_set()
        going.set()
        await anyio.to_thread.run_sync(ended.wait)

        for event in (going, begun, ended):
            event.clear()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel_when_begun, group.cancel_scope, True)
            await tool(work).call({})

        assert ended.is_set()


class Point(BaseModel):
    x: int


async def test_models_enums_and_mutable_defaults_are_parameters_too() -> None:
    @tool
    async def plot(
        points: list[Point],
        mode: Literal["dots", "line"] = "dots",
        tags: list[str] = [],  # noqa: B006 - what is tested
    ) -> str:
        tags.append(mode)
        return f"{points[0].x} {tags}"

    assert await plot.call({"points": [{"x": 1}]}) == (Text("1 ['dots']"),)
    assert await plot.call({"points": [{"x": 2}]}) == (Text("2 ['dots']"),)
    with pytest.raises(ToolFailed, match=r"points\.0\.x"):
        await plot.call({"points": [{"x": "far"}]})


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", (Text("text"),)),
        ("", (Text("(no output)"),)),
        (None, (Text("done"),)),
        (Text("text"), (Text("text"),)),
        (Image("image/png", b"png"), (Image("image/png", b"png"),)),
        (("a", Image("image/png", b"png")), (Text("a"), Image("image/png", b"png"))),
        ({"a": [1, 2.5, None]}, (Text('{"a":[1,2.5,null]}'),)),
        ((1, 2), (Text("[1,2]"),)),
        (Point(x=1), (Text('{"x":1}'),)),
        (False, (Text("false"),)),
    ],
)
async def test_what_a_tool_returns_becomes_content(
    value: object, content: object
) -> None:
    assert await returning(value).call({}) == content


def test_a_parameter_without_annotation_is_refused_when_the_tool_is_made() -> None:
    def careless(path: str) -> None: ...

    del careless.__annotations__["path"]

    with pytest.raises(TypeError, match="parameter 'path' needs an annotation"):
        tool(careless)


def test_a_parameter_that_has_no_name_to_pass_it_by_is_refused() -> None:
    def careless(*paths: str) -> None: ...

    with pytest.raises(TypeError, match="cannot be passed by name"):
        tool(careless)


def test_a_name_that_a_provider_would_refuse_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"`name` must be a name of up to 64 .*, not 'read file'"
    ):
        tool(name="read file")(lambda: None)
