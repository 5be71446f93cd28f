"""A ticket's way: what its worker is shown, who helps it, and when it is taken away."""

import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from mma_runtime import Outcome, RunState, Runtime
from mma_runtime.errors import ConfigurationError
from mma_runtime.events import (
    Event,
    FilesRefreshed,
    HintGiven,
    HistoryCut,
    LintFixed,
    TicketEscalated,
    TicketReturned,
    WorkerStuck,
)
from mma_runtime.llm.chat import ChatRequest, Image, Text, UserTurn
from mma_runtime.llm.provider import Capabilities
from mma_runtime.outcome import TicketState
from mma_runtime.testing import FunctionProvider
from tests.team import Said, accepted, scenario, team, tickets, tracks, use

QA = {"qa": {"model": "function:m"}}
SOURCE = '''\
"""Sums."""


def add(left: int, right: int) -> int:
    """Return the sum."""
    return left - right


def double(number: int) -> int:
    return add(number, number)
'''
TEST = """\
from sums import add


def test_add():
    assert add(1, 2) == 3


def test_nothing():
    assert add(0, 0) == 0
"""


async def play(
    provider: FunctionProvider, folder: Path, **keys: object
) -> tuple[Outcome, list[Event]]:
    """Run a scenario on the project in *folder*."""
    keys = {"workspace": {"path": folder}, **keys}
    async with Runtime(
        home=folder.parent / "home", providers=[provider], environment={}
    ) as runtime:
        run = await runtime.start(scenario(**keys))
        events = run.events()
        outcome = await run.outcome()
        return outcome, [event async for event in events]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "sums.py").write_text(SOURCE)
    (folder / "test_sums.py").write_text(TEST)
    (folder / "README.md").write_text("# Sums\n\nAdds numbers.\n")
    return folder


def told(request: ChatRequest) -> str:
    """Return all user turns of a request."""
    return "\n".join(
        part.text
        for turn in request.turns
        if isinstance(turn, UserTurn)
        for part in turn.parts
        if isinstance(part, Text)
    )


def asked(models: FunctionProvider, task: str, **where: object) -> list[ChatRequest]:
    return [
        request
        for request in models.requests
        if request.origin.task == task
        and all(getattr(request.origin, name) == it for name, it in where.items())
    ]


def in_turn(*said: Said) -> Callable[[ChatRequest], Said]:
    return lambda request: said[min(request.turn, len(said)) - 1]


def one(**keys: object) -> list[dict[str, object]]:
    return [{"id": "one", "description": "mend add", **keys}]


# --- what a worker is shown ---------------------------------------------------


async def test_a_worker_sees_its_target_raw_and_its_context_as_outlines(
    folder: Path,
) -> None:
    (folder / "big.py").write_text(SOURCE + "\n\n# " + "x" * 2_000)
    models = team()
    plan = one(
        target_file="sums.py",
        context=["big.py", "test_sums.py:test_add", "none.py", "README.md"],
    )

    await play(models, folder, tickets=plan)

    text = told(models.requests[0])
    assert "6      return left - right" in text
    assert "## big.py (outline)" in text
    assert "## test_sums.py (curated)" in text
    assert "assert add(1, 2) == 3" in text
    assert "def test_nothing():\n    ... # hidden" in text
    assert "there is no file 'none.py'" in text
    assert "Adds numbers." in text
    assert text.index("## sums.py (raw)") < text.index("## Ticket one")


async def test_every_request_of_a_worker_begins_as_the_one_before(folder: Path) -> None:
    models = team(
        ticket=in_turn(
            use("read_file", path="sums.py"),
            use("list_directory", path="."),
            use("run_command", command="python -c 1"),
            "done",
        )
    )

    await play(models, folder, tickets=one(target_file="sums.py"))

    requests = asked(models, "ticket")
    assert len(requests) == 4
    for before, after in pairwise(requests):
        assert after.system == before.system
        assert after.tools == before.tools
        assert after.turns[: len(before.turns)] == before.turns


async def test_two_workers_begin_alike_up_to_their_files(folder: Path) -> None:
    models = team()
    plan = [{"id": name, "description": name} for name in "ab"]

    await play(models, folder, tickets=plan, rules=["README.md"])

    first, second = asked(models, "ticket")
    assert first.system == second.system
    assert first.tools == second.tools
    assert "## Rules of the project\n\n### README.md" in first.system


async def test_what_changed_in_known_files_is_shown_for_one_round(folder: Path) -> None:
    models = team(
        ticket=in_turn(
            use("edit_file", path="sums.py", old="left - right", new="left + right"),
            use("write_file", path="new.py", content="x = 1\n"),
            "done",
        )
    )

    _, events = await play(models, folder, tickets=one(target_file="sums.py"))

    _, second, third = asked(models, "ticket")
    assert "+    return left + right" in told(second)
    assert "+    return left + right" not in told(third)
    # A file that the worker wrote as a whole is known to it.
    assert "x = 1" not in told(third)
    assert len([e for e in events if isinstance(e, FilesRefreshed)]) == 1


async def test_a_file_that_was_touched_but_is_the_same_is_not_shown(
    folder: Path,
) -> None:
    touch = "python -c \"import pathlib; pathlib.Path('sums.py').touch()\""
    models = team(ticket=in_turn(use("run_command", command=touch), "done"))

    _, events = await play(models, folder, tickets=one(target_file="sums.py"))

    assert not [e for e in events if isinstance(e, FilesRefreshed)]


async def test_a_long_history_loses_its_oldest_rounds(folder: Path) -> None:
    (folder / "long.txt").write_text("word " * 1_000)
    models = team(
        ticket=in_turn(*[use("read_file", path="long.txt")] * 6, "done"),
    )

    _, events = await play(
        models,
        folder,
        tiers={"worker": {"model": "function:m", "max_context_tokens": 4_000}},
    )

    cuts = [e for e in events if isinstance(e, HistoryCut)]
    assert cuts
    last = models.requests[-1]
    assert "mend" not in told(last)
    assert "do it" in told(last)
    assert "oldest turns" in told(last)


# --- images -------------------------------------------------------------------


def png() -> bytes:
    """Return the smallest picture there is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0\0")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, data)
        for kind, data in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    )


class Blind(FunctionProvider):
    """A team whose models take no images."""

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(images=False)


async def test_an_image_in_a_ticket_is_typed_by_its_content(folder: Path) -> None:
    (folder / "shot.txt").write_bytes(png())
    models = team()

    await play(models, folder, tickets=one(context=["shot.txt"]))

    (turn,) = models.requests[0].turns
    assert isinstance(turn, UserTurn)
    assert Image("image/png", png()) in turn.parts


async def test_an_image_for_a_model_that_takes_none_is_refused(folder: Path) -> None:
    (folder / "shot.png").write_bytes(png())
    models = Blind(lambda _: "done")

    outcome, _ = await play(models, folder, tickets=one(context=["shot.png"]))

    assert outcome.state is RunState.FAILED
    assert "'function:m' does not take images" in outcome.reason
    assert models.requests == []


async def test_images_of_the_scenario_go_to_those_who_plan(folder: Path) -> None:
    (folder / "shot.png").write_bytes(png())
    models = team(plan_epic=tracks("a"), plan_track=tickets(x=[]))

    await play(models, folder, epic="mend it", context=["shot.png", "README.md"])

    for request in models.requests:
        first = request.turns[0]
        assert isinstance(first, UserTurn)
        sees = request.origin.tier in ("orchestrator", "tech_lead")
        assert any(isinstance(part, Image) for part in first.parts) is sees
        assert ("Adds numbers." in told(request)) is sees


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("sums.py", "which is no document"),
        ("none.md", "there is no file 'none.md'"),
        ("bad.md", "neither text nor an image"),
    ],
)
async def test_a_context_that_cannot_be_shown_ends_before_the_first_call(
    folder: Path, name: str, problem: str
) -> None:
    (folder / "bad.md").write_bytes(b"\xff\xfe\xfd")
    models = team()

    with pytest.raises(ConfigurationError, match=problem):
        await play(models, folder, context=[name])

    assert models.requests == []


async def test_images_of_the_scenario_are_refused_before_the_first_call(
    folder: Path,
) -> None:
    (folder / "shot.png").write_bytes(png())
    models = Blind(lambda _: "done")

    with pytest.raises(ConfigurationError, match="does not take images"):
        await play(models, folder, epic="mend it", context=["shot.png"])

    assert models.requests == []


# --- what the tiers see -------------------------------------------------------


async def test_no_tier_sees_what_is_not_for_it(folder: Path) -> None:
    failing = use("run_command", command="python -c \"raise SystemExit('a log line')\"")
    models = team(
        plan_epic=tracks("a"),
        plan_track=tickets(x=[], y=[]),
        ticket=in_turn(failing, "worker chatter"),
        review=accepted(),
        hint="a hint",
    )

    outcome, _ = await play(models, folder, epic="the epic's own words", tiers=QA)

    assert outcome.state is RunState.COMPLETED
    seen = {
        tier: "\n".join(
            str(request) for request in models.requests if request.origin.tier == tier
        )
        for tier in ("orchestrator", "tech_lead", "worker", "qa")
    }
    for secret in ("a log line", "return left", "worker chatter", "a hint"):
        assert secret not in seen["orchestrator"], secret

    for secret in ("a log line", "the epic's own words", "worker chatter"):
        assert secret not in seen["tech_lead"], secret

    for secret in ("the epic's own words", "a goal"):
        assert secret not in seen["worker"], secret

    for secret in ("the epic's own words", "a goal", "do it", "worker chatter"):
        assert secret not in seen["qa"], secret

    assert "def add" in seen["tech_lead"]
    assert "a log line" in seen["qa"]


async def test_the_firewall_is_in_the_outcome(folder: Path) -> None:
    noise = use("run_command", command="python -c \"print('noise ' * 1000)\"")
    models = team(plan_track=tickets(x=[]), ticket=in_turn(noise, "done"))

    outcome, _ = await play(models, folder, track={"id": "t", "goal": "g"})

    assert outcome.firewall.produced > 1_000
    assert outcome.firewall.passed < 50
    assert (outcome.firewall.kept_back or 0) > 0.9


# --- judged -------------------------------------------------------------------


async def test_a_failing_test_is_hinted_at_by_the_test_and_its_function_alone(
    folder: Path,
) -> None:
    run = "python -m pytest -q -p no:cacheprovider"
    models = team(
        ticket=in_turn(
            use("run_command", command=run),
            use("edit_file", path="sums.py", old="left - right", new="left + right"),
            "done",
        ),
        hint="add subtracts",
    )

    outcome, events = await play(
        models,
        folder,
        tickets=one(target_file="sums.py", acceptance=[run]),
        tiers=QA,
    )

    assert outcome.state is RunState.COMPLETED
    (hint,) = asked(models, "hint")
    text = told(hint)
    assert "def test_add" in text
    assert "def add" in text
    assert "test_nothing" not in text.partition("## Test")[2]
    assert "def double" not in text
    assert "Hint on" in told(asked(models, "ticket")[1])
    (given,) = [e for e in events if isinstance(e, HintGiven)]
    assert given.tokens <= 50 < given.raw_characters / 4


async def test_another_failure_is_hinted_at_by_the_lines_around_it(
    folder: Path,
) -> None:
    lines = [f"value_{number} = {number}" for number in range(1, 100)]
    lines[49] = "value_50 = undefined_name"
    (folder / "values.py").write_text("\n".join(lines))
    models = team(
        ticket=in_turn(use("run_command", command="python values.py"), "done"),
        hint="undefined_name is not defined",
    )

    await play(models, folder, tiers=QA)

    (hint,) = asked(models, "hint")
    text = told(hint)
    assert "values.py, line 50:" in text
    shown = [line for line in text.splitlines() if " value_" in line]
    assert 20 <= len(shown) <= 23
    assert "value_30" not in text
    assert "NameError" in text


LINT = "python -m ruff check --isolated --no-cache --select F401 sums.py"


async def test_a_linter_is_contented_without_a_round_of_the_worker(
    folder: Path,
) -> None:
    edit = '{"edits": [{"path": "sums.py", "old": "import os\\n", "new": ""}]}'
    models = team(
        ticket=in_turn(
            use("write_file", path="sums.py", content="import os\n" + SOURCE), "done"
        ),
        lint=edit,
    )

    outcome, events = await play(
        models, folder, tickets=one(acceptance=[LINT, "python -c 1"]), tiers=QA
    )

    assert outcome.state is RunState.COMPLETED
    assert outcome.tickets[0].rounds == 2
    (fixed,) = [e for e in events if isinstance(e, LintFixed)]
    assert fixed.files == ("sums.py",)
    assert outcome.tree is not None
    assert "import os" not in (outcome.tree / "sums.py").read_text()
    (asked_for,) = asked(models, "lint")
    assert "F401" in told(asked_for)


@pytest.mark.parametrize(
    "answer",
    [
        "I would rather not",
        '{"edits": []}',
        '{"edits": [{"path": "sums.py", "old": "return", "new": ""}]}',
        '{"edits": [{"path": "test_sums.py", "old": "import", "new": ""}]}',
    ],
    ids=["prose", "nothing", "ambiguous", "another file"],
)
async def test_a_patch_that_does_not_fit_leaves_the_ticket_to_its_worker(
    folder: Path, answer: str
) -> None:
    models = team(
        ticket=in_turn(
            use("write_file", path="sums.py", content="import os\n" + SOURCE),
            "done",
            use("write_file", path="sums.py", content=SOURCE),
            "done now",
        ),
        lint=answer,
        hint="remove the import",
    )

    outcome, events = await play(
        models, folder, tickets=one(acceptance=[LINT]), tiers=QA
    )

    assert outcome.state is RunState.COMPLETED
    assert not [e for e in events if isinstance(e, LintFixed)]
    assert [e.by for e in events if isinstance(e, TicketReturned)] == ["commands"]


async def test_a_long_output_stays_in_reach_of_the_worker(folder: Path) -> None:
    loud = "python -c \"print('line\\n' * 5000); raise SystemExit(1)\""
    models = team(
        ticket=in_turn(
            "done", use("read_file", path=".mma/output/1.txt", lines=3), "done"
        )
    )

    await play(
        models,
        folder,
        tickets=one(acceptance=[loud]),
        tiers={"worker": {"model": "function:m", "attempts": 1}},
    )

    rework, after = asked(models, "ticket")[1:3]
    assert "The whole output is in '.mma/output/1.txt'" in told(rework)
    assert "lines 1-3 of" in str(after.turns[-1])


async def test_changes_outside_of_the_tracks_modules_go_back(folder: Path) -> None:
    models = team(
        plan_track=tickets(x=[]),
        ticket=in_turn(
            use("write_file", path="README.md", content="mine\n"),
            "done",
            use("write_file", path="README.md", content="# Sums\n\nAdds numbers.\n"),
            use("write_file", path="sums.py", content="y = 1\n"),
            "done now",
        ),
    )

    outcome, events = await play(
        models, folder, track={"id": "t", "goal": "g", "modules": ["sums.py"]}
    )

    assert outcome.state is RunState.COMPLETED
    (returned,) = [e for e in events if isinstance(e, TicketReturned)]
    assert returned.by == "modules"
    assert "Undo your changes to README.md" in returned.reason
    assert outcome.tickets[0].files == ("sums.py",)


# --- ladder and circles -------------------------------------------------------

LADDER = {
    "worker": {"model": "function:small", "escalate": ["function:big", "function:huge"]}
}


async def test_attempts_climb_the_ladder(folder: Path) -> None:
    def work(request: ChatRequest) -> Said:
        return "" if request.model != "huge" else "done"

    models = team(ticket=work)
    outcome, events = await play(models, folder, tiers=LADDER)

    assert outcome.state is RunState.COMPLETED
    (ticket,) = outcome.tickets
    assert ticket.models == ("function:small", "function:big", "function:huge")
    climbed = [e.model for e in events if isinstance(e, TicketEscalated)]
    assert climbed == ["function:big", "function:huge"]
    assert {line.model for line in outcome.costs.lines} == set(ticket.models)


async def test_a_ticket_fails_when_the_ladder_is_spent_and_keeps_its_last_diff(
    folder: Path,
) -> None:
    def work(request: ChatRequest) -> Said:
        if request.turn == 1:
            return use("write_file", path="x.txt", content=f"{request.model}\n")

        return ""

    outcome, _ = await play(team(ticket=work), folder, tiers=LADDER)

    assert outcome.tickets[0].state is TicketState.FAILED
    assert outcome.tickets[0].attempts == 3
    assert outcome.folder is not None
    patch = (outcome.folder / "unmerged" / "one-3.patch").read_text()
    assert "+huge" in patch


async def test_a_tickets_own_model_wins_over_the_ladder(folder: Path) -> None:
    models = team(ticket="")

    await play(models, folder, tickets=one(model="function:own"), tiers=LADDER)

    assert {request.model for request in models.requests} == {"own"}


async def test_a_worker_out_of_rounds_climbs_while_there_is_a_rung(
    folder: Path,
) -> None:
    def work(request: ChatRequest) -> Said:
        if request.model == "huge":
            return "done"

        return use("list_directory", path=".")

    tiers = {"worker": {**LADDER["worker"], "max_tool_rounds": 2}}
    outcome, _ = await play(team(ticket=work), folder, tiers=tiers)

    assert outcome.state is RunState.COMPLETED
    assert outcome.tickets[0].attempts == 3


async def test_a_worker_that_goes_in_circles_is_told_once_and_ends_stuck(
    folder: Path,
) -> None:
    again = use("edit_file", path="sums.py", old="absent", new="x")
    outcome, events = await play(
        team(ticket=again),
        folder,
        tiers={"worker": {"model": "function:m", "attempts": 1}},
    )

    (ticket,) = outcome.tickets
    assert ticket.state is TicketState.STUCK
    assert "'edit_file' failed" in ticket.reason
    assert outcome.state is RunState.FAILED
    stuck = [e.told for e in events if isinstance(e, WorkerStuck)]
    assert stuck == [True, False]
    assert ticket.rounds == 4


async def test_a_worker_that_was_told_may_find_its_way(folder: Path) -> None:
    again = use("edit_file", path="sums.py", old="absent", new="x")
    models = team(ticket=in_turn(again, again, again, "there is nothing to change"))

    outcome, _ = await play(models, folder)

    assert outcome.state is RunState.COMPLETED
    assert "You are going in circles" in told(models.requests[-1])


async def test_a_stuck_worker_is_followed_by_one_who_is_told(folder: Path) -> None:
    again = use("edit_file", path="sums.py", old="absent", new="x")

    def work(request: ChatRequest) -> Said:
        return again if request.origin.attempt == 1 else "done"

    models = team(ticket=work)
    outcome, events = await play(models, folder, tiers=LADDER)

    assert outcome.state is RunState.COMPLETED
    assert "Ended by worker: the same call" in told(models.requests[-1])
    (returned,) = [e for e in events if isinstance(e, TicketReturned)]
    assert returned.by == "worker"


async def test_the_last_three_attempts_are_told_as_summaries(folder: Path) -> None:
    models = team(ticket="")

    await play(models, folder, tiers={"worker": {"model": "function:m", "attempts": 5}})

    last = asked(models, "ticket", attempt=5)[0]
    assert told(last).count("An earlier attempt failed") == 3
    assert len(told(last)) < 2_000


async def test_a_model_that_no_provider_of_the_run_has_is_named(folder: Path) -> None:
    plan = '{"tickets": [{"id": "x", "description": "d", "model": "openai:gpt-4o"}]}'
    models = team(plan_track=plan)

    outcome, _ = await play(models, folder, track={"id": "t", "goal": "g"})

    assert outcome.state is RunState.FAILED
    assert "'openai:gpt-4o' is not among the models" in outcome.reason


# --- prompts of one's own -----------------------------------------------------


async def test_a_scenario_brings_its_own_prompts(folder: Path) -> None:
    (folder.parent / "mine.md").write_text("Do $description, and be quick.")
    models = team()

    await play(models, folder, prompts={"do_ticket": folder.parent / "mine.md"})

    assert told(models.requests[0]) == "Do do it, and be quick."
