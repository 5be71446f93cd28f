"""What pydantic says about a wrong value, in words for the person who wrote it."""

import re
from collections.abc import Iterator, Mapping
from textwrap import shorten
from typing import Any, cast

from pydantic_core import ErrorDetails

from mma_runtime.errors import did_you_mean
from mma_runtime.scenario.checks import Loc, dotted

Schema = Mapping[str, Any]

# Names that people give to tiers elsewhere, on the command line for example.
_OTHER_NAMES = {
    "tier1": "orchestrator",
    "tier2": "tech_lead",
    "tier3": "worker",
    "tier4": "qa",
    "lead": "tech_lead",
    "coder": "worker",
}

# How deep, and how many, places of a key are looked for.
_DEPTH = 2
_HOMES = 3

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "path_type": "a path",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table of keys",
    "model_type": "a table of keys",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
}


_FIXED = {
    "missing": "is missing",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string_pattern_mismatch": (
        "an id has letters, digits, `-`, `_` and `.`, at most 64 of them,"
        " and begins with a letter or digit"
    ),
}


def words(error: ErrorDetails, schema: Schema) -> str:
    """Return what is wrong; *schema* is the JSON schema of the whole file."""
    kind, given = error["type"], error["input"]
    context = error.get("ctx", {})
    if kind in _FIXED:
        return _FIXED[kind]

    if kind in _KINDS:
        return f"should be {_KINDS[kind].format(**context)}, not {_shown(given)}"

    if kind == "extra_forbidden":
        return _unknown_key(error["loc"], schema)

    if kind in {"literal_error", "enum"}:
        known = re.findall(r"'([^']+)'", context["expected"])
        hint = did_you_mean(str(given), known)
        return f"should be one of {', '.join(known)}, not {_shown(given)}{hint}"

    if kind == "value_error":
        return str(context["error"])

    return error["msg"][:1].lower() + error["msg"][1:]


def _unknown_key(loc: Loc, schema: Schema) -> str:
    key, known = str(loc[-1]), _keys(schema, loc[:-1])
    if homes := _homes(schema, key):
        *others, last = homes
        places = f"{', '.join(others)} or {last}" if others else last
        return f"unknown key here; its place is {places}"

    other = _OTHER_NAMES.get(key.lower().replace("_", "").replace("-", ""), "")
    if other in known:
        return f"unknown key; did you mean `{other}`?"

    hint = did_you_mean(key, known)
    return f"unknown key{hint or '; known: ' + ', '.join(known)}"


def _homes(schema: Schema, key: str) -> list[str]:
    """Say where a key of that name has its place, the nearest to the top first."""
    found: dict[tuple[int, int], str] = {}
    waiting: list[tuple[Loc, Schema]] = [((), schema)]
    for loc, table in waiting:
        if key in table.get("properties", {}):
            # Of tables that are alike, such as the tiers, the first stands for all.
            place = f"`{dotted((*loc, key))}`" if loc else "the top of the file"
            found.setdefault((len(loc), id(table)), place)

        if len(loc) < _DEPTH:
            waiting += _tables(schema, loc, table)

    return list(found.values())[:_HOMES]


def _tables(schema: Schema, loc: Loc, table: Schema) -> Iterator[tuple[Loc, Schema]]:
    """Yield the tables that lie in *table*; those in lists under the list's name."""
    for name, value in table.get("properties", {}).items():
        here = _resolve(schema, value)
        if "items" in here:
            here = _resolve(schema, here["items"])

        yield (*loc, name), here


def _shown(value: object) -> str:
    match value:
        case None:
            return "empty"
        case dict():
            return "a table of keys"
        case list():
            return "a list"
        case _:
            return repr(shorten(str(value), 60, placeholder="..."))


def _keys(schema: Schema, loc: Loc) -> list[str]:
    """Return the names of the keys that the table at *loc* may have."""
    here = schema
    for key in loc:
        here = _resolve(schema, here)
        if isinstance(key, int):
            here = here.get("items", {})
        else:
            here = here.get("properties", {}).get(key) or here.get(
                "additionalProperties", {}
            )

    return list(_resolve(schema, here).get("properties", {}))


def _resolve(schema: Schema, here: Any) -> Schema:
    options = [one for one in here.get("anyOf", ()) if one.get("type") != "null"]
    if options:
        # Of a table and a text the table is what has keys.
        return _resolve(schema, max(options, key=lambda one: "$ref" in one))

    reference = here.get("$ref")
    if reference is None:
        return cast("Schema", here)

    return cast("Schema", schema["$defs"][reference.rsplit("/", 1)[-1]])
