"""What can happen, as frozen records; imports nothing.

Everything that the kernel, a model, a tool or the supervisor does or decides becomes
one of these. The bus stamps each with its place in the order and the wall time, and
hands it to every subscriber. Prompts, replies and file contents are not in them.
"""

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where in a run something happened; made once per agent and shared by its events.

    *task* is the occasion that a tier agent works on: `plan`, `review`, `accept`,
    `ticket` or `hint`. *attempt* counts from 1.
    """

    run: str = ""
    tier: str = ""
    track: str = ""
    ticket: str = ""
    attempt: int = 1
    task: str = ""


NOWHERE = Origin()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events.

    *seq* counts from 1 without gaps within one bus; *time* is seconds since the epoch.
    Both are 0 until the bus has stamped the event.
    """

    origin: Origin = NOWHERE
    seq: int = field(default=0, init=False)
    time: float = field(default=0.0, init=False)


# --- actors -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorEvent(Event):
    """Base of what happens to one actor; *actor* is its full name."""

    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorStarted(ActorEvent):
    """The actor has entered its lifespan and takes messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorEnded(ActorEvent):
    """The actor has ended for good; *reason* is `stopped` or the failure."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorCrashed(ActorEvent):
    """A handler or the lifespan raised; *message* is the type that was handled."""

    message: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorRestarted(ActorEvent):
    """The actor runs again from its recipe, with the same mailbox.

    *restarts* counts all of them; *delay* is the backoff before it, in seconds.
    """

    restarts: int
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(ActorEvent):
    """A message that nobody handled; *reason* says why, *count* counts per actor."""

    message: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDropped(ActorEvent):
    """A full mailbox dropped its oldest message; *count* counts per actor."""

    message: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsSkipped(Event):
    """A slow subscriber missed *count* events; it was not waited for."""

    count: int


# --- runs, tracks, tickets ----------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run began. *models* maps each tier to its `provider:model`.

    *scripted* are the tiers whose replies are given; *priced_as* tells as which model
    each of them is priced.
    """

    name: str
    models: dict[str, str]
    scripted: tuple[str, ...]
    max_tool_rounds: int
    priced_as: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEndsSoon(Event):
    """A model of the run ends within 60 days, or has ended; *day* is an ISO date."""

    model: str
    day: str
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run ended; *state* is the outcome's, *reason* is for people."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPlanned(Event):
    """Tier 1 planned a track (its id is in the origin)."""

    title: str
    goal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFinished(Event):
    """A track ended: *state* is `accepted`, `rejected` or `failed`."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketPlanned(Event):
    """Tier 2 planned a ticket (its id is in the origin)."""

    title: str
    depends_on: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketStarted(Event):
    """A worker was born for a ticket; *max_tool_rounds* is the bound of its loop."""

    model: str
    max_tool_rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketEscalated(Event):
    """The next attempt at a ticket is made by another model, *model*."""

    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFixed(Event):
    """Tier 4 contented a linter, *command*, by writing *files*."""

    command: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketReturned(Event):
    """A result was not accepted.

    *by* is `review`, `commands`, `modules`, `worker` or `merge`.
    """

    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFinished(Event):
    """A ticket ended; *state* is its outcome's: `completed`, `failed`, `blocked`, …"""

    state: str
    reason: str
    rounds: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketReopened(Event):
    """A ticket that had ended is to be done after all; *reason* says why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketPrioritised(Event):
    """A ticket has another *priority* now."""

    priority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPaused(Event):
    """No further ticket starts until the run is resumed; those at work go on."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed(Event):
    """Tickets start again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewGiven(Event):
    """Tier 2 has reviewed a ticket's diff."""

    accepted: bool
    remarks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HintGiven(Event):
    """Tier 4 turned *raw_characters* of output into a hint of *tokens* tokens."""

    hint: str
    tokens: int
    raw_characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRejected(Event):
    """A tier's answer was not in the form that is due and went back with *problem*."""

    problem: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationChecked(Event):
    """One line of the scenario's `expect` was checked."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesApplied(Event):
    """The run's changes were written to the user's folder."""

    files: tuple[str, ...]


# --- models, tools, costs -----------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStarted(Event):
    """Tool round *round* of at most *max_rounds* begins (both count from 1)."""

    round: int
    max_rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryCut(Event):
    """The oldest *turns* turns, about *tokens* tokens, were left out of a history."""

    turns: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCut(Event):
    """Of a tool's output or a file, *characters* characters were not shown.

    *what* names the tool or the file.
    """

    what: str
    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRefreshed(Event):
    """Files in an agent's context have changed; it was shown *characters* of diff."""

    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStuck(Event):
    """A worker goes in circles; it is told once, then its attempt ends (*told*)."""

    reason: str
    told: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallStarted(Event):
    """A request is about to be sent; *call* names it in the events that follow."""

    call: str
    model: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallQueued(Event):
    """A call has to wait before it is sent; *reason* is `budget` or `rate limit`."""

    call: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFellBack(Event):
    """A model was not to be had, so a call goes to the next one, *to*.

    *error* is why; it is empty where the model is left alone because of earlier errors.
    """

    call: str
    model: str
    to: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallFinished(Event):
    """A completion came. Tokens are as billed; *usd* is `None` where no price is known.

    *seconds* is the wall time of the call. *billed* is false for a scripted reply,
    which is priced as the model it stands in for.
    """

    call: str
    model: str
    finish: str
    input_tokens: int
    output_tokens: int
    usd: Decimal | None
    billed: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallFailed(Event):
    """A call failed or was cancelled.

    *retry_in* is in seconds, `None` when it is not tried again.
    """

    call: str
    model: str
    error: str
    retry_in: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostCounted(Event):
    """A call that did not end well was counted; *state* is `estimated` or `unknown`.

    What a good one costs is told by `ModelCallFinished`.
    """

    call: str
    model: str
    state: str
    input_tokens: int
    output_tokens: int
    usd: Decimal | None
    billed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked(Event):
    """A tool call waits for somebody's word. What it is for is content, not here."""

    call: str
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalGiven(Event):
    """The wait for a word has ended; *edited* tells that the arguments were changed."""

    call: str
    tool: str
    approved: bool
    edited: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallStarted(Event):
    """A tool begins. Its arguments are not here: they are content."""

    call: str
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallFinished(Event):
    """A tool ended; *characters* is the length of what the model gets to see."""

    call: str
    tool: str
    is_error: bool
    characters: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWarning(Event):
    """A budget is used up to *per_cent* (50, 80 or 95) per cent.

    *level* is `run`, `tier`, `track` or `ticket`, *name* is which of them; *unit* is
    `usd`, `tokens` or `calls`.
    """

    level: str
    name: str
    unit: str
    per_cent: int
    limit: str
    spent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetReached(Event):
    """A budget had no room for a model call, which was not made.

    *unit* is `usd`, `tokens`, `calls` or `seconds`; *reserved* is held by calls in
    flight and for conclusions, *needed* is what the call could have taken.
    """

    unit: str
    limit: str
    spent: str
    level: str = "run"
    name: str = ""
    reserved: str = "0"
    needed: str = "0"
