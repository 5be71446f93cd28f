"""Outcomes and errors as plain JSON values, for `--json`."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import singledispatch
from pathlib import Path
from typing import Any

from mma_runtime.costs.report import CostLine, Spent
from mma_runtime.errors import MMAError, ScenarioInvalid
from mma_runtime.firewall import Firewall
from mma_runtime.outcome import Outcome

_TO_JSON = json.JSONEncoder(ensure_ascii=False).encode


def outcome_record(outcome: Outcome, exit_code: int) -> dict[str, Any]:
    """Return the one object that `--json` prints."""
    return {**_plain_fields(outcome), "exit_code": exit_code}


def error_record(error: MMAError | OSError, exit_code: int) -> dict[str, Any]:
    """Return what `--json` prints when *error* kept the run from being started."""
    record: dict[str, Any] = {"kind": _kind(type(error)), "message": str(error)}
    if isinstance(error, ScenarioInvalid):
        record["file"] = error.file
        record["problems"] = [_plain(problem) for problem in error.problems]

    return {"error": record, "exit_code": exit_code}


def to_json(record: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Write *record* as JSON text."""
    if indent is None:
        return _TO_JSON(record)

    return json.dumps(record, ensure_ascii=False, indent=indent)


def _kind(cls: type) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()


@singledispatch
def _plain(value: Any) -> Any:
    return _plain_fields(value) if is_dataclass(value) else value


@_plain.register
def _(value: Decimal) -> str:
    return f"{value:f}"


@_plain.register
def _(value: Path) -> str:
    return str(value)


@_plain.register
def _(value: Enum) -> Any:
    return value.value


@_plain.register(Mapping)
def _(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): _plain(item) for key, item in value.items()}


@_plain.register(list)
@_plain.register(tuple)
def _(value: Iterable[Any]) -> list[Any]:
    return [_plain(item) for item in value]


@_plain.register
def _(value: Spent) -> dict[str, Any]:
    plain = _plain_fields(value)
    if value.calls and value.unknown_calls >= value.calls:
        # A sum of nothing that is known is not zero.
        plain["usd"] = None

    return plain


@_plain.register
def _(value: CostLine) -> dict[str, Any]:
    return {"provider": value.provider, **_plain_fields(value)}


@_plain.register
def _(value: Firewall) -> dict[str, Any]:
    kept = value.kept_back
    share = None if kept is None else round(kept, 4)
    return {**_plain_fields(value), "kept_back": share}


def _plain_fields(value: Any) -> dict[str, Any]:
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
