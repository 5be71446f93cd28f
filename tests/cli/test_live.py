from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from mma_runtime.cli.live import Display, LiveDisplay, region
from mma_runtime.cli.progress import Progress
from mma_runtime.events import (
    Event,
    ModelCallFinished,
    Origin,
    RoundStarted,
    RunStarted,
    TicketFinished,
    TicketPlanned,
    TicketStarted,
    ToolCallStarted,
)


def on(ticket: str, attempt: int = 1) -> Origin:
    return Origin(tier="worker", ticket=ticket, attempt=attempt, task="ticket")


def begun(*tickets: str) -> Progress:
    progress = Progress()
    progress.add(
        RunStarted(
            name="demo",
            models={"worker": "openai:x", "qa": "openai:x"},
            scripted=(),
            max_tool_rounds=5,
        )
    )
    for ticket in tickets:
        progress.add(TicketPlanned(origin=on(ticket), title="T", depends_on=()))
        progress.add(
            TicketStarted(origin=on(ticket), model="openai:x", max_tool_rounds=5)
        )

    progress.began = 1000.0
    return progress


def call(ticket: str, usd: Decimal | None) -> Event:
    return ModelCallFinished(
        origin=on(ticket),
        call="c",
        model="openai:x",
        finish="stop",
        input_tokens=1200,
        output_tokens=34,
        usd=usd,
        billed=True,
        seconds=1.0,
    )


def terminal(height: int = 30) -> Console:
    return Console(
        file=StringIO(), width=100, height=height, force_terminal=True, markup=False
    )


def rows(progress: Progress, now: float = 1000.0, room: int = 10) -> list[str]:
    console = Console(file=StringIO(), width=100, markup=False)
    console.print(region(progress, now, room))
    return [" ".join(row.split()) for row in written(console).splitlines()]


def written(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_region_has_a_line_per_tier_and_running_ticket() -> None:
    progress = begun("a")
    progress.add(RoundStarted(origin=on("a"), round=3, max_rounds=5))
    progress.add(call("a", Decimal("0.02")))
    progress.add(ToolCallStarted(origin=on("a"), call="c.1", tool="edit_file"))

    assert rows(progress, now=1083.0) == [
        "worker 1 at work 1,234 tokens $0.0200",
        "qa waits",
        "a round 3 of 5 · edit_file 1,234 tokens $0.0200",
        "all 1:23 · 0 of 1 tickets completed 1,234 tokens $0.0200",
    ]


def test_a_price_that_nobody_knows_is_unknown_in_the_region() -> None:
    progress = begun("a")
    progress.add(call("a", None))

    assert rows(progress)[0] == "worker 1 at work 1,234 tokens unknown"


def test_a_later_attempt_is_told() -> None:
    progress = begun()
    progress.add(TicketStarted(origin=on("a", 2), model="openai:x", max_tool_rounds=5))

    assert rows(progress)[2] == "a attempt 2 · begins"


def test_a_finished_ticket_leaves_the_region() -> None:
    progress = begun("a", "b")
    progress.add(
        TicketFinished(
            origin=on("a"), state="completed", reason="", rounds=1, attempts=1
        )
    )

    assert [row.split()[0] for row in rows(progress)] == ["worker", "qa", "b", "all"]
    assert "1 of 2 tickets completed" in rows(progress)[-1]


def test_many_tickets_never_fill_more_than_there_is_room() -> None:
    progress = begun(*(f"t{number}" for number in range(500)))

    shown = rows(progress, room=3)

    assert len(shown) == 7
    assert shown[5] == "and 497 more"
    assert shown[0].startswith("worker 500 at work")


def test_nothing_is_shown_of_a_run_that_has_not_begun() -> None:
    assert rows(Progress()) == ["all 0:00"]


def test_plain_lines_are_printed_as_they_come_and_kept() -> None:
    console = Console(file=StringIO(), width=20, markup=False)
    display = Display(console)

    display.add(TicketPlanned(origin=on("a"), title="A long title" * 5, depends_on=()))
    display.add(RoundStarted(origin=on("a"), round=1, max_rounds=5))
    display.refresh()
    display.close()

    assert written(console) == f"ticket a: planned: {'A long title' * 5}\n"
    assert [str(line) for line in display.transcript] == [written(console).strip()]


def test_on_a_terminal_lines_break_between_words() -> None:
    console = Console(file=StringIO(), width=40, force_terminal=True, markup=False)
    display = Display(console)

    title = "What an amount is, and what becomes of it"
    display.add(TicketPlanned(origin=on("a"), title=title, depends_on=()))

    assert written(console) == (
        "ticket a: planned: What an amount is,\n    and what becomes of it\n"
    )


def test_the_live_display_draws_below_what_was_said_and_cleans_up() -> None:
    console = terminal()
    display = LiveDisplay(console)
    for event in (
        TicketPlanned(origin=on("a"), title="One", depends_on=()),
        TicketStarted(origin=on("a"), model="openai:x", max_tool_rounds=5),
    ):
        display.add(event)

    display.refresh()
    drawn = written(console)
    display.close()
    display.close()
    display.refresh()

    assert "ticket a: planned: One" in drawn
    assert drawn.index("planned: One") < drawn.rindex("begins")
    # The cursor is shown again, and nothing was drawn after that.
    assert written(console).count("\x1b[?25l") == written(console).count("\x1b[?25h")
    assert "begins" not in written(console)[written(console).rindex("\x1b[?25h") :]


@pytest.mark.parametrize("height", [1, 5])
def test_a_tiny_terminal_is_no_problem(height: int) -> None:
    display = LiveDisplay(terminal(height))

    display.progress = begun("a", "b")
    display.refresh()
    display.close()

    assert "and 1 more" in written(display.console) or height == 1
