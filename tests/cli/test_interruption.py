"""Ctrl-C and its kin, on the real program in a process of its own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import anyio
import pytest

from mma_runtime.cli.interruption import Interruption
from tests.cli.conftest import WRITE, Project
from tests.cli.ptys import GUARD, Terminal, environ


class Endless:
    """A worker's command that does not end; it is known by its arguments.

    Behind the sandbox's walls it can write nothing outside of its checkout and does not
    know its own number, so it is looked for from outside.
    """

    def __init__(self, project: Project) -> None:
        self.mark = f"endless-{project.folder}"
        command = [sys.executable, "-c", "import time; time.sleep(300)", self.mark]
        arguments = {"command": command}
        call = {"name": "run_command", "arguments": arguments}
        project.write([WRITE, {"turn": 2, "tool_calls": [call]}])

    def wait(self) -> None:
        """Return when the command runs."""
        waited = threading.Event()
        for _ in range(GUARD * 50):
            if self.alive:
                return

            waited.wait(0.02)

        raise AssertionError("the command was never started")

    @property
    def alive(self) -> bool:
        """Whether any process has the command's arguments, walls or not."""
        return any(self._is_it(entry) for entry in Path("/proc").glob("[0-9]*"))

    def _is_it(self, entry: Path) -> bool:
        try:
            line = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False

        return self.mark.encode() in line


def run_of(project: Project) -> str:
    (run,) = (project.home / "runs").iterdir()
    return run.name


def arguments(project: Project, *more: str) -> list[str]:
    scenario, home = str(project.scenario), str(project.home)
    return [sys.executable, "-m", "mma_runtime", "run", scenario, "--home", home, *more]


@contextmanager
def started(project: Project, *more: str) -> Generator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        arguments(project, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_the_run_in_order_and_the_report_is_still_printed(
    project: Project, number: signal.Signals, code: int, backend: str
) -> None:
    endless = Endless(project)

    with started(project, "--backend", backend) as process:
        endless.wait()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=GUARD)

    assert process.returncode == code, stderr
    assert stdout.startswith(f"cancelled: interrupted by {number.name}")
    assert stderr.count("mma: stopping; again to leave at once\n") == 1
    resume = f"to go on:      mma resume {run_of(project)} --home {project.home}\n"
    assert resume in stdout
    assert "a       cancelled" in stderr
    assert "Costs" in stderr
    assert "Traceback" not in stderr
    assert not endless.alive
    assert [path.name for path in project.workspace.iterdir()] == ["a.txt"]
    (run,) = (project.home / "runs").iterdir()
    assert {path.name for path in run.iterdir()} <= {
        "changes.patch",
        "journal.db",
        "journal.db.lock",
        "tree",
        "unmerged",
    }


def test_a_reader_that_leaves_does_not_end_the_run(project: Project) -> None:
    with started(project, "--jsonl") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        stderr = process.stderr.read()
        process.wait(GUARD)

    assert process.returncode == 0
    assert "ticket a: completed" in stderr
    assert "Traceback" not in stderr
    assert "Broken pipe" not in stderr


def test_a_display_that_nobody_watches_does_not_end_the_run(project: Project) -> None:
    with started(project) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        stdout = process.stdout.read()
        process.wait(GUARD)

    assert process.returncode == 0
    assert stdout.startswith("completed: ")


# --- on a terminal ------------------------------------------------------------


def test_a_terminal_shows_a_live_region_and_ctrl_c_leaves_it_clean(
    project: Project,
) -> None:
    endless = Endless(project)
    terminal = Terminal(arguments(project), environ())

    endless.wait()
    before = terminal.read(until="round 2 of 10 · run_command")
    terminal.process.send_signal(signal.SIGINT)
    shown = before + terminal.read()

    assert terminal.wait() == 130
    assert "1 at work" in before
    assert "cancelled: interrupted by SIGINT" in shown
    # The cursor was hidden for the region, and is shown again after it.
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert not endless.alive


@pytest.mark.parametrize("name", ["NO_COLOR", "CI"])
def test_a_terminal_that_wants_no_colour_gets_plain_lines(
    project: Project, name: str
) -> None:
    terminal = Terminal(arguments(project), environ(**{name: "1"}))

    shown = terminal.read()

    assert terminal.wait() == 0
    assert "ticket a: completed" in shown
    assert "\x1b" not in shown


# --- the second signal --------------------------------------------------------


def test_the_second_ctrl_c_leaves_with_one_line(project: Project) -> None:
    endless = Endless(project)
    terminal = Terminal(arguments(project), environ())

    endless.wait()
    # Both at once: the second comes before the first has ended the run.
    terminal.process.send_signal(signal.SIGSTOP)
    terminal.process.send_signal(signal.SIGINT)
    terminal.process.send_signal(signal.SIGTERM)
    terminal.process.send_signal(signal.SIGCONT)
    shown = terminal.read()

    assert terminal.wait() in (130, 143)
    last = shown.replace("\r", "").rstrip().splitlines()[-1]
    assert "mma: left at once; to go on: mma resume" in last
    assert run_of(project) in last


async def test_the_second_signal_ends_the_process_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record: list[str] = []

    def leave_process(code: int) -> NoReturn:
        raise SystemError(code)

    monkeypatch.setattr(os, "_exit", leave_process)
    interruption = Interruption(record.append, lambda: record.append("leave"))
    interruption.farewell = "farewell"
    stopped = anyio.Event()

    def stop(reason: str) -> None:
        record.append(reason)
        stopped.set()

    interruption.stop = stop
    with pytest.RaisesGroup(pytest.RaisesExc(SystemError, match="143")):
        async with anyio.create_task_group() as tasks:
            await tasks.start(interruption.watch)
            assert interruption.exit_code is None
            signal.raise_signal(signal.SIGINT)
            await stopped.wait()
            signal.raise_signal(signal.SIGTERM)
            await anyio.sleep_forever()

    stopping = "stopping; again to leave at once"
    assert record == [stopping, "interrupted by SIGINT", "leave", "farewell"]
    assert interruption.exit_code == 130
