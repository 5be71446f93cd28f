"""One sentence for each event that is worth a line, and nothing for the others."""

from functools import singledispatch

from mma_runtime.cli.wording import count, one_line
from mma_runtime.events import (
    AcceptanceChecked,
    AccountRested,
    ActorCrashed,
    ActorEnded,
    ActorRestarted,
    ActorStarted,
    AnswerRejected,
    ApprovalAsked,
    ApprovalGiven,
    BranchPublished,
    BudgetReached,
    BudgetWarning,
    CallShrunk,
    ChangesApplied,
    ConclusionAsked,
    CostCounted,
    DeadLetter,
    Event,
    EventsSkipped,
    ExpectationChecked,
    FilesRefreshed,
    HintGiven,
    HistoryCut,
    LimitLearnt,
    LintFixed,
    MergeConflicted,
    MessageDropped,
    ModelCallFailed,
    ModelCallFinished,
    ModelCallQueued,
    ModelCallStarted,
    ModelEndsSoon,
    ModelFellBack,
    OutputCut,
    ReviewGiven,
    RoundStarted,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    TicketChosen,
    TicketDropped,
    TicketEscalated,
    TicketFinished,
    TicketMerged,
    TicketPlanned,
    TicketPrioritised,
    TicketReopened,
    TicketReturned,
    TicketStarted,
    ToolCallDenied,
    ToolCallFinished,
    ToolCallStarted,
    TrackFinished,
    TrackPlanned,
    TrackReviewed,
    WorkerStuck,
)

_SOON = 0.05
"""Seconds below which a wait is none to tell of."""

_WALLS = {
    "bubblewrap": "behind bubblewrap's walls",
    "limits only": "under limits only: bubblewrap is not used",
}


@singledispatch
def narrate(event: Event) -> str:
    """Return what is to be said about *event*, in one or more lines, or nothing."""
    del event
    return ""


@narrate.register
def _(
    event: ActorStarted
    | ActorEnded
    | DeadLetter
    | MessageDropped
    | RoundStarted
    | TicketChosen
    | AcceptanceChecked
    | TicketMerged
    | MergeConflicted
    | ModelCallQueued
    | CallShrunk
    | AccountRested
    | LimitLearnt
    | ModelCallStarted
    | ModelCallFinished
    | CostCounted
    | ToolCallStarted
    | ToolCallFinished
    | FilesRefreshed
    | RunFinished,
) -> str:
    # The steps of the work, which a live region shows, what is told by what follows
    # from it, and what the result tells.
    del event
    return ""


@narrate.register
def _(event: RunStarted) -> str:
    lines = [f"run {event.origin.run}: {one_line(event.name)}"]
    width = max(map(len, event.models), default=0)
    for tier, model in event.models.items():
        kind = "real model"
        if tier in event.scripted:
            kind = f"scripted, priced as {event.priced_as.get(tier, 'nothing')}"

        lines.append(f"  {tier:<{width}}  {model}  ({kind})")

    lines.append(f"  at most {count(event.max_tool_rounds, 'tool round')} for a task")
    if event.sandbox:
        lines.append(f"  commands run {_WALLS.get(event.sandbox, event.sandbox)}")

    for server, tools in event.mcp_servers.items():
        lines.append(f"  MCP server {server}: {count(tools, 'tool')}")

    return "\n".join(lines)


@narrate.register
def _(event: ModelEndsSoon) -> str:
    ends = "was shut down" if event.ended else "will be shut down"
    return f"warning: {event.model} {ends} on {event.day}; choose another model"


@narrate.register
def _(event: TrackPlanned) -> str:
    return f"track {event.origin.track}: planned: {one_line(event.title)}"


@narrate.register
def _(event: TrackFinished) -> str:
    return f"track {event.origin.track}: {event.state}{_because(event.reason)}"


@narrate.register
def _(event: TicketPlanned) -> str:
    after = f" (after {', '.join(event.depends_on)})" if event.depends_on else ""
    return f"ticket {event.origin.ticket}: planned: {one_line(event.title)}{after}"


@narrate.register
def _(event: TicketStarted) -> str:
    origin = event.origin
    return f"ticket {origin.ticket}: attempt {origin.attempt} on {event.model}"


@narrate.register
def _(event: TicketEscalated) -> str:
    return f"ticket {event.origin.ticket}: climbs to {event.model}"


@narrate.register
def _(event: TicketReopened) -> str:
    return f"ticket {event.origin.ticket}: is to be done again{_because(event.reason)}"


@narrate.register
def _(event: TicketPrioritised) -> str:
    return f"ticket {event.origin.ticket}: has priority {event.priority} now"


@narrate.register
def _(event: RunPaused) -> str:
    return f"paused: no further ticket starts{_because(event.reason)}"


@narrate.register
def _(event: RunResumed) -> str:
    del event
    return "goes on: tickets start again"


@narrate.register
def _(event: ApprovalAsked) -> str:
    return f"{_whose(event)}: waits for a word on {_asked(event.tool)}"


@narrate.register
def _(event: ApprovalGiven) -> str:
    answer = "approved" if event.approved else "rejected"
    edited = " with other arguments" if event.edited else ""
    because = _because(event.reason)
    return f"{_whose(event)}: {_asked(event.tool)} is {answer}{edited}{because}"


@narrate.register
def _(event: ToolCallDenied) -> str:
    return f"{_who(event)}: {_asked(event.tool)} is denied by the policy"


@narrate.register
def _(event: TicketDropped) -> str:
    return f"ticket {event.origin.ticket}: is not added{_because(event.reason)}"


@narrate.register
def _(event: TrackReviewed) -> str:
    if event.accepted:
        # The track's end says so.
        return ""

    return f"track {event.origin.track}: is not accepted yet{_because(event.remarks)}"


@narrate.register
def _(event: ConclusionAsked) -> str:
    return f"{_who(event)}: is to conclude{_because(event.reason)}"


@narrate.register
def _(event: LintFixed) -> str:
    files = ", ".join(map(one_line, event.files))
    return (
        f"ticket {event.origin.ticket}: Tier 4 has mended {files}; {event.command}"
        " passes"
    )


@narrate.register
def _(event: WorkerStuck) -> str:
    if not event.told:
        # The ticket's return says the same and more.
        return ""

    return f"ticket {event.origin.ticket}: goes in circles{_because(event.reason)}"


@narrate.register
def _(event: HistoryCut) -> str:
    return (
        f"{_who(event)}: forgets its oldest {count(event.turns, 'turn')}, about"
        f" {count(event.tokens, 'token')}"
    )


@narrate.register
def _(event: OutputCut) -> str:
    return (
        f"{_who(event)}: {count(event.characters, 'character')} of"
        f" {one_line(event.what)} not shown"
    )


@narrate.register
def _(event: TicketReturned) -> str:
    return (
        f"ticket {event.origin.ticket}: returned by {event.by}{_because(event.reason)}"
    )


@narrate.register
def _(event: TicketFinished) -> str:
    work = f"{count(event.rounds, 'round')}, {count(event.attempts, 'attempt')}"
    # What is good needs no reason.
    why = "" if event.state == "completed" else _because(event.reason)
    return f"ticket {event.origin.ticket}: {event.state} ({work}){why}"


@narrate.register
def _(event: ReviewGiven) -> str:
    if not event.accepted:
        # The ticket's return says the same and more.
        return ""

    return f"ticket {event.origin.ticket}: accepted in review"


@narrate.register
def _(event: HintGiven) -> str:
    return (
        f"ticket {event.origin.ticket}: hint of {count(event.tokens, 'token')} from"
        f" {event.raw_characters:,} characters of output: {one_line(event.hint)}"
    )


@narrate.register
def _(event: AnswerRejected) -> str:
    return (
        f"{_who(event)}: answer {event.tries} cannot be used: {one_line(event.problem)}"
    )


@narrate.register
def _(event: ModelCallFailed) -> str:
    if event.retry_in is None:
        # What the call was for ends with it, and says why.
        return ""

    when = f"in {event.retry_in:.1f} s" if event.retry_in >= _SOON else "at once"
    return f"{_who(event)}: {one_line(event.error)}; tries again {when}"


@narrate.register
def _(event: BudgetReached) -> str:
    whose = f"{event.level} {event.name}".strip()
    return (
        f"budget of the {whose} reached: {event.spent} of {event.limit} {event.unit}"
        f" spent, the next call needs up to {event.needed}"
    )


@narrate.register
def _(event: BudgetWarning) -> str:
    whose = f"{event.level} {event.name}".strip()
    return (
        f"budget of the {whose}: {event.per_cent} % used"
        f" ({event.spent} of {event.limit} {event.unit})"
    )


@narrate.register
def _(event: ModelFellBack) -> str:
    why = _because(one_line(event.error)) if event.error else " for now"
    return f"{_who(event)}: {event.model} is left alone{why}; asking {event.to}"


@narrate.register
def _(event: ExpectationChecked) -> str:
    if event.passed:
        # The table at the end lists them all.
        return ""

    return f"expected {one_line(event.name)}: NO{_because(event.detail)}"


@narrate.register
def _(event: ChangesApplied) -> str:
    return f"changes applied: {count(len(event.files), 'file')}"


@narrate.register
def _(event: BranchPublished) -> str:
    return f"changes published: branch {event.branch}"


@narrate.register
def _(event: ActorCrashed) -> str:
    return f"actor {event.actor} crashed{_because(event.error)}"


@narrate.register
def _(event: ActorRestarted) -> str:
    return f"actor {event.actor} runs again after {event.delay:.1f} s"


@narrate.register
def _(event: EventsSkipped) -> str:
    return f"{count(event.count, 'event')} not shown: the display fell behind"


def _who(event: Event) -> str:
    origin = event.origin
    about = origin.ticket or origin.track
    return f"{origin.tier} ({about})" if about else origin.tier


def _whose(event: Event) -> str:
    ticket = event.origin.ticket
    return f"ticket {ticket}" if ticket else "the end of the run"


def _asked(tool: str) -> str:
    return f"a call of {tool}" if tool else "its start"


def _because(reason: str) -> str:
    return f": {one_line(reason)}" if reason.strip() else ""
