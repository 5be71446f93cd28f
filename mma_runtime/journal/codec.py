"""Turns, completions, results and errors as JSON, and back, equal to what they were."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from math import isfinite
from operator import attrgetter
from typing import Any

from mma_runtime import errors
from mma_runtime.errors import (
    BudgetExhausted,
    CommandFailed,
    JournalUnreadable,
    ProviderError,
    ProviderFacts,
)
from mma_runtime.journal.batch import in_json
from mma_runtime.llm.chat import (
    AssistantTurn,
    Completion,
    Finish,
    Image,
    ProviderState,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    ToolTurn,
    Turn,
    UserTurn,
)
from mma_runtime.llm.usage import Usage
from mma_runtime.tools.command import CommandResult
from mma_runtime.tools.toolbox import RoundResults

_SHAPES: Mapping[str, type] = {
    shape.__name__: shape
    for shape in (
        AssistantTurn,
        CommandResult,
        Image,
        ProviderState,
        Reasoning,
        Text,
        ToolCall,
        ToolResult,
        ToolTurn,
        UserTurn,
    )
}

_PLAIN = frozenset((str, int, bool, type(None)))


def _reader(shape: type) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads all fields of a *shape*."""
    first, *more = [one.name for one in fields(shape)]
    read = attrgetter(first, *more)
    return read if more else lambda value: (read(value),)


_READ = {shape: _reader(shape) for shape in _SHAPES.values()}
_USAGE = tuple(one.name for one in fields(Usage))
_IN_ASCII = json.JSONEncoder(separators=(",", ":"))


def encode(value: object) -> bytes:
    """Write a turn, or whatever turns are made of, as JSON."""
    return in_json(_tagged(value))


def encode_in_ascii(value: object) -> bytes:
    """Write it as journals up to the second format did."""
    return _IN_ASCII.encode(_tagged(value)).encode()


def decode(content: bytes) -> Any:
    """Read what `encode` wrote; raises `ValueError` when it is something else."""
    return _untagged(json.loads(content))


def failure_facts(results: RoundResults) -> list[list[Any]]:
    """Return what is left of the failed commands, beside their output."""
    return [[one.command, one.exit_code] for one in results.failures]


def decode_results(
    content: bytes, failures: list[list[Any]], outputs: list[str]
) -> RoundResults:
    """Put a round's results together again."""
    turn: ToolTurn = decode(content)
    return RoundResults(
        turn.results,
        tuple(
            CommandFailed(command, exit_code, output)
            for (command, exit_code), output in zip(failures, outputs, strict=True)
        ),
    )


def completion_facts(completion: Completion) -> dict[str, Any]:
    """Return all of a completion but its turn."""
    usage = completion.usage
    return {
        "finish": completion.finish.value,
        "usage": {name: getattr(usage, name) for name in _USAGE} if usage else None,
        "reported": completion.model,
        "raw_finish": completion.raw_finish,
        "request_id": completion.request_id,
    }


def to_completion(turn: Turn, facts: Mapping[str, Any]) -> Completion:
    """Put a completion together again."""
    if not isinstance(turn, AssistantTurn):
        raise TypeError(f"a reply is no {type(turn).__name__}")

    usage = facts["usage"]
    return Completion(
        turn=turn,
        finish=Finish(facts["finish"]),
        usage=Usage(**usage) if usage is not None else None,
        model=facts["reported"],
        raw_finish=facts["raw_finish"],
        request_id=facts["request_id"],
    )


def error_facts(error: ProviderError | BudgetExhausted) -> dict[str, Any]:
    """Return what the error of a call consists of."""
    if isinstance(error, BudgetExhausted):
        return {"error": "BudgetExhausted", "about": dict(vars(error))}

    return {
        "error": type(error).__name__,
        "message": error.message,
        "about": asdict(error.facts),
    }


def to_error(facts: Mapping[str, Any], path: str) -> ProviderError | BudgetExhausted:
    """Put the error of a call together again."""
    if facts["error"] == "BudgetExhausted":
        return BudgetExhausted(**facts["about"])

    kind = getattr(errors, facts["error"], None)
    if not (isinstance(kind, type) and issubclass(kind, ProviderError)):
        raise JournalUnreadable(path, f"there is no error {facts['error']!r}")

    return kind(facts["message"], ProviderFacts(**facts["about"]))


def _tagged(value: Any) -> Any:
    # Every object has one key, its kind: so nothing that is inside can be mistaken.
    kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] - any
    if kind is tuple:
        return {"tuple": _tagged_each(value)}

    read = _READ.get(kind)
    if read is not None:
        return {kind.__name__: _tagged_each(read(value))}

    return value if kind in _PLAIN else _tagged_other(value)


def _tagged_other(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}

    if isinstance(value, float):
        # JSON has no others.
        return value if isfinite(value) else {"float": repr(value)}

    if isinstance(value, bool | int | str):
        return value

    if isinstance(value, Mapping | tuple | list):
        return _tagged_many(value)

    raise TypeError(f"a journal cannot hold a {type(value).__name__}")


def _tagged_many(value: Any) -> Any:
    if hasattr(value, "items"):
        return {"map": [_tagged_each(pair) for pair in value.items()]}

    inner = _tagged_each(value)
    return inner if isinstance(value, list) else {"tuple": inner}


def _tagged_each(values: Iterable[Any]) -> list[Any]:
    # Most are plain, and a call for each of them would be most of the work.
    return [one if type(one) in _PLAIN else _tagged(one) for one in values]


def _untagged(value: Any) -> Any:
    if isinstance(value, dict | list):
        return _untagged_many(value)

    return value


def _untagged_many(value: Any) -> Any:
    if not hasattr(value, "items"):
        return [_untagged(one) for one in value]

    ((kind, inner),) = value.items()
    match kind:
        case "float":
            return float(inner)
        case "bytes":
            return base64.b64decode(inner)
        case "tuple":
            return tuple(_untagged(one) for one in inner)
        case "map":
            return {_untagged(name): _untagged(one) for name, one in inner}
        case _:
            return _SHAPES[kind](*(_untagged(one) for one in inner))
