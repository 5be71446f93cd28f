import os
import sys
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from mma_runtime.errors import WorkspaceError
from mma_runtime.tools import run_command
from mma_runtime.tools.command import environment

PYTHON = sys.executable


class Lifeline:
    """A named pipe: readable to its end only when all who hold it are dead."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lifeline"
        os.mkfifo(self.path)

    async def first_line(self) -> None:
        self._file = await to_thread.run_sync(open, self.path, abandon_on_cancel=True)
        assert await to_thread.run_sync(self._file.readline, abandon_on_cancel=True)

    async def all_dead(self) -> None:
        assert not await to_thread.run_sync(self._file.read, abandon_on_cancel=True)
        self._file.close()

    def shell(self, rest: str) -> list[str]:
        return ["/bin/sh", "-c", f"exec 9>{self.path}; {rest}"]


@pytest.fixture
def lifeline(tmp_path: Path) -> Lifeline:
    return Lifeline(tmp_path)


async def test_output_and_exit_code_are_reported(tmp_path: Path) -> None:
    result = await run_command(
        ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], tmp_path
    )

    assert (result.exit_code, result.output) == (3, "out\nerr\n")
    assert not result.succeeded
    assert not result.timed_out
    assert not result.truncated


async def test_it_runs_in_its_folder_without_input(tmp_path: Path) -> None:
    result = await run_command(["/bin/sh", "-c", "pwd; cat; echo end"], tmp_path)

    assert result.output == f"{tmp_path}\nend\n"


async def test_the_environment_holds_no_keys_and_our_interpreter_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PATH", ".:relative:/usr/bin:/bin")

    result = await run_command(["env"], tmp_path, variables={"EXTRA": "1"})
    which = await run_command(["/bin/sh", "-c", "command -v python"], tmp_path)

    names = {line.split("=")[0] for line in result.output.splitlines()}
    assert "secret" not in result.output
    assert names <= {
        "EXTRA",
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "MMA_COMMAND",
        "NO_COLOR",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "TERM",
        "TMPDIR",
        "TZ",
    }
    assert Path(which.output.strip()).parent == Path(PYTHON).parent
    assert environment(tmp_path)["PATH"] == f"{Path(PYTHON).parent}:/usr/bin:/bin"


async def test_home_lives_as_long_as_the_command_unless_one_is_given(
    tmp_path: Path,
) -> None:
    own = await run_command(["/bin/sh", "-c", "touch ~/x; echo ~"], tmp_path)
    given = await run_command(
        ["/bin/sh", "-c", "touch ~/x; echo ~"], tmp_path, home=tmp_path / "home"
    )

    assert not Path(own.output.strip()).exists()
    assert given.output.strip() == str(tmp_path / "home")
    assert (tmp_path / "home" / "x").exists()


async def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    result = await run_command(["printf", r"caf\351 \000."], tmp_path)

    assert result.output == "caf\ufffd \ufffd."


async def test_a_flood_of_output_is_bounded_and_both_ends_are_kept(
    tmp_path: Path,
) -> None:
    flood = "import sys; sys.stdout.write('a' * 10 + 'b' * 5_000_000 + 'c' * 10)"

    result = await run_command([PYTHON, "-c", flood], tmp_path, output_limit=1_000)

    assert result.truncated
    assert result.output.startswith("a" * 10 + "bbb")
    assert result.output.endswith("bbb" + "c" * 10)
    assert "4,999,020 bytes were not kept" in result.output


async def test_a_command_that_never_ends_is_ended_with_all_it_started(
    tmp_path: Path, lifeline: Lifeline
) -> None:
    ended = anyio.Event()

    async def follow() -> None:
        await lifeline.first_line()
        await lifeline.all_dead()
        ended.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            result = await run_command(
                lifeline.shell("sleep 60 & echo ready | tee /dev/fd/9; sleep 60"),
                tmp_path,
                seconds=0.5,
            )
            await ended.wait()

            assert result.timed_out
            assert result.exit_code is None
            assert result.output == "ready\n"


async def test_a_command_that_ignores_the_request_to_end_is_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mma_runtime.tools.command.GRACE", 0.1)

    with anyio.fail_after(10):
        result = await run_command(
            ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"],
            tmp_path,
            seconds=0.2,
        )

    assert result.timed_out


async def test_a_cancelled_call_leaves_no_process_behind(
    tmp_path: Path, lifeline: Lifeline
) -> None:
    command = lifeline.shell("(sleep 60 & sleep 60) & echo ready >&9; sleep 60")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(run_command, command, tmp_path)
            await lifeline.first_line()
            group.cancel_scope.cancel()

        await lifeline.all_dead()


async def test_a_call_that_is_cancelled_before_it_begins_starts_nothing(
    tmp_path: Path,
) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run_command(["touch", "made"], tmp_path)

    assert scope.cancelled_caught


async def test_children_left_over_are_ended_with_the_command(
    tmp_path: Path, lifeline: Lifeline
) -> None:
    command = lifeline.shell("echo ready >&9; sleep 60 & echo done")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(lifeline.first_line)
            result = await run_command(command, tmp_path)

            assert (result.exit_code, result.output) == (0, "done\n")

        await lifeline.all_dead()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows them")
async def test_a_process_that_left_the_group_is_ended_too(
    tmp_path: Path, lifeline: Lifeline
) -> None:
    daemon = "trap '' TERM; echo ready >&9; echo up >turn; sleep 60; sleep 60"
    command = lifeline.shell(f'mkfifo turn; setsid sh -c "{daemon}" & cat turn')

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(lifeline.first_line)
            result = await run_command(command, tmp_path)

            assert (result.exit_code, result.output) == (0, "up\n")

        await lifeline.all_dead()


async def test_a_command_that_does_not_exist_ends_as_in_a_shell(tmp_path: Path) -> None:
    result = await run_command(["no-such-command"], tmp_path)

    assert result.exit_code == 127
    assert "there is no command 'no-such-command'" in result.output


async def test_a_file_that_cannot_be_run_ends_as_in_a_shell(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")

    result = await run_command(["./notes.txt"], tmp_path)

    assert result.exit_code == 126
    assert "cannot run './notes.txt'" in result.output


@pytest.mark.parametrize("argv", [[], [""], ["a\0b"]])
async def test_what_is_no_command_is_an_answer_too(
    argv: list[str], tmp_path: Path
) -> None:
    result = await run_command(argv, tmp_path)

    assert result.exit_code in (126, 127)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="there is no such folder"):
        await run_command(["true"], tmp_path / "nowhere")


async def test_a_command_killed_by_a_signal_has_a_negative_exit_code(
    tmp_path: Path,
) -> None:
    result = await run_command(["/bin/sh", "-c", "kill -KILL $$"], tmp_path)

    assert result.exit_code == -9
