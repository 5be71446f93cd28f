"""Every key of a scenario as a page of Markdown, written from the schema."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from mma_runtime.scenario.schema import Scenario

_WORDS = {"integer": "whole number", "object": "table", "string": "text"}
_HEAD = """\
# Scenario files

A scenario is a YAML file: a team, a task, and what is expected of it. `mma check FILE`
says what is wrong with one, all at once and with lines; a missing API key is told, but
is no fault of the file. This page is written by `mma schema --markdown`.

`mma schema` prints the same keys for editors: save that as `scenario.schema.json`, and
an editor with a YAML language server completes and checks scenarios whose first line is
`# yaml-language-server: $schema=scenario.schema.json` (a path beside the scenario, or a
URL).

Unknown keys are errors. `${name}` stands for an input or an environment variable,
`${name:-text}` for one with a default.
"""


def manual() -> str:
    """Return the page."""
    raw = Scenario.model_json_schema()
    schema = _with_choices(raw, raw["$defs"])
    tables: Mapping[str, Any] = schema["$defs"]
    lines = [_HEAD, "## The whole file", "", *_table(schema), ""]
    done: set[str] = set()
    waiting = list(_named(schema))
    while waiting:
        name = waiting.pop(0)
        table = tables[name]
        if name in done or "properties" not in table:
            continue

        done.add(name)
        about = str(table.get("description", "")).split("\n\n")[0].replace("\n", " ")
        lines += [f"## {name}", "", about, "", *_table(table), ""]
        waiting += _named(table)

    return "\n".join(lines)


def _with_choices(value: Any, tables: Mapping[str, Any]) -> Any:
    """Return *value* with references to what is no table replaced by what it is."""
    match value:
        case {"$ref": str() as reference, **beside}:
            meant = tables[_name(reference)]
            return value if "properties" in meant else {**meant, **beside}
        case dict():
            keyed = cast("Mapping[str, object]", value)
            return {key: _with_choices(one, tables) for key, one in keyed.items()}
        case list():
            return [_with_choices(one, tables) for one in cast("list[object]", value)]
        case _:
            return value


def _table(table: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | what it takes | default | |"
    yield "| --- | --- | --- | --- |"
    required = table.get("required", ())
    for key, value in table["properties"].items():
        default = "needed" if key in required else _default(value.get("default"))
        about = str(value.get("description", "")).replace("|", "\\|")
        yield f"| `{key}` | {_kind(value)} | {default} | {about} |"


def _default(value: object) -> str:
    if value in (None, "", [], {}):
        return ""

    return "" if isinstance(value, dict) else f"`{value}`"


def _kind(value: Mapping[str, Any]) -> str:
    """Say in words what a value may be."""
    match value:
        case {"$ref": reference}:
            name = _name(str(reference))
            kind = f"[{name}](#{name.lower()})"
        case {"const": option}:
            kind = f"`{option}`"
        case {"enum": options}:
            kind = ", ".join(f"`{one}`" for one in options)
        case {"anyOf": options}:
            kinds = [_kind(one) for one in options if one.get("type") != "null"]
            kind = " or ".join(dict.fromkeys(kinds))
        case {"type": "array", "items": items}:
            kind = f"list of {_kind(items)}"
        case {"type": "object", "additionalProperties": inner} if inner is not False:
            kind = f"table of {_kind(inner)}"
        case _:
            known = str(value.get("type", "anything"))
            kind = _WORDS.get(known, known)

    return kind


def _named(value: object) -> Iterator[str]:
    """Yield the tables that *value* refers to, in order."""
    match value:
        case {"$ref": str() as reference}:
            yield _name(reference)
        case dict():
            for key, inner in cast("Mapping[str, object]", value).items():
                if key != "$defs":
                    yield from _named(inner)
        case list():
            for inner in cast("Sequence[object]", value):
                yield from _named(inner)
        case _:
            pass


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]
