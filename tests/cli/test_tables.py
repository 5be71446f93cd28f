from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mma_runtime.cli.tables import (
    cost_note,
    costs_table,
    end_tables,
    firewall_note,
    result_text,
)
from mma_runtime.cli.wording import dollars, price
from mma_runtime.costs.escalation import Escalation
from mma_runtime.costs.report import CostLine, CostReport, Spent
from mma_runtime.firewall import Firewall
from mma_runtime.llm.usage import Usage
from mma_runtime.outcome import (
    UNMERGED,
    Expectation,
    Outcome,
    RunState,
    TicketOutcome,
    TicketState,
)
from mma_runtime.workspace.diff import FileStat


def spent(usd: str = "0.10", calls: int = 2, unknown: int = 0, **more: Any) -> Spent:
    return Spent(
        calls=calls,
        usage=Usage(input=1000, output=50),
        usd=Decimal(usd),
        unknown_calls=unknown,
        **more,
    )


def line(
    sum_: Spent, *, billed: bool = True, tier: str = "worker", ticket: str = ""
) -> CostLine:
    return CostLine(
        tier=tier, ticket=ticket, model="openai:x", billed=billed, spent=sum_
    )


def ticket(state: TicketState = TicketState.COMPLETED, **more: Any) -> TicketOutcome:
    return TicketOutcome(id="a", title="A", track="", state=state, **more)


def outcome(**changes: Any) -> Outcome:
    values: dict[str, Any] = {
        "run": "r",
        "name": "demo",
        "state": RunState.COMPLETED,
        "reason": "1 ticket completed",
        "seconds": 1.54,
        "tracks": (),
        "tickets": (),
        "costs": CostReport(),
    }
    return Outcome(**values | changes)


def shown(of: Outcome, width: int = 100) -> list[str]:
    console = Console(
        file=StringIO(), width=width, markup=False, emoji=False, highlight=False
    )
    for part in end_tables(of, width):
        console.print(part)

    assert isinstance(console.file, StringIO)
    return [" ".join(row.split()) for row in console.file.getvalue().splitlines()]


def test_money_is_whole_where_there_is_little_room() -> None:
    rows = shown(
        outcome(
            tickets=(
                ticket(TicketState.OVER_BUDGET, reason="no money left", rounds=3),
            ),
            costs=CostReport(
                lines=(
                    line(spent("1234.56"), ticket="a"),
                    line(spent(), tier="orchestrator"),
                )
            ),
        ),
        width=40,
    )

    assert "ticket outcome tokens US dollars" in rows
    assert any(row.startswith("a over_budget: ") for row in rows)
    assert any(row.endswith("1,050 $1,234.56") for row in rows)
    assert "tier input output US dollars" in rows
    assert "orchestrator 1,000 50 $0.1000" in rows


def test_the_runs_own_reason_is_left_to_the_result_which_tells_it_in_full() -> None:
    reason = (
        "the key was refused: " + "because of this and that " * 20 + "do as follows"
    )
    of = outcome(
        state=RunState.PROVIDER_FAILED,
        reason=f"ticket 'a': {reason}",
        tickets=(ticket(TicketState.FAILED, reason=reason, rounds=1, attempts=1),),
    )

    assert "a failed 1 1 0 $0.0000" in shown(of)
    assert f"provider_failed: {of.reason} (" in result_text(of, None)


def test_tickets_are_shown_with_what_was_spent_on_them() -> None:
    rows = shown(
        outcome(
            tickets=(
                ticket(rounds=3, attempts=1),
                TicketOutcome(
                    id="b",
                    title="B",
                    track="",
                    state=TicketState.BLOCKED,
                    reason="waits for 'a'",
                ),
            ),
            costs=CostReport(lines=(line(spent(), ticket="a"),)),
        )
    )

    assert "ticket outcome rounds attempts tokens US dollars" in rows
    assert "a completed 3 1 1,050 $0.1000" in rows
    assert "b blocked: waits for 'a' 0 0 0 $0.0000" in rows


def test_costs_are_shown_per_tier_and_model_with_a_total() -> None:
    rows = shown(
        outcome(costs=CostReport(lines=(line(spent()),), total=spent("1.234")))
    )

    assert "worker openai:x 2 1,000 50 $0.1000" in rows
    assert "total 2 1,000 50 $1.23" in rows


def test_an_unknown_price_is_called_unknown_everywhere() -> None:
    unknown = spent("0", calls=2, unknown=2)
    partly = spent("0.5", calls=3, unknown=2)

    rows = shown(
        outcome(
            tickets=(ticket(),),
            costs=CostReport(
                lines=(line(unknown, ticket="a"), line(partly, tier="qa")),
                total=partly,
            ),
        )
    )

    assert "a completed 0 0 1,050 unknown" in rows
    assert "worker openai:x 2 1,000 50 unknown" in rows
    assert "qa openai:x 3 1,000 50 $0.5000 + unknown" in rows
    assert "the price of 2 calls is unknown" in rows


def test_scripted_replies_are_said_to_be_billed_to_nobody() -> None:
    scripted = spent("0.10", unpaid_usd=Decimal("0.10"))
    both = spent("0.30", unpaid_usd=Decimal("0.10"))
    real = spent("0.20")

    assert cost_note(
        CostReport(lines=(line(scripted, billed=False),), total=scripted)
    ) == (
        "nothing was billed: scripted replies, priced as the models they stand in for"
    )
    assert cost_note(
        CostReport(lines=(line(scripted, billed=False), line(real)), total=both)
    ) == (
        "$0.2000 was billed; scripted replies are priced as the models they stand in"
        " for"
    )
    assert cost_note(CostReport(lines=(line(real),), total=real)) == ""


def test_estimated_calls_are_told() -> None:
    cut = spent(estimated_calls=1)

    note = cost_note(CostReport(lines=(line(cut),), total=cut))

    assert note == "1 call estimated: cut off midway"


def test_changes_are_a_diffstat_with_a_bar_that_fits() -> None:
    rows = shown(
        outcome(
            changes=(
                FileStat(
                    path="a.py", state="modified", added=900, removed=300, binary=False
                ),
                FileStat(path="b.png", state="added", added=0, removed=0, binary=True),
            )
        )
    )

    assert f"a.py modified +900 -300 {'+' * 22}{'-' * 8}" in rows
    assert "b.png added binary" in rows


def test_expectations_say_what_did_not_hold() -> None:
    rows = shown(
        outcome(
            expectations=(
                Expectation(name="pytest -q", passed=True, detail="passed"),
                Expectation(name="file a.py", passed=False, detail="it is missing"),
            )
        )
    )

    assert "pytest -q yes" in rows
    assert "file a.py NO: it is missing" in rows


def test_nothing_is_shown_of_what_there_is_none() -> None:
    assert shown(outcome()) == []


def test_names_and_reasons_cannot_steer_the_terminal() -> None:
    rows = shown(
        outcome(
            tickets=(ticket(TicketState.FAILED, reason="\x1b[2J[bold]boom"),),
            changes=(
                FileStat(
                    path="\x1b]0;x\x07.py",
                    state="added",
                    added=1,
                    removed=0,
                    binary=False,
                ),
            ),
        )
    )

    assert all(row.isprintable() for row in rows)
    assert "a failed: [2J[bold]boom 0 0 0 $0.0000" in rows


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.0000"),
        ("0.00001", "<$0.0001"),
        ("0.1234567", "$0.1235"),
        ("1234.5", "$1,234.50"),
    ],
)
def test_dollars_have_the_digits_that_matter(amount: str, text: str) -> None:
    assert dollars(Decimal(amount)) == text


def test_a_price_without_calls_is_nothing_and_not_unknown() -> None:
    assert price(Decimal(0), 0, 0) == "$0.0000"


# --- the result on stdout -----------------------------------------------------


def test_the_result_says_how_it_ended_and_where_the_changes_are(tmp_path: Path) -> None:
    changed = (FileStat(path="a.py", state="added", added=1, removed=0, binary=False),)
    kept = outcome(
        changes=changed, tree=tmp_path / "tree", patch=tmp_path / "changes.patch"
    )

    assert result_text(kept, tmp_path).splitlines() == [
        "completed: 1 ticket completed (1.5 s)",
        f"changed files: {tmp_path}/tree",
        f"as a patch:    {tmp_path}/changes.patch",
    ]


def test_the_result_names_the_folder_that_changes_were_applied_to() -> None:
    applied = outcome(
        changes=(
            FileStat(path="a.py", state="added", added=1, removed=0, binary=False),
        ),
        tree=Path("/run/tree"),
        applied=True,
    )

    assert result_text(applied, Path("/mine")).splitlines()[1] == (
        "1 file changed in /mine"
    )


def test_the_result_names_what_was_made_and_not_merged(tmp_path: Path) -> None:
    stopped = outcome(state=RunState.OVER_BUDGET, folder=tmp_path, tree=tmp_path)
    assert "not merged" not in result_text(stopped, tmp_path)

    (tmp_path / UNMERGED).mkdir()
    completed = outcome(folder=tmp_path, tree=tmp_path)

    assert f"not merged:    {tmp_path}/unmerged" in result_text(stopped, tmp_path)
    assert "not merged" not in result_text(completed, tmp_path)


def test_the_result_of_a_run_that_changed_nothing_says_so() -> None:
    text = result_text(outcome(tree=Path("/run/tree")), Path("/mine"))

    assert text.splitlines()[1] == "no file was changed"


def test_the_result_without_a_workspace_is_what_the_workers_answered() -> None:
    text = result_text(
        outcome(tickets=(ticket(answer="One.\nTwo.\x1b[2J\n"), ticket())), None
    )

    assert text == ("completed: 1 ticket completed (1.5 s)\n\na: One.\nTwo. [2J")


def test_what_climbed_is_shown_with_its_cost() -> None:
    climbed = Escalation(
        ticket="a", models=("m:small", "m:big", "m:big"), spent=spent("0.25", 4)
    )

    assert shown(outcome(escalations=(climbed,))) == [
        "Escalations",
        "ticket attempts on calls tokens US dollars",
        "a m:small, m:big, m:big 4 1,050 $0.2500",
    ]


@pytest.mark.parametrize(
    ("firewall", "note"),
    [
        (
            Firewall(produced=12_000, passed=600),
            "firewall: 12,000 tokens produced below, 600 went up: 95% kept back",
        ),
        (Firewall(produced=12_000), ""),
        (
            Firewall(produced=10, passed=20),
            "firewall: 10 tokens produced below, 20 went up",
        ),
    ],
)
def test_the_firewall_is_told_where_something_went_up(
    firewall: Firewall, note: str
) -> None:
    assert firewall_note(firewall) == note


def test_costs_have_a_column_for_what_there_is_something_of() -> None:
    usage = Usage(input=9_000, cache_read=4_000, output=500, reasoning=200)
    spent = Spent(
        calls=3,
        attempts=5,
        usage=usage,
        usd=Decimal("0.02"),
        estimated_calls=1,
        estimated_usd=Decimal("0.005"),
        unknown_calls=1,
        unknown_usd=Decimal("0.03"),
        saved_usd=Decimal("0.004"),
    )
    line = CostLine(tier="worker", model="openai:gpt-4o-mini", spent=spent)

    table = costs_table(CostReport.of([line]), "tier", "model")

    names = [str(column.header) for column in table.columns]
    total = [list(column.cells)[-1] for column in table.columns]
    assert dict(zip(names, total, strict=True)) == {
        "tier": "total",
        "model": "",
        "calls": "3",
        "attempts": "5",
        "input": "9,000",
        "cached": "4,000",
        "output": "500",
        "reasoning": "200",
        "US dollars": "$0.0200 + unknown",
        "estimated": "$0.0050",
        "at most more": "$0.0300",
        "saved": "$0.0040",
    }


def test_what_a_call_without_a_price_may_have_cost_is_no_zero() -> None:
    spent = Spent(calls=1, attempts=1, unknown_calls=1, unknown_usd=None)
    report = CostReport.of([CostLine(model="local:m", spent=spent)])

    table = costs_table(report, "model")

    total = {str(one.header): list(one.cells)[-1] for one in table.columns}
    assert total["at most more"] == total["US dollars"] == "unknown"
