"""What can happen, as frozen records, by origin; imports nothing.

Everything that the kernel, a model, a tool or the supervisor does or decides becomes
one of these. The bus stamps each with its place in the order and the wall time, and
hands it to every subscriber. Prompts, replies and file contents are not in them.
"""

from mma_runtime.events.actors import (
    ActorCrashed,
    ActorEnded,
    ActorEvent,
    ActorRestarted,
    ActorStarted,
    DeadLetter,
    MessageDropped,
)
from mma_runtime.events.event import (
    NOWHERE,
    Event,
    EventsSkipped,
    Origin,
)
from mma_runtime.events.models import (
    CallEvent,
    ModelCallFailed,
    ModelCallFinished,
    ModelCallQueued,
    ModelCallStarted,
    ModelFellBack,
)
from mma_runtime.events.money import (
    BudgetReached,
    BudgetWarning,
    CostCounted,
)
from mma_runtime.events.rounds import (
    AnswerRejected,
    FilesRefreshed,
    HistoryCut,
    OutputCut,
    RoundStarted,
    WorkerStuck,
)
from mma_runtime.events.runs import (
    ChangesApplied,
    ExpectationChecked,
    ModelEndsSoon,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
)
from mma_runtime.events.tickets import (
    HintGiven,
    LintFixed,
    ReviewGiven,
    TicketEscalated,
    TicketEvent,
    TicketFinished,
    TicketPlanned,
    TicketPrioritised,
    TicketReopened,
    TicketReturned,
    TicketStarted,
    TrackEvent,
    TrackFinished,
    TrackPlanned,
)
from mma_runtime.events.tools import (
    ApprovalAsked,
    ApprovalGiven,
    ToolCallFinished,
    ToolCallStarted,
    ToolEvent,
)

__all__ = [
    "NOWHERE",
    "ActorCrashed",
    "ActorEnded",
    "ActorEvent",
    "ActorRestarted",
    "ActorStarted",
    "AnswerRejected",
    "ApprovalAsked",
    "ApprovalGiven",
    "BudgetReached",
    "BudgetWarning",
    "CallEvent",
    "ChangesApplied",
    "CostCounted",
    "DeadLetter",
    "Event",
    "EventsSkipped",
    "ExpectationChecked",
    "FilesRefreshed",
    "HintGiven",
    "HistoryCut",
    "LintFixed",
    "MessageDropped",
    "ModelCallFailed",
    "ModelCallFinished",
    "ModelCallQueued",
    "ModelCallStarted",
    "ModelEndsSoon",
    "ModelFellBack",
    "Origin",
    "OutputCut",
    "ReviewGiven",
    "RoundStarted",
    "RunFinished",
    "RunPaused",
    "RunResumed",
    "RunStarted",
    "TicketEscalated",
    "TicketEvent",
    "TicketFinished",
    "TicketPlanned",
    "TicketPrioritised",
    "TicketReopened",
    "TicketReturned",
    "TicketStarted",
    "ToolCallFinished",
    "ToolCallStarted",
    "ToolEvent",
    "TrackEvent",
    "TrackFinished",
    "TrackPlanned",
    "WorkerStuck",
]
