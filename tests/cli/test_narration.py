from dataclasses import MISSING, fields
from decimal import Decimal
from io import StringIO
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from rich.console import Console

from mma_runtime import events
from mma_runtime.cli.live import Display
from mma_runtime.cli.narration import narrate
from mma_runtime.events import (
    ActorCrashed,
    ActorRestarted,
    ActorStarted,
    AnswerRejected,
    ApprovalAsked,
    ApprovalGiven,
    BudgetReached,
    BudgetWarning,
    ChangesApplied,
    ConclusionAsked,
    Event,
    EventsSkipped,
    ExpectationChecked,
    HintGiven,
    HistoryCut,
    LintFixed,
    ModelCallFailed,
    ModelFellBack,
    Origin,
    OutputCut,
    ReviewGiven,
    RoundStarted,
    RunPaused,
    RunResumed,
    RunStarted,
    TicketDropped,
    TicketEscalated,
    TicketFinished,
    TicketPlanned,
    TicketPrioritised,
    TicketReopened,
    TicketReturned,
    TicketStarted,
    ToolCallDenied,
    TrackFinished,
    TrackPlanned,
    TrackReviewed,
    WorkerStuck,
)

TICKET = Origin(run="r1", tier="worker", ticket="a", attempt=2)
TRACK = Origin(run="r1", tier="tech_lead", track="t")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (TrackPlanned(origin=TRACK, title="One", goal="g"), "track t: planned: One"),
        (
            TrackFinished(origin=TRACK, state="rejected", reason="no\ntests"),
            "track t: rejected: no",
        ),
        (
            TicketPlanned(origin=TICKET, title="One", depends_on=("b", "c")),
            "ticket a: planned: One (after b, c)",
        ),
        (
            TicketStarted(origin=TICKET, model="openai:x", max_tool_rounds=3),
            "ticket a: attempt 2 on openai:x",
        ),
        (
            TicketReturned(origin=TICKET, by="review", reason="1. Name it."),
            "ticket a: returned by review: 1. Name it.",
        ),
        (
            TicketFinished(
                origin=TICKET, state="completed", reason="x", rounds=1, attempts=2
            ),
            "ticket a: completed (1 round, 2 attempts)",
        ),
        (
            TicketFinished(
                origin=TICKET, state="failed", reason="lost", rounds=2, attempts=1
            ),
            "ticket a: failed (2 rounds, 1 attempt): lost",
        ),
        (
            ReviewGiven(origin=TICKET, accepted=True, remarks=""),
            "ticket a: accepted in review",
        ),
        (ReviewGiven(origin=TICKET, accepted=False, remarks="no"), ""),
        (
            HintGiven(origin=TICKET, hint="Close it.", tokens=3, raw_characters=9000),
            "ticket a: hint of 3 tokens from 9,000 characters of output: Close it.",
        ),
        (
            AnswerRejected(origin=TRACK, problem="no JSON", tries=1),
            "tech_lead (t): answer 1 cannot be used: no JSON",
        ),
        (
            ModelCallFailed(
                origin=TICKET, call="c", model="m:x", error="busy", retry_in=1.25
            ),
            "worker (a): busy; tries again in 1.2 s",
        ),
        (
            ModelCallFailed(
                origin=Origin(tier="qa"), call="c", model="m", error="no", retry_in=None
            ),
            "",
        ),
        (
            BudgetReached(unit="usd", limit="1", spent="0.99", needed="0.02"),
            (
                "budget of the run reached: 0.99 of 1 usd spent, the next call needs"
                " up to 0.02"
            ),
        ),
        (
            BudgetWarning(
                level="ticket",
                name="a",
                unit="calls",
                per_cent=80,
                limit="10",
                spent="8",
            ),
            "budget of the ticket a: 80 % used (8 of 10 calls)",
        ),
        (
            ModelFellBack(origin=TICKET, call="c", model="a:x", to="b:y", error="no"),
            "worker (a): a:x is left alone: no; asking b:y",
        ),
        (ExpectationChecked(name="pytest", passed=True, detail=""), ""),
        (
            ExpectationChecked(name="pytest", passed=False, detail="exit code 1"),
            "expected pytest: NO: exit code 1",
        ),
        (ChangesApplied(files=("a", "b")), "changes applied: 2 files"),
        (
            ActorCrashed(actor="r1/costs", message="Add", error="bug"),
            "actor r1/costs crashed: bug",
        ),
        (
            ActorRestarted(actor="r1/costs", restarts=1, delay=0.25),
            "actor r1/costs runs again after 0.2 s",
        ),
        (TicketEscalated(origin=TICKET, model="m:big"), "ticket a: climbs to m:big"),
        (
            TicketReopened(origin=TICKET, reason="try\nagain"),
            "ticket a: is to be done again: try",
        ),
        (
            TicketPrioritised(origin=TICKET, priority="high"),
            "ticket a: has priority high now",
        ),
        (RunPaused(reason=""), "paused: no further ticket starts"),
        (RunResumed(), "goes on: tickets start again"),
        (
            ApprovalAsked(origin=TICKET, call="", tool=""),
            "ticket a: waits for a word on its start",
        ),
        (
            ApprovalAsked(origin=TICKET, call="c", tool="write_file"),
            "ticket a: waits for a word on a call of write_file",
        ),
        (
            ApprovalGiven(
                origin=TICKET,
                call="c",
                tool="write_file",
                approved=True,
                edited=True,
                seconds=1,
            ),
            "ticket a: a call of write_file is approved with other arguments",
        ),
        (
            ApprovalGiven(
                origin=TICKET,
                call="",
                tool="",
                approved=False,
                edited=False,
                seconds=1,
                reason="not today",
            ),
            "ticket a: its start is rejected: not today",
        ),
        (
            ToolCallDenied(origin=TICKET, call="c", tool="fetch_url"),
            "worker (a): a call of fetch_url is denied by the policy",
        ),
        (
            TicketDropped(origin=TICKET, reason="no room"),
            "ticket a: is not added: no room",
        ),
        (
            TrackReviewed(origin=TRACK, accepted=False, remarks="no tests"),
            "track t: is not accepted yet: no tests",
        ),
        (TrackReviewed(origin=TRACK, accepted=True, remarks="good"), ""),
        (
            ConclusionAsked(origin=TICKET, reason="the last round"),
            "worker (a): is to conclude: the last round",
        ),
        (
            LintFixed(origin=TICKET, command="ruff check .", files=("a.py", "b.py")),
            "ticket a: Tier 4 has mended a.py, b.py; ruff check . passes",
        ),
        (
            WorkerStuck(origin=TICKET, reason="the same call", told=True),
            "ticket a: goes in circles: the same call",
        ),
        (WorkerStuck(origin=TICKET, reason="the same call", told=False), ""),
        (
            HistoryCut(origin=TRACK, turns=4, tokens=12_000),
            "tech_lead (t): forgets its oldest 4 turns, about 12,000 tokens",
        ),
        (
            OutputCut(origin=TICKET, what="run_command", characters=1),
            "worker (a): 1 character of run_command not shown",
        ),
        (EventsSkipped(count=1), "1 event not shown: the display fell behind"),
        (RoundStarted(round=1, max_rounds=2), ""),
        (ActorStarted(actor="x"), ""),
    ],
)
def test_a_noteworthy_event_is_one_line_and_others_are_none(
    event: Event, line: str
) -> None:
    assert narrate(event) == line


def test_the_start_says_which_tiers_are_scripted_and_which_are_real() -> None:
    started = RunStarted(
        origin=Origin(run="r1"),
        name="demo",
        models={"worker": "openai:gpt-4o-mini", "qa": "scripted:qa"},
        scripted=("qa",),
        priced_as={"qa": "openai:gpt-4o"},
        max_tool_rounds=1,
    )

    assert narrate(started).splitlines() == [
        "run r1: demo",
        "  worker  openai:gpt-4o-mini  (real model)",
        "  qa      scripted:qa  (scripted, priced as openai:gpt-4o)",
        "  at most 1 tool round for a task",
    ]


def test_what_a_model_wrote_cannot_steer_the_terminal_nor_fill_it() -> None:
    hint = HintGiven(
        origin=TICKET,
        hint="\n\x1b[2J[red]x\x07" + "y" * 500,
        tokens=1,
        raw_characters=1,
    )

    line = narrate(hint)

    assert line.isprintable()
    assert "[red]x" in line
    assert len(line) < 250


# --- all there are ------------------------------------------------------------


EVENTS = [
    each
    for each in vars(events).values()
    if isinstance(each, type) and issubclass(each, Event)
]
HAPPENING = [
    each for each in EVENTS if not any(each in other.__bases__ for other in EVENTS)
]


def value(kind: Any) -> Any:
    """Return something of the type *kind* that is worth telling."""
    if isinstance(kind, UnionType):
        return value(get_args(kind)[0])

    plain = get_origin(kind) or kind
    if plain is dict:
        return {"worker": "m:x"}

    if plain is tuple:
        return ("some\x1bthing",)

    if plain is Decimal:
        return Decimal("0.5")

    return {str: "some\x1bthing", int: 7, float: 1.5, bool: True}[plain]


def example(cls: type[Event]) -> Event:
    hints = get_type_hints(cls)
    needed = [
        one.name
        for one in fields(cls)
        if one.init and one.default is MISSING and one.default_factory is MISSING
    ]
    return cls(origin=TICKET, **{name: value(hints[name]) for name in needed})


@pytest.mark.parametrize("cls", HAPPENING, ids=lambda cls: cls.__name__)
def test_every_event_has_its_words_or_is_passed_over_on_purpose(
    cls: type[Event],
) -> None:
    file = StringIO()

    Display(Console(file=file, markup=False, width=10)).add(example(cls))

    assert narrate.dispatch(cls) is not narrate.dispatch(Event)
    assert "\x1b" not in file.getvalue()
