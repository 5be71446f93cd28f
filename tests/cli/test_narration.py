import pytest

from mma_runtime.cli.narration import narrate
from mma_runtime.events import (
    ActorCrashed,
    ActorStarted,
    AnswerRejected,
    BudgetReached,
    BudgetWarning,
    ChangesApplied,
    Event,
    EventsSkipped,
    ExpectationChecked,
    HintGiven,
    ModelCallFailed,
    ModelFellBack,
    Origin,
    ReviewGiven,
    RoundStarted,
    RunStarted,
    TicketFinished,
    TicketPlanned,
    TicketReturned,
    TicketStarted,
    TrackFinished,
    TrackPlanned,
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
