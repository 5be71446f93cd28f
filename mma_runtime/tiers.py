"""What the supervisor and the tier agents say to each other.

The agents themselves live in other packages and are known here by name alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from mma_runtime.errors import MMAError
from mma_runtime.events import Event, Origin
from mma_runtime.kernel import Actor, Ref, Request
from mma_runtime.model import Model
from mma_runtime.plan import EpicPlan, Ticket, Track, TrackPlan
from mma_runtime.rounds import MAX_TOOL_ROUNDS, PLAIN, Sampling
from mma_runtime.tools.toolbox import NO_TOOLS, Toolbox


class Tier(StrEnum):
    """The four tiers, from the one that thinks to the one that reads logs."""

    ORCHESTRATOR = "orchestrator"
    TECH_LEAD = "tech_lead"
    WORKER = "worker"
    QA = "qa"


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What a tier agent works with.

    *max_rounds* bounds its tool loop. *qa* is the Tier 4 agent to ask for hints, where
    there is one.
    """

    origin: Origin
    model: Model
    emit: Callable[[Event], None]
    toolbox: Toolbox = NO_TOOLS
    max_rounds: int = MAX_TOOL_ROUNDS
    sampling: Sampling = PLAIN
    qa: Ref | None = None


AgentClass = Callable[[Equipment], Actor]


class Verdict(BaseModel):
    """Tier 1's or Tier 2's judgement of finished work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accepted: bool
    remarks: str = Field("", description="What has to change; empty when accepted.")


class Review(Verdict):
    """Tier 2's judgement of a ticket, with what it found to be done besides."""

    tickets: tuple[Ticket, ...] = Field(
        default=(), description="Further tickets, when accepted; mostly none."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandVerdict:
    """Whether a command succeeded; its output stays below, as logs do."""

    command: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketReport:
    """What a worker says at the end of its work on a ticket.

    *bounded* tells that it ran out of rounds: *answer* is then partial, and *reason*
    says why. *error* is what kept it from its work. *rounds* counts its tool rounds
    since the last report.
    """

    answer: str
    rounds: int
    bounded: bool = False
    reason: str = ""
    error: MMAError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEpic(Request[EpicPlan]):
    """Ask Tier 1 to turn an epic into tracks; it sees names of files, no source."""

    epic: str
    directory_map: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTrack(Request[TrackPlan]):
    """Ask Tier 2 to turn its track into tickets.

    *taken* holds the ticket ids of other tracks: an id names one ticket in a run.
    """

    track: Track
    view: str
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRework(Request[TrackPlan]):
    """Ask Tier 2 for further tickets, because its track was not accepted.

    *room* is how many it may add at most.
    """

    track: Track
    remarks: str
    taken: frozenset[str]
    room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoTicket(Request[TicketReport]):
    """Ask Tier 3 to do a ticket; *history* tells how earlier attempts ended."""

    ticket: Ticket
    files: tuple[tuple[str, str], ...] = ()
    history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReworkTicket(Request[TicketReport]):
    """Ask the same Tier 3 worker to go on with its ticket, with remarks on it."""

    remarks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewTicket(Request[Review]):
    """Ask Tier 2 to judge a ticket by its exact diff.

    It may add up to *room* tickets; *taken* holds the ids that they cannot have.
    """

    ticket: Ticket
    attempt: int
    diff: str
    verdicts: tuple[CommandVerdict, ...]
    taken: frozenset[str] = frozenset()
    room: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptTrack(Request[Verdict]):
    """Ask Tier 1 to accept a track by what was done in it, one line per ticket."""

    track: Track
    summary: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveHint(Request[str]):
    """Ask Tier 4 to turn a failed command's output into a hint."""

    command: str
    exit_code: int | None
    output: str
