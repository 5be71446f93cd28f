"""Events as records: flat, plain values, the same in `--jsonl` and in a journal.

A record has the keys of `schema.EventRecord` and those of its kind. Keys whose
value is empty are left out; whoever reads a record takes what is not there as empty.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from mma_runtime.events import (
    ActorEvent,
    CallEvent,
    Event,
    Origin,
    TicketEvent,
    ToolEvent,
    TrackEvent,
)

VERSION = 1
"""The version of the records.

New kinds and new keys with a default leave it as it is; a reader passes over what it
does not know. It rises when a key is renamed, removed, or means something else.
"""

RENAMED: Mapping[str, str] = {"attempt": "call_attempt", "actor": "agent"}
"""Fields of events whose keys are others, since those mean something else already."""

_STAMPED = frozenset(("origin", "seq", "time"))
_FACTS: dict[type, tuple[str, ...]] = {}
_PLAIN = frozenset((str, int, float, bool, type(None)))


def to_record(event: Event) -> dict[str, Any]:
    """Return the record of *event*, as JSON can hold it."""
    return record_of(
        type(event), event.origin, facts_of(event), seq=event.seq, time=event.time
    )


def record_of(
    kind: type[Event],
    origin: Origin,
    facts: Mapping[str, Any],
    *,
    seq: int,
    time: float,
) -> dict[str, Any]:
    """Put a record together from its parts; *facts* are those of `facts_of`."""
    place = _place(kind, origin, facts)
    return {
        "version": VERSION,
        "kind": kind_name(kind),
        "seq": seq,
        "time": time,
        **place,
        **{RENAMED.get(name, name): value for name, value in facts.items()},
    }


def facts_of(event: Event) -> dict[str, Any]:
    """Return what *event* tells beyond its place and time, as plain values."""
    kind = type(event)
    return {
        name: value if type(value := getattr(event, name)) in _PLAIN else plain(value)
        for name in _FACTS.get(kind) or fact_names(kind)
    }


def fact_names(kind: type[Event]) -> tuple[str, ...]:
    """Return the names of the fields that *kind* has beyond those of all events."""
    names = _FACTS.get(kind)
    if names is None:
        found = (one.name for one in fields(kind))
        names = _FACTS[kind] = tuple(name for name in found if name not in _STAMPED)

    return names


def kind_name(kind: type[Event]) -> str:
    """Return how *kind* is written in a record: `model_call_finished`."""
    return _snake(kind.__name__)


@cache
def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def plain(value: Any) -> Any:
    """Return *value* as JSON can hold it; money as text, so that it stays exact."""
    if type(value) in _PLAIN:
        return value

    if isinstance(value, Decimal):
        # Without an exponent: nothing is 0E-8 after a sum of small prices.
        return f"{value:f}"

    if isinstance(value, Path):
        return str(value)

    if isinstance(value, Enum):
        return value.value

    return _plain_many(value) if isinstance(value, tuple | list | Mapping) else value


def _plain_many(value: Any) -> Any:
    if hasattr(value, "items"):
        return {str(name): plain(one) for name, one in value.items()}

    return [plain(one) for one in value]


@dataclass(frozen=True, slots=True)
class _Link:
    """What a record tells of, and what that is part of; both are paths in the run."""

    about: str
    parent: str


def _place(
    kind: type[Event], origin: Origin, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keys that tell where something happened, empty ones left out."""
    if issubclass(kind, ActorEvent):
        name: str = facts["actor"]
        run, parent = name.partition("/")[0], name.rpartition("/")[0]
        return _filled(run=origin.run or run, agent=name, about=name, parent=parent)

    link = _link(kind, origin, facts)
    agent = f"{origin.run}/{origin.agent}" if origin.agent else ""
    return _filled(
        run=origin.run,
        tier=origin.tier,
        track=origin.track,
        ticket=origin.ticket,
        attempt=origin.attempt if origin.ticket else 0,
        task=origin.task,
        agent=agent,
        about=link.about,
        parent=link.parent,
    )


def _link(kind: type[Event], origin: Origin, facts: Mapping[str, Any]) -> _Link:
    run = origin.run
    track = f"{run}/track/{origin.track}" if origin.track else run
    if issubclass(kind, TrackEvent):
        return _Link(track, run)

    ticket = f"{run}/ticket/{origin.ticket}"
    if issubclass(kind, TicketEvent):
        return _Link(ticket, track)

    attempt = f"{ticket}/{origin.attempt}"
    here = _Link(attempt, ticket) if origin.ticket else _Link(track, run)
    if here.about == run:
        here = _Link(run, "")

    if issubclass(kind, CallEvent) and facts["call"]:
        return _Link(f"{run}/call/{facts['call'].rpartition('.')[0]}", here.about)

    if issubclass(kind, ToolEvent) and facts["call"]:
        asked = facts.get("model_call")
        call = f"{run}/call/{asked}" if asked else here.about
        return _Link(f"{call}/{facts['call']}", call)

    return here


def _filled(**keys: Any) -> dict[str, Any]:
    return {name: value for name, value in keys.items() if value}
