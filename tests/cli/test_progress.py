from decimal import Decimal

from mma_runtime.cli.progress import Progress
from mma_runtime.events import (
    ActorStarted,
    Event,
    EventsSkipped,
    ModelCallFailed,
    ModelCallFinished,
    ModelCallStarted,
    Origin,
    RoundStarted,
    RunFinished,
    RunStarted,
    TicketFinished,
    TicketPlanned,
    TicketReturned,
    TicketStarted,
    ToolCallFinished,
    ToolCallStarted,
)

WORKER = Origin(run="r", tier="worker", ticket="a", task="ticket")
LEAD = Origin(run="r", tier="tech_lead", track="t", task="plan")
STARTED = RunStarted(
    name="demo",
    models={"tech_lead": "openai:gpt-4o", "worker": "scripted:worker"},
    scripted=("worker",),
    max_tool_rounds=8,
)
PLANNED = TicketPlanned(origin=WORKER, title="Title", depends_on=())
BEGUN = TicketStarted(origin=WORKER, model="scripted:worker", max_tool_rounds=8)


def call(origin: Origin, name: str = "c1") -> ModelCallStarted:
    return ModelCallStarted(origin=origin, call=name, model="m:x", attempt=1)


def reply(
    origin: Origin, usd: Decimal | None, name: str = "c1", tokens: int = 10
) -> ModelCallFinished:
    return ModelCallFinished(
        origin=origin,
        call=name,
        model="m:x",
        finish="stop",
        input_tokens=tokens,
        output_tokens=1,
        usd=usd,
        billed=True,
        seconds=0.1,
    )


def progress_of(*events: Event) -> Progress:
    progress = Progress()
    for event in events:
        progress.add(event)

    return progress


def test_a_run_begins_with_its_tiers_waiting() -> None:
    progress = progress_of(STARTED)

    assert progress.name == "demo"
    assert [progress.state_of(tier) for tier in progress.tiers] == ["waits", "waits"]
    assert progress.tiers["worker"].scripted
    assert not progress.tiers["tech_lead"].scripted


def test_a_tier_says_what_it_is_asked() -> None:
    review = Origin(run="r", tier="tech_lead", ticket="a", task="review")
    progress = progress_of(STARTED, call(LEAD, "c1"))
    assert progress.state_of("tech_lead") == "plans t"

    progress.add(call(review, "c2"))
    assert progress.state_of("tech_lead") == "plans t (+1)"

    progress.add(reply(LEAD, Decimal("0.5"), "c1"))
    assert progress.state_of("tech_lead") == "reviews a"

    progress.add(reply(review, Decimal("0.5"), "c2"))
    assert progress.state_of("tech_lead") == "idle"


def test_workers_are_at_work_while_their_tools_run() -> None:
    other = Origin(run="r", tier="worker", ticket="b", task="ticket")
    begun = TicketStarted(origin=other, model="m:x", max_tool_rounds=8)

    progress = progress_of(STARTED, BEGUN, begun)

    assert progress.state_of("worker") == "2 at work"


def test_a_ticket_goes_through_rounds_and_tools() -> None:
    progress = progress_of(STARTED, PLANNED)
    ticket = progress.tickets["a"]
    assert (ticket.title, ticket.state, progress.running) == ("Title", "pending", {})

    progress.add(BEGUN)
    progress.add(RoundStarted(origin=WORKER, round=3, max_rounds=8))
    progress.add(call(WORKER))
    assert list(progress.running) == ["a"]
    assert (ticket.round, ticket.max_rounds, ticket.doing) == (3, 8, "thinks")

    progress.add(ToolCallStarted(origin=WORKER, call="c1.1", tool="edit_file"))
    assert ticket.doing == "edit_file"

    progress.add(
        ToolCallFinished(
            origin=WORKER,
            call="c1.1",
            tool="edit_file",
            is_error=False,
            characters=3,
            seconds=0.1,
        )
    )
    assert ticket.doing == ""


def test_a_ticket_counts_what_all_tiers_spend_on_it() -> None:
    review = Origin(run="r", tier="tech_lead", ticket="a", task="review")

    progress = progress_of(
        STARTED,
        BEGUN,
        reply(WORKER, Decimal("0.1"), tokens=100),
        reply(review, Decimal("0.2"), tokens=10),
        reply(LEAD, Decimal("0.4"), tokens=1),
    )

    spent = progress.tickets["a"].spent
    assert (spent.calls, spent.tokens, spent.usd) == (2, 112, Decimal("0.3"))
    assert progress.spent.usd == Decimal("0.7")
    assert progress.tiers["tech_lead"].spent.usd == Decimal("0.6")


def test_an_unknown_price_is_counted_and_not_taken_as_zero() -> None:
    progress = progress_of(STARTED, reply(LEAD, None), reply(LEAD, Decimal(1)))

    assert (progress.spent.calls, progress.spent.unknown) == (2, 1)


def test_a_second_attempt_begins_at_its_first_round() -> None:
    again = TicketStarted(
        origin=Origin(tier="worker", ticket="a", attempt=2),
        model="m:x",
        max_tool_rounds=8,
    )

    progress = progress_of(
        BEGUN,
        RoundStarted(origin=WORKER, round=8, max_rounds=8),
        TicketReturned(origin=WORKER, by="review", reason="no"),
        again,
    )

    ticket = progress.tickets["a"]
    assert (ticket.attempt, ticket.round, ticket.state) == (2, 0, "running")


def test_a_finished_ticket_runs_no_more() -> None:
    done = TicketFinished(
        origin=WORKER, state="completed", reason="", rounds=3, attempts=2
    )

    progress = progress_of(BEGUN, done)

    assert progress.running == {}
    assert progress.count("completed") == 1
    assert progress.tickets["a"].attempt == 2


def test_a_failed_call_is_over_and_its_wait_is_told() -> None:
    failed = ModelCallFailed(
        origin=WORKER, call="c1", model="m:x", error="429", retry_in=2.2
    )

    progress = progress_of(STARTED, BEGUN, call(WORKER), failed)

    assert progress.tiers["worker"].active == {}
    assert progress.tickets["a"].doing == "tries again in 2 s"


def test_a_finished_run_leaves_no_tier_active() -> None:
    progress = progress_of(
        STARTED, call(LEAD), RunFinished(state="cancelled", reason="")
    )

    assert progress.finished
    assert progress.state_of("tech_lead") == "waits"


def test_events_that_came_after_skipped_ones_do_not_break_the_fold() -> None:
    unseen = Origin(tier="worker", ticket="z", task="ticket")

    progress = progress_of(
        EventsSkipped(count=9),
        ActorStarted(actor="x"),
        RoundStarted(origin=unseen, round=2, max_rounds=4),
        reply(unseen, Decimal("0.1")),
        ModelCallFailed(
            origin=Origin(tier="qa"), call="c", model="m:x", error="", retry_in=None
        ),
    )

    assert progress.running["z"].round == 2
    assert progress.tiers["worker"].spent.calls == 1
