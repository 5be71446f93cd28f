"""When a worker is told that it goes in circles."""

from typing import Any

from mma_runtime.llm.chat import Text, ToolCall, ToolResult
from mma_runtime.rounds.circles import Circles


class Watched:
    """A worker whose rounds have one call each."""

    def __init__(self) -> None:
        self.circles = Circles()

    def round(
        self,
        name: str = "read_file",
        said: str = "text",
        *,
        fails: bool = False,
        changed: bool = False,
        **arguments: Any,
    ) -> str:
        call = ToolCall("c", name, arguments, "")
        result = ToolResult("c", name, (Text(said),), is_error=fails)
        return self.circles.after_round((call,), (result,), changed=changed)


def test_the_third_identical_failure_is_a_circle() -> None:
    worker = Watched()

    for _ in range(2):
        assert worker.round("edit_file", "no such text", fails=True, old="x") == ""
        worker.round(path=object())

    reason = worker.round("edit_file", "no such text", fails=True, old="x")
    assert reason == "the same call of 'edit_file' failed 3 times"


def test_failures_of_other_calls_are_no_circle() -> None:
    worker = Watched()

    worker.round("edit_file", "absent", fails=True, old="x")
    worker.round(path="other")
    worker.round("edit_file", "absent", fails=True, old="y")
    worker.round(path="another")

    assert worker.round("edit_file", "absent", fails=True, old="z") == ""


def test_a_failing_command_is_the_same_whatever_it_prints() -> None:
    worker = Watched()

    said: list[str] = []
    for seconds in range(3):
        worker.round(path=str(seconds))
        output = f"1 failed in {seconds} s"
        said.append(worker.round("run_command", output, fails=True, command="pytest"))

    assert said == ["", "", "the same call of 'run_command' failed 3 times"]


def test_rounds_that_repeat_what_was_read_are_idle() -> None:
    worker = Watched()
    worker.round(path="a")

    assert [worker.round(path="a") for _ in range(3)] == [
        "",
        "",
        "3 rounds changed nothing and showed nothing new",
    ]


def test_reading_something_new_is_work() -> None:
    worker = Watched()

    assert [worker.round(path=str(number)) for number in range(9)] == [""] * 9


def test_after_a_change_everything_counts_anew() -> None:
    worker = Watched()
    for _ in range(2):
        worker.round("run_command", "exit 1", fails=True, command="pytest")

    assert worker.round("write_file", changed=True, path="a") == ""
    assert worker.round("run_command", "exit 1", fails=True, command="pytest") == ""


def test_arguments_that_are_no_json_are_compared_as_they_are() -> None:
    circles = Circles()
    call = ToolCall("c", "read_file", None, '{"path": ')
    result = ToolResult("c", "read_file", (Text("not JSON"),), is_error=True)

    reasons = [circles.after_round((call,), (result,), changed=False) for _ in range(3)]

    assert reasons[:2] == ["", ""]
    assert "'read_file' failed 3 times" in reasons[2]
