"""What becomes of tracks and tickets, and who says so."""

from dataclasses import dataclass

from mma_runtime.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackEvent(Event):
    """Base of what happens to one track as a whole (its id is in the origin)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketEvent(Event):
    """Base of what happens to one ticket as a whole (its id is in the origin)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPlanned(TrackEvent):
    """Tier 1 planned a track."""

    title: str
    goal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFinished(TrackEvent):
    """A track ended: *state* is `accepted`, `rejected` or `failed`."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketPlanned(TicketEvent):
    """Tier 2 planned a ticket."""

    title: str
    depends_on: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketChosen(TicketEvent):
    """Of the tickets that could start, this one goes first.

    Before all else by its *priority*, then by how many others wait for it
    (*dependants*), then by the *severity* of its track, then by who came first.
    """

    priority: str
    dependants: int
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketDropped(TicketEvent):
    """A ticket that a review asked for is not added; *reason* says why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketStarted(Event):
    """A worker was born for a ticket; *max_tool_rounds* is the bound of its loop."""

    model: str
    max_tool_rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketEscalated(Event):
    """The next attempt at a ticket is made by another model, *model*.

    *before* is the model of the attempt before, *reason* is why that came to nothing.
    """

    model: str
    before: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceChecked(Event):
    """A ticket's acceptance command was run.

    *exit_code* is `None` for one that was out of time.
    """

    command: str
    passed: bool
    exit_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketMerged(TicketEvent):
    """An accepted diff is in the run's tree; *files* are what it changed."""

    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConflicted(TicketEvent):
    """An accepted diff clashes in *files* with what was merged since it began."""

    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketReturned(Event):
    """A result was not accepted.

    *by* is `review`, `commands`, `modules`, `worker` or `merge`.
    """

    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFinished(TicketEvent):
    """A ticket ended; *state* is its outcome's: `completed`, `failed`, `blocked`, …"""

    state: str
    reason: str
    rounds: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketReopened(TicketEvent):
    """A ticket that had ended is to be done after all; *reason* says why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketPrioritised(TicketEvent):
    """A ticket has another *priority* now."""

    priority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFixed(Event):
    """Tier 4 contented a linter, *command*, by writing *files*."""

    command: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewGiven(Event):
    """Tier 2 has reviewed a ticket's diff."""

    accepted: bool
    remarks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackReviewed(TrackEvent):
    """Tier 1 has judged what was done in a track."""

    accepted: bool
    remarks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HintGiven(Event):
    """Tier 4 turned *raw_characters* of output into a hint of *tokens* tokens."""

    hint: str
    tokens: int
    raw_characters: int
