"""The schema of event records: one model for each kind, JSON schema, and the way back.

Loaded only by who needs it; writing records needs `records` alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from inspect import cleandoc
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic import ValidationError as Invalid
from pydantic.json_schema import GenerateJsonSchema

from mma_runtime import events
from mma_runtime.errors import RecordInvalid, did_you_mean
from mma_runtime.events import ActorEvent, Event, Origin
from mma_runtime.events.records import RENAMED, VERSION, fact_names, kind_name

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class EventRecord(BaseModel):
    """What every record has; keys that are empty may be left out."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    version: int = Field(ge=VERSION, le=VERSION, description="Of these keys.")
    kind: str = Field(description="What happened.")
    seq: int = Field(
        ge=0, description="The place in the run's order: from 1, without gaps."
    )
    time: float = Field(description="Wall time: seconds since the epoch; may jump.")
    run: str = Field(default="", description="The run's id.")
    tier: str = Field(
        default="", description="The tier at work: `orchestrator`, `worker`, …"
    )
    track: str = Field(default="", description="The track's id.")
    ticket: str = Field(default="", description="The ticket's id.")
    attempt: int = Field(
        default=0, description="The attempt at the ticket; from 1, 0 where none is."
    )
    task: str = Field(
        default="",
        description="What a tier agent was asked for: `plan`, `review`, `ticket`, …",
    )
    agent: str = Field(default="", description="The full name of the actor at work.")
    about: str = Field(
        default="",
        description="What the record tells of, as a path: the run, a track, a ticket,"
        " an attempt, a call, an actor.",
    )
    parent: str = Field(
        default="", description="What that is part of, as a path; empty for the run."
    )


_MODELS: dict[type, type[EventRecord]] = {}


def event_kinds() -> dict[str, type[Event]]:
    """Return all kinds of events by their names in records, in alphabetical order."""
    found = [
        value
        for value in vars(events).values()
        if isinstance(value, type) and issubclass(value, Event)
    ]
    bases = {base for kind in found for base in kind.__mro__[1:]}
    named = {kind_name(kind): kind for kind in found if kind not in bases}
    return dict(sorted(named.items()))


def record_model(kind: type[Event]) -> type[EventRecord]:
    """Return the model of the records of *kind*; made on first use."""
    model = _MODELS.get(kind)
    if model is None:
        model = _MODELS[kind] = _make_model(kind)

    return model


def _make_model(kind: type[Event]) -> type[EventRecord]:
    named: Any = Literal[kind_name(kind)]
    own: dict[str, Any] = {"kind": (named, ...)}
    for field in fields(kind):
        name = RENAMED.get(field.name, field.name)
        if field.name in fact_names(kind) and name not in EventRecord.model_fields:
            has_default = field.default is not MISSING
            default = field.default if has_default else ...
            if field.default_factory is not MISSING:
                default = Field(default_factory=field.default_factory)

            own[name] = (field.type, default)

    return create_model(
        kind.__name__,
        __base__=EventRecord,
        __doc__=cleandoc(kind.__doc__ or ""),
        **own,
    )


def from_record(record: Mapping[str, Any]) -> Event:
    """Return the event that *record* tells of, equal to what it was.

    Keys that are not known are passed over. Raises `RecordInvalid` when it is of
    another version, of an unknown kind, or lacks something.
    """
    kinds = event_kinds()
    name = record.get("kind")
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        near = did_you_mean(name, kinds) if isinstance(name, str) else ""
        raise RecordInvalid(f"there is no kind of event {name!r}{near}")

    try:
        read = record_model(kind).model_validate(record)
    except Invalid as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordInvalid(f"{name}: {where}: {first['msg']}") from error

    event = kind(
        origin=_origin(kind, read),
        **{one: getattr(read, RENAMED.get(one, one)) for one in fact_names(kind)},
    )
    # As the bus does it, before anybody else has seen it.
    object.__setattr__(event, "seq", read.seq)
    object.__setattr__(event, "time", read.time)
    return event


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a record: one of all kinds, told apart by `kind`."""
    models = tuple(record_model(kind) for kind in event_kinds().values())
    union: Any = Annotated[Union[models], Field(discriminator="kind")]  # noqa: UP007 - made of a tuple
    schema = TypeAdapter[Any](union).json_schema(
        mode="serialization", schema_generator=_WithoutTitles
    )
    return {"$schema": DIALECT, "title": f"mma-runtime events {VERSION}", **schema}


def manual() -> str:
    """Return the page of all events, in Markdown."""
    return "\n".join(_manual()) + "\n"


def _manual() -> Iterator[str]:
    yield "# Events"
    yield ""
    yield (
        "Everything that happens in a run, and everything that is decided in it, is an"
        " event. In Python each is a frozen record of `mma_runtime.events`; `mma run"
        " --jsonl` prints it as one line of JSON, with these keys. What is empty is"
        f" left out. This is version {VERSION}; `mma schema events` prints the JSON"
        " schema, `mma_runtime.events.schema.from_record` reads a line back. Readers"
        " pass over kinds and keys that they do not know: new ones do not change the"
        " version."
    )
    yield ""
    yield "Prompts, replies, tool arguments and file contents are in none of them."
    yield ""
    yield "## Keys of all events"
    yield ""
    yield "| key | type | means |"
    yield "| --- | --- | --- |"
    for name, field in EventRecord.model_fields.items():
        yield f"| `{name}` | {_words(field.annotation)} | {field.description} |"

    yield ""
    yield (
        "`about` and `parent` link the records of a run to a tree: a run has tracks"
        " (`RUN/track/T`), these have tickets (`RUN/ticket/A`), these have attempts"
        " (`RUN/ticket/A/1`), these have model calls (`RUN/call/ticket/A/1.3`), and"
        " those have the tool calls that they asked for. A model call may be sent more"
        " than once; `call` then ends in the number of the try. Actors are linked to"
        " the actors that spawned them."
    )
    yield ""
    yield "## Kinds"
    for name, kind in event_kinds().items():
        yield ""
        yield f"### {name}"
        yield ""
        yield " ".join(cleandoc(kind.__doc__ or "").split()).replace("*", "`")
        model = record_model(kind)
        own = [one for one in model.model_fields if one not in EventRecord.model_fields]
        if own:
            yield ""
            keys = (
                f"`{one}` ({_words(model.model_fields[one].annotation)})" for one in own
            )
            yield f"Keys: {', '.join(keys)}."


class _WithoutTitles(GenerateJsonSchema):
    """Writes no titles: they say the keys again."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's
        """Set none."""
        return False


def _words(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    if text.startswith("dict"):
        return "table of texts"

    if "tuple" in text or "Tuple" in text:
        return "list of texts"

    words = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "bool": "true or false",
        "Decimal": "text with a number",
        "decimal.Decimal": "text with a number",
        "None": "null",
        "NoneType": "null",
    }
    return " or ".join(words.get(part, part) for part in text.split(" | "))


def _origin(kind: type[Event], read: EventRecord) -> Origin:
    if issubclass(kind, ActorEvent):
        return Origin()

    return Origin(
        run=read.run,
        tier=read.tier,
        track=read.track,
        ticket=read.ticket,
        attempt=read.attempt or 1,
        task=read.task,
    )
