"""What is wrong with a plan of Tier 2."""

from typing import Any

import pytest

from mma_runtime.plan import Ticket, Track
from mma_runtime.plan.checks import ticket_problems

TRACK = Track(id="t", goal="g", modules=("src", "tests/test_a.py"))


def ticket(name: str, **keys: Any) -> Ticket:
    return Ticket.model_validate({"id": name, "description": "d", **keys})


def test_a_good_plan_has_no_problems() -> None:
    plan = [
        ticket("contract", target_file="src/api.py"),
        ticket("a", target_file="src/api.py", depends_on=["contract"]),
        ticket(
            "b",
            target_file="tests/test_a.py",
            context=["src/api.py"],
            depends_on=["contract"],
            acceptance=["pytest -q"],
        ),
    ]

    assert ticket_problems(plan, track=TRACK) == []


@pytest.mark.parametrize("path", ["src2/a.py", "tests/test_b.py", "README.md"])
def test_a_file_outside_of_the_tracks_modules_is_named(path: str) -> None:
    (problem,) = ticket_problems([ticket("a", target_file=path)], track=TRACK)

    assert f"'a': {path!r} lies outside" in problem
    assert "src, tests/test_a.py" in problem


def test_a_track_without_modules_may_change_anything() -> None:
    track = Track(id="t", goal="g")

    assert ticket_problems([ticket("a", target_file="x.py")], track=track) == []


def test_two_tickets_that_share_an_interface_need_a_contract() -> None:
    plan = [
        ticket("a", target_file="src/a.py"),
        ticket("b", target_file="src/b.py", context=["src/a.py:Parser.parse"]),
    ]

    (problem,) = ticket_problems(plan, track=TRACK)

    assert "'a' and 'b' share 'src/a.py'" in problem
    assert "contract" in problem


def test_added_tickets_may_depend_on_earlier_ones_but_not_take_their_ids() -> None:
    plan = [ticket("new", depends_on=["old"]), ticket("old")]

    problems = ticket_problems(plan, track=TRACK, own=["old"], taken=["old", "else"])

    assert problems == ["ticket 'old': the id is taken"]


def test_no_more_tickets_than_there_is_room_for() -> None:
    plan = [ticket("a"), ticket("b")]

    (problem,) = ticket_problems(plan, track=TRACK, room=1)

    assert problem == "2 tickets are too many; at most 1 may come"


@pytest.mark.parametrize("command", ['echo "half', "", "  "])
def test_a_command_that_is_none_is_named(command: str) -> None:
    (problem,) = ticket_problems([ticket("a", acceptance=[command])], track=TRACK)

    assert "is not a command" in problem


def test_a_command_that_may_never_run_is_named() -> None:
    plan = [ticket("a", acceptance=["pytest -q", "git push"])]

    (problem,) = ticket_problems(
        plan, track=TRACK, is_denied=lambda command: command.startswith("git")
    )

    assert problem == "ticket 'a': 'git push' is not allowed here; do without it"
