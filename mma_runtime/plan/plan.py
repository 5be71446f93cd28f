"""What is to be done: tracks and tickets, as scenarios and models write them down."""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    WrapValidator,
)

Identifier = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"),
    Field(description="Letters, digits, `-`, `_` and `.`; at most 64 characters."),
]


class Plan(BaseModel):
    """Base of what a plan consists of; unknown keys are errors."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)


class Priority(StrEnum):
    """Which of several ready tickets goes first."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Severity(StrEnum):
    """How much hangs on a track; of tickets that are alike the severer goes first."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Command(Plan):
    """A command of which something special holds; others are written as text."""

    run: str = Field(description="The command, with its arguments; run without shell.")
    once: bool = Field(
        default=False,
        description="It must not happen twice, however often the run is resumed.",
    )


def _command(value: object, _check: Callable[[object], object]) -> str | Command:
    # A union's own problems are told for each of its types; this tells what is wrong
    # with the one that was meant.
    match value:
        case str() | Command():
            return value
        case Mapping():
            return Command.model_validate(value)
        case _:
            return _TEXT.validate_python(value)


_TEXT = TypeAdapter(str)

CommandEntry = Annotated[str | Command, WrapValidator(_command)]
"""A command as plans write it: as text, or with what holds of it."""


def command_lines(
    entries: Iterable[str | Command], *, once: bool = False
) -> tuple[str, ...]:
    """Return the commands of *entries*, or only those that must not happen twice."""
    return tuple(
        entry.run if isinstance(entry, Command) else entry
        for entry in entries
        if not once or (isinstance(entry, Command) and entry.once)
    )


class Ticket(Plan):
    """One piece of work for one worker."""

    id: Identifier
    title: str = Field(
        default="", description="A few words for people; the id if left out."
    )
    description: str = Field(description="What to do, where and how.")
    target_file: str | None = Field(
        default=None, description="The file that is changed."
    )
    context: tuple[str, ...] = Field(
        default=(),
        description="What the worker needs to see besides its target: files, images, or"
        " one symbol as `path:Class.method`.",
    )
    depends_on: tuple[Identifier, ...] = Field(
        default=(), description="Ids of the tickets that have to be completed before."
    )
    priority: Priority = Priority.MEDIUM
    acceptance: tuple[CommandEntry, ...] = Field(
        default=(),
        description="Commands that have to succeed in the ticket's checkout; as text,"
        " or as `{run: ..., once: true}` where one must not happen twice.",
    )
    tools: tuple[str, ...] | None = Field(
        default=None,
        description="Names of the tools for this ticket; the tier's if left out.",
    )
    model: str | None = Field(
        default=None,
        description="`provider:model` for this ticket; the tier's if left out.",
    )
    step: bool = Field(
        default=False,
        description="Ask before this ticket starts and before each of its tool calls.",
    )

    @property
    def commands(self) -> tuple[str, ...]:
        """The acceptance commands, in their order."""
        return command_lines(self.acceptance)

    @property
    def once(self) -> tuple[str, ...]:
        """Those of `commands` that must not happen twice."""
        return command_lines(self.acceptance, once=True)


class Track(Plan):
    """A part of an epic with a goal of its own; one tech lead plans and reviews it."""

    id: Identifier
    title: str = Field(
        default="", description="A few words for people; the id if left out."
    )
    goal: str = Field(description="What is true when the track is done.")
    acceptance: tuple[str, ...] = Field(
        default=(),
        description="What the orchestrator checks before it accepts the track.",
    )
    modules: tuple[str, ...] = Field(
        default=(),
        description="Files and folders that the track may change; all if empty.",
    )
    severity: Severity = Field(
        default=Severity.MEDIUM, description="How much hangs on it: high, medium, low."
    )

    def allows(self, path: str) -> bool:
        """Whether *path*, relative to the project, lies in the track's modules."""
        if not self.modules:
            return True

        place = PurePosixPath(path)
        return any(
            place.is_relative_to(PurePosixPath(module)) for module in self.modules
        )


class EpicPlan(Plan):
    """Tier 1's answer to an epic."""

    tracks: tuple[Track, ...] = Field(min_length=1)


class TrackPlan(Plan):
    """Tier 2's answer to a track."""

    tickets: tuple[Ticket, ...] = Field(min_length=1)
