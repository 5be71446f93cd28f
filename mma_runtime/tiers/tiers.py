"""What the supervisor and the tier agents say to each other.

The agents themselves live in other packages and are known here by name alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from string import Template
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from mma_runtime.errors import CommandFailed, MMAError
from mma_runtime.events import Event, Origin
from mma_runtime.kernel import Actor, Request
from mma_runtime.llm.chat import Image
from mma_runtime.model import Model
from mma_runtime.observing import RunObserver
from mma_runtime.plan import EpicPlan, Ticket, Track, TrackPlan
from mma_runtime.rounds import CONTEXT_TOKENS, MAX_TOOL_ROUNDS, PLAIN, Sampling
from mma_runtime.rounds.known_files import KnownFiles
from mma_runtime.tools.toolbox import NO_TOOLS, Toolbox


class Tier(StrEnum):
    """The four tiers, from the one that thinks to the one that reads logs."""

    ORCHESTRATOR = "orchestrator"
    TECH_LEAD = "tech_lead"
    WORKER = "worker"
    QA = "qa"


Check = Callable[[str], object]
"""Looks at a worker's closing answer; raises `PlanRejected`, in words for a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What a tier agent works with.

    *max_rounds* bounds its tool loop, *context_tokens* its history. *prompts* are the
    scenario's own, by occasion; *rules* are the project's. *hint* turns a failed
    command into a hint, where there is Tier 4; *known* are the files that a worker was
    shown, where there is a checkout. *check* is what its
    closing answer has to pass. *observer* looks on at what it does.
    """

    origin: Origin
    model: Model
    emit: Callable[[Event], None]
    toolbox: Toolbox = NO_TOOLS
    max_rounds: int = MAX_TOOL_ROUNDS
    sampling: Sampling = PLAIN
    context_tokens: int = CONTEXT_TOKENS
    prompts: Mapping[str, Template] = field(default_factory=dict[str, Template])
    rules: str = ""
    hint: Callable[[CommandFailed], Awaitable[str]] | None = None
    known: KnownFiles | None = None
    check: Check | None = None
    observer: RunObserver | None = None


AgentClass = Callable[[Equipment], Actor]


class Verdict(BaseModel):
    """Tier 1's or Tier 2's judgement of finished work."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

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

    *bounded* tells that it ran out of rounds, *stuck* that it went in circles: *answer*
    is then partial, and *reason* says why. *error* is what kept it from its work.
    *rounds* counts its tool rounds since the last report.
    """

    answer: str
    rounds: int
    bounded: bool = False
    stuck: bool = False
    reason: str = ""
    error: MMAError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEpic(Request[EpicPlan]):
    """Ask Tier 1 to turn an epic into tracks; it sees names of files, no source.

    *docs* are the documents that the scenario names, *images* its images.
    """

    epic: str
    directory_map: str
    docs: str = ""
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTrack(Request[TrackPlan]):
    """Ask Tier 2 to turn its track into tickets.

    *view* shows the code: curated in the track's modules, outlined elsewhere. *taken*
    holds the ticket ids of other tracks: an id names one ticket in a run. *tools* are
    the names of what workers have. *is_denied* tells of commands that may never run.
    """

    track: Track
    directory_map: str = ""
    view: str = ""
    docs: str = ""
    images: tuple[Image, ...] = ()
    taken: frozenset[str] = frozenset()
    tools: tuple[str, ...] = ()
    is_denied: Callable[[str], bool] | None = None


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
class ShownFile:
    """A file as a worker is shown it; *view* says how: raw, skeleton, not shown, …"""

    path: str
    view: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoTicket(Request[TicketReport]):
    """Ask Tier 3 to do a ticket; *attempts* tells how earlier ones ended."""

    ticket: Ticket
    files: tuple[ShownFile, ...] = ()
    images: tuple[Image, ...] = ()
    attempts: tuple[str, ...] = ()


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
    """Ask Tier 4 for a hint on a failed command.

    *exit_code* is `None` when its time was up. *error* is what its output says of the
    error, *place* the lines around the place that it names. *raw_characters* is the
    length of the whole output.
    """

    command: str
    exit_code: int | None
    error: str
    place: str = ""
    raw_characters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveTestHint(Request[str]):
    """Ask Tier 4 for a hint on a failing test, by the test and what it tests."""

    command: str
    error: str
    test: str
    function: str
    raw_characters: int = 0


class LintEdit(BaseModel):
    """One change: *old*, which is in the file exactly once, becomes *new*."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    path: str
    old: str = Field(min_length=1)
    new: str


class LintPatch(BaseModel):
    """Tier 4's answer to a linter's complaints."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    edits: tuple[LintEdit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FixLint(Request[LintPatch]):
    """Ask Tier 4 to content a linter; *files* are those it complains of, as text."""

    command: str
    output: str
    files: tuple[tuple[str, str], ...]
