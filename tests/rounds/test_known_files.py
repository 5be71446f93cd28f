"""What a worker is told of files that it knows, after a round of calls."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mma_runtime.llm.chat import Text, ToolCall, ToolResult
from mma_runtime.rounds.known_files import KnownFiles
from mma_runtime.tools.files import FileTools
from mma_runtime.workspace import Checkout, Workspace


class Desk:
    """A checkout, the worker's tools for files, and what it knows of them."""

    def __init__(self, checkout: Checkout) -> None:
        self.tree = checkout.root
        self.known = KnownFiles(checkout)
        self._tools = FileTools(checkout)
        self._calls: list[ToolCall] = []
        self._results: list[ToolResult] = []

    async def call(self, name: str, **arguments: object) -> None:
        (part,) = await getattr(self._tools, name).call(arguments)
        self.note(name, part.text, arguments)

    def note(
        self,
        name: str,
        said: str,
        arguments: Mapping[str, object],
        *,
        fails: bool = False,
    ) -> None:
        self._calls.append(ToolCall("c", name, arguments, ""))
        self._results.append(ToolResult("c", name, (Text(said),), is_error=fails))

    async def end_round(self) -> tuple[list[str], bool]:
        """Return the lines that were taken away and added, and whether any was."""
        news = await self.known.after_round(self._calls, self._results)
        self._calls.clear()
        self._results.clear()
        lines = news.diff.splitlines()
        return [
            line
            for line in lines
            if line[:1] in "+-" and not line.startswith(("+++", "---"))
        ], news.changed


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    source = tmp_path / "project"
    source.mkdir()
    workspace = await Workspace.open(source, tmp_path / "run")
    return Desk(await workspace.checkout("t"))


async def test_what_the_worker_has_written_itself_is_known(desk: Desk) -> None:
    await desk.call("write_file", path="a.py", content="x = 1\n")

    assert await desk.end_round() == ([], True)


async def test_what_a_later_call_of_the_round_made_of_it_is_shown(desk: Desk) -> None:
    await desk.call("write_file", path="a.py", content="x=1\n")
    (desk.tree / "a.py").write_text("x = 1\n")

    assert await desk.end_round() == (["-x=1", "+x = 1"], True)
    assert await desk.end_round() == ([], False)


@pytest.mark.parametrize("text", ["y = 1\n", "y = 1", "\n", "a\r\nb\r\n", "é\n"])
async def test_what_was_read_as_a_whole_is_known_as_it_was(
    desk: Desk, text: str
) -> None:
    (desk.tree / "b.py").write_bytes(text.encode())
    await desk.call("read_file", path="./b.py")
    assert await desk.end_round() == ([], False)

    await desk.call("read_file", path="b.py")
    (desk.tree / "b.py").write_bytes(text.encode() + b"\nz = 2\n")
    shown, changed = await desk.end_round()

    assert "+z = 2" in shown
    assert changed


async def test_a_part_that_was_read_hides_no_change(desk: Desk) -> None:
    desk.known.know("long.txt", b"one\ntwo\n" * 50)
    (desk.tree / "long.txt").write_text("one\ntwo\n" * 49 + "one\n2\n")
    await desk.call("read_file", path="long.txt", lines=1)

    assert await desk.end_round() == (["-two", "+2"], True)


async def test_a_file_of_which_a_part_was_read_is_watched_from_then_on(
    desk: Desk,
) -> None:
    (desk.tree / "long.txt").write_text("one\ntwo\n" * 50)
    await desk.call("read_file", path="long.txt", lines=1)
    await desk.end_round()
    (desk.tree / "long.txt").write_text("one\ntwo\n" * 50 + "three\n")

    assert await desk.end_round() == (["+three"], True)


async def test_writing_what_is_there_already_changes_nothing(desk: Desk) -> None:
    await desk.call("write_file", path="a.py", content="x = 1\n")
    await desk.end_round()
    await desk.call("write_file", path="a.py", content="x = 1\n")

    assert await desk.end_round() == ([], False)


async def test_a_call_that_failed_has_shown_nothing(desk: Desk) -> None:
    given = {"path": "../a", "content": "x"}
    desk.note("write_file", "no such folder", given, fails=True)
    desk.note("read_file", "what?", {"path": "gone.py"})

    assert await desk.end_round() == ([], False)


async def test_a_file_that_is_gone_is_shown_as_gone(desk: Desk) -> None:
    await desk.call("write_file", path="a.py", content="x = 1\n")
    await desk.end_round()
    (desk.tree / "a.py").unlink()

    assert await desk.end_round() == (["-x = 1"], True)
