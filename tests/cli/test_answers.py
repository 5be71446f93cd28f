"""Questions at a terminal, and what is typed there."""

import os
import pty
import signal
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from rich.console import Console

from mma_runtime import Approval, Outcome, Run, RunState, Runtime
from mma_runtime.cli.answers import Answers, argument_lines, choices
from mma_runtime.cli.editor import EditFailed, edit_arguments
from mma_runtime.cli.keyboard import Keyboard
from mma_runtime.cli.live import Display, LiveDisplay
from mma_runtime.events import Origin
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, ToolCall, ToolTurn
from mma_runtime.supervisor.question import Question
from mma_runtime.testing import FunctionProvider
from tests.cli.conftest import WRITE, Project
from tests.cli.ptys import Terminal, environ
from tests.cli.test_interruption import arguments
from tests.team import Said, scenario, team, use
from tests.team import project as small_project

TOUCH = "python -c \"open('made.txt', 'w').close()\""


class Screen(StringIO):
    """What was written, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._written = anyio.Event()
        self._seen = 0

    def write(self, text: str) -> int:
        written = super().write(text)
        self._written.set()
        return written

    async def shows(self, text: str) -> str:
        """Return what was written since the last call, once *text* is in it."""
        while text not in self.getvalue()[self._seen :]:
            self._written = anyio.Event()
            await self._written.wait()

        new = self.getvalue()[self._seen :]
        self._seen = len(self.getvalue())
        return new


class Desk:
    """A person at a terminal: sees what is shown and types."""

    def __init__(self, master: int, inner: int, *, is_live: bool) -> None:
        self._master = master
        self.inner = inner
        self.screen = Screen()
        console = Console(
            file=self.screen, force_terminal=is_live, width=300, markup=False
        )
        self.display = LiveDisplay(console) if is_live else Display(console)
        self.keyboard = Keyboard(inner)

    async def asked(self, text: str = "") -> str:
        """Return what is shown with the next prompt, which *text* is to be in."""
        shown = await self.screen.shows("\n> ")
        assert text in shown
        return shown

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    def hang_up(self) -> None:
        os.close(self._master)
        self._master = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        self.display.close()
        os.close(self._master)
        os.close(self.inner)


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Generator[Desk]:
    master, inner = pty.openpty()
    os.set_blocking(inner, False)
    is_live = getattr(request, "param", False)
    desk = Desk(master, inner, is_live=is_live)
    yield desk
    desk.close()


@asynccontextmanager
async def asking(
    desk: Desk, models: FunctionProvider, tmp_path: Path, **keys: object
) -> AsyncGenerator[Run]:
    """Start a run whose questions are put to *desk*."""
    folder = small_project(tmp_path / "project", a__txt="a\n")
    keys = {"workspace": {"path": folder}, "approvals": {"seconds": 0.01}, **keys}
    async with Runtime(home=tmp_path / "home", providers=[models]) as runtime:
        with anyio.fail_after(20):
            run = await runtime.start(scenario(**keys))
            async with anyio.create_task_group() as group:
                group.start_soon(Answers(run, desk.display, desk.keyboard).give)
                yield run
                await run.outcome()


def runs(*commands: str) -> FunctionProvider:
    """Return a team whose worker calls *commands* at once, then is done."""
    calls = tuple(
        ToolCall(f"c{number}", "run_command", {"command": command}, "{}")
        for number, command in enumerate(commands)
    )

    def work(request: ChatRequest) -> Said:
        return AssistantTurn(calls) if request.turn == 1 else "done"

    return team(ticket=work)


def results(models: FunctionProvider) -> list[tuple[bool, str]]:
    last = models.requests[-1].turns[-1]
    assert isinstance(last, ToolTurn)
    return [(one.is_error, str(one.content)) for one in last.results]


def made(outcome: Outcome) -> list[str]:
    return [change.path for change in outcome.changes]


@pytest.mark.parametrize("desk", [False, True], indirect=True, ids=["plain", "live"])
async def test_a_question_is_asked_and_yes_lets_it_run(
    desk: Desk, tmp_path: Path
) -> None:
    async with asking(desk, runs(TOUCH), tmp_path) as run:
        shown = await desk.asked("ticket one wants to call run_command")
        desk.types("y\n")
        outcome = await run.outcome()

    assert TOUCH in shown
    assert "y yes · n [why] no · a yes to all:" in shown
    assert made(outcome) == ["made.txt"]


async def test_no_and_what_stands_behind_it_goes_to_the_model(
    desk: Desk, tmp_path: Path
) -> None:
    models = runs(TOUCH)
    async with asking(desk, models, tmp_path):
        await desk.asked()
        desk.types("n make no files, please\n")

    ((is_error, text),) = results(models)
    assert is_error
    assert "rejected: make no files, please" in text


async def test_what_is_no_answer_is_asked_for_again(desk: Desk, tmp_path: Path) -> None:
    async with asking(desk, runs(TOUCH), tmp_path) as run:
        await desk.asked()
        for typed in ("\n", "yes please\n", "ü\x1b[A\n"):
            desk.types(typed)
            await desk.asked("one of these letters, please:")

        desk.types("Y\n")
        outcome = await run.outcome()

    assert made(outcome) == ["made.txt"]


async def test_what_was_typed_before_a_question_is_no_answer_to_it(
    desk: Desk, tmp_path: Path
) -> None:
    models = runs(TOUCH)
    desk.types("y\n")

    async with asking(desk, models, tmp_path):
        await desk.asked()
        await anyio.wait_all_tasks_blocked()
        desk.types("n\n")

    assert results(models)[0][0]


async def test_parallel_questions_are_answered_one_by_one(
    desk: Desk, tmp_path: Path
) -> None:
    models = runs("python -c 1", "python -c 2", "python -c 3")
    answers: dict[str, bool] = {}

    async with asking(desk, models, tmp_path):
        for number in range(3):
            shown = await desk.asked("wants to call run_command")
            if number == 0:
                assert "(2 more questions after this)" in shown

            command = next(str(n) for n in (1, 2, 3) if f"python -c {n}" in shown)
            answers[command] = number != 1
            desk.types("y\n" if number != 1 else f"n not {command}\n")

    found = results(models)
    assert sorted(answers) == ["1", "2", "3"]
    assert [not is_error for is_error, _ in found] == [answers[n] for n in "123"]


async def test_yes_to_all_settles_those_alike(desk: Desk, tmp_path: Path) -> None:
    models = runs("git init one", "git init two")

    async with asking(desk, models, tmp_path):
        await desk.asked("a yes to all: git init *")
        desk.types("a\n")

    assert [is_error for is_error, _ in results(models)] == [False, False]
    assert desk.screen.getvalue().count("wants to call") == 1


@pytest.mark.parametrize("desk", [False, True], indirect=True, ids=["plain", "live"])
async def test_a_question_that_is_answered_elsewhere_is_withdrawn(
    desk: Desk, tmp_path: Path
) -> None:
    async with asking(desk, runs(TOUCH), tmp_path) as run:
        await desk.asked()
        (question,) = run.questions
        run.answer(question.id, Approval.approve())
        outcome = await run.outcome()

    assert made(outcome) == ["made.txt"]
    assert "> \n" in desk.screen.getvalue()


async def test_nothing_is_said_while_somebody_types_and_all_of_it_afterwards(
    desk: Desk, tmp_path: Path
) -> None:
    async with asking(desk, runs(TOUCH), tmp_path):
        await desk.asked()
        desk.display.say("news")
        held = desk.screen.getvalue()
        desk.types("y\n")

    assert "news" not in held
    assert "news" in desk.screen.getvalue()


async def test_step_by_step_a_ticket_is_asked_about_with_its_title(
    desk: Desk, tmp_path: Path
) -> None:
    plan = [{"id": "one", "title": "The first", "description": "d", "step": True}]

    async with asking(desk, team(), tmp_path, tickets=plan) as run:
        async for event in run.events():
            desk.display.add(event)
            break

        shown = await desk.asked("ticket one wants to start")
        desk.types("a\n")
        await desk.asked("one of these letters, please:")
        desk.types("n not today\n")
        outcome = await run.outcome()

    assert "y yes · n [why] no\n" in shown
    assert outcome.tickets[0].reason == "not today"


async def test_what_may_have_happened_is_answered_in_one_of_three_ways(
    desk: Desk, tmp_path: Path
) -> None:
    def twice(request: ChatRequest) -> Said:
        return "done" if request.turn == 3 else use("run_command", command="false")

    models = team(ticket=twice)
    rules = {"policy": {"run_command": "auto"}, "seconds": 0.01}
    once = {"run_command": ["false"]}
    async with asking(desk, models, tmp_path, approvals=rules, once=once) as run:
        shown = await desk.asked("ticket one wants to call run_command again")
        for unfit in ("a\n", "e\n"):
            desk.types(unfit)
            await desk.asked("one of these letters, please:")

        desk.types("h by hand\n")
        outcome = await run.outcome()

    assert "it is to happen once: it failed before" in shown
    assert (
        "y run it again · h [what came of it] it has happened, go on"
        " · n [why] fail the ticket"
    ) in shown
    assert outcome.state is RunState.COMPLETED
    assert "said that it has happened: by hand" in results(models)[0][1]


async def test_a_terminal_that_is_closed_leaves_questions_to_their_time_limit(
    desk: Desk, tmp_path: Path
) -> None:
    models = runs(TOUCH)
    async with asking(desk, models, tmp_path):
        await desk.asked()
        desk.hang_up()

    assert "nobody answered within 0.01 s" in results(models)[0][1]
    assert "nobody answers from here any more" in desk.screen.getvalue()


async def test_ctrl_d_leaves_questions_to_their_time_limit(
    desk: Desk, tmp_path: Path
) -> None:
    models = runs(TOUCH)
    async with asking(desk, models, tmp_path):
        await desk.asked()
        desk.types("\x04")

    assert "nobody answered within 0.01 s" in results(models)[0][1]


async def test_a_run_that_is_cancelled_ends_while_a_question_is_asked(
    desk: Desk, tmp_path: Path
) -> None:
    async with asking(desk, runs(TOUCH), tmp_path) as run:
        await desk.asked()
        outcome = await run.cancel("enough")

    assert outcome.state is RunState.CANCELLED
    assert run.questions == ()


# --- what is shown ------------------------------------------------------------


def question(tool: str = "write_file", **arguments: Any) -> Question:
    return Question(
        id="one/1", origin=Origin(ticket="one"), tool=tool, arguments=arguments
    )


def lines(most: int | None, **arguments: Any) -> list[str]:
    return [str(line).strip() for line in argument_lines(question(**arguments), most)]


def test_long_arguments_are_cut_and_say_how_to_see_the_rest() -> None:
    content = "a\nb\nc\nd"

    assert lines(2, path="x", content=content) == [
        "path: x",
        "content:",
        "│ a",
        "│ b",
        "└ 2 more lines: s shows all",
    ]
    assert lines(None, content=content)[1:] == ["│ a", "│ b", "│ c", "│ d"]


def test_what_cannot_be_seen_is_shown_as_its_escape() -> None:
    assert lines(9, command="ls\x1b[2J \u202e#") == ["command: ls\\x1b[2J \\u202e#"]
    assert lines(9, command=["a b", "\r"]) == ['command: ["a b", "\\r"]']


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (
            question("run_command", command="git push origin"),
            "  y yes · n [why] no · a yes to all: git push * · e edit",
        ),
        (question("list"), "  y yes · n [why] no · a yes to all: list"),
        (question(""), "  y yes · n [why] no"),
        (question("", commands=["pytest"]), "  y yes · n [why] no"),
        (
            replace(question("run_command", command="sh -c ls"), is_planned=True),
            "  y yes · n [why] no · a yes to all: sh -c ls",
        ),
    ],
)
def test_only_what_can_be_answered_is_offered(asked: Question, shown: str) -> None:
    assert choices(asked) == shown


# --- the editor ---------------------------------------------------------------


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(program))


WRITTEN = {"path": "a.txt", "content": "one\ntwo\n", "times": 3, "text": "yes"}


async def edited(
    desk: Desk, arguments: Mapping[str, Any] = WRITTEN
) -> dict[str, Any] | None:
    return await edit_arguments("write_file", arguments, desk.keyboard)


async def test_arguments_are_edited_in_ones_own_editor(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(tmp_path, monkeypatch, 'cp "$1" "$0.seen"; sed -i s/two/three/ "$1"')

    assert await edited(desk) == WRITTEN | {"content": "one\nthree\n"}
    assert (tmp_path / "editor.seen").read_text().splitlines()[1:] == [
        "path: a.txt",
        "content: |",
        "  one",
        "  two",
        "times: 3",
        "text: 'yes'",
    ]


@pytest.mark.parametrize("script", ["true", ': > "$1"'], ids=["as it was", "emptied"])
async def test_what_was_not_changed_goes_back_to_the_question(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    editor(tmp_path, monkeypatch, script)

    assert await edited(desk) is None


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 3", "ended with exit code 3"),
        ('echo "a: [" > "$1"', "that is no YAML"),
        ('echo "- a" > "$1"', "write `name: value` lines"),
        ('echo "1: a" > "$1"', "write `name: value` lines"),
    ],
)
async def test_what_cannot_be_used_is_told(
    desk: Desk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    problem: str,
) -> None:
    editor(tmp_path, monkeypatch, script)

    with pytest.raises(EditFailed, match=problem):
        await edited(desk)


async def test_an_editor_that_is_not_there_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", "/no/such/editor -w")
    with pytest.raises(EditFailed, match="'/no/such/editor' cannot be started"):
        await edited(desk)

    monkeypatch.setenv("VISUAL", "")
    monkeypatch.setenv("EDITOR", "")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EditFailed, match="set EDITOR to one"):
        await edited(desk)


async def test_an_edited_call_is_what_runs(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(tmp_path, monkeypatch, 'sed -i s/made/other/ "$1"')
    async with asking(desk, runs(TOUCH), tmp_path) as run:
        await desk.asked()
        desk.types("e\n")
        outcome = await run.outcome()

    assert made(outcome) == ["other.txt"]


async def test_an_editor_that_fails_leads_back_to_the_question(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(tmp_path, monkeypatch, "exit 1")
    models = runs(TOUCH)
    async with asking(desk, models, tmp_path):
        await desk.asked()
        desk.types("e\n")
        await desk.asked("ended with exit code 1")
        desk.types("n\n")

    assert results(models)[0][0]


# --- the real program ---------------------------------------------------------


@pytest.fixture
def stepped(project: Project) -> Project:
    project.write([WRITE, {"turn": 2, "text": "Done."}], mode="step")
    return project


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_program_asks_on_a_terminal_and_ends_when_all_is_answered(
    stepped: Project, backend: str
) -> None:
    terminal = Terminal(arguments(stepped, "--backend", backend), environ())

    terminal.read(until="wants to start: a")
    terminal.read(until="> ")
    terminal.type("y\n")
    terminal.read(until="wants to call write_file")
    terminal.read(until="> ")
    terminal.type("y\n")
    shown = terminal.read()

    assert terminal.wait() == 0
    assert "a call of write_file is approved" in shown
    assert "completed: 1 ticket completed" in shown


def test_ctrl_c_at_a_question_ends_the_run_in_order(stepped: Project) -> None:
    terminal = Terminal(arguments(stepped), environ())

    terminal.read(until="wants to start: a")
    terminal.read(until="> ")
    terminal.type("half a wo")
    terminal.process.send_signal(signal.SIGINT)
    shown = terminal.read()

    assert terminal.wait() == 130
    assert "cancelled: interrupted by SIGINT" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("on_no_answer", "code", "state"), [("pause", 5, "paused"), ("reject", 1, "failed")]
)
def test_without_a_terminal_nobody_is_waited_for(
    stepped: Project, on_no_answer: str, code: int, state: str
) -> None:
    approvals = {"seconds": 600, "on_no_answer": on_no_answer}
    stepped.write(mode="step", approvals=approvals)

    result = stepped.run()

    assert result.return_value == code
    assert result.stdout.startswith(f"{state}: ")
    assert "ticket a: waits for a word on its start" in result.stderr
    assert "nobody is at a terminal to answer" in result.output
    assert ("to go on:      mma resume " in result.stdout) == (state == "paused")


def test_a_run_that_was_paused_for_want_of_an_answer_asks_again_when_resumed(
    stepped: Project,
) -> None:
    approvals = {"seconds": 0.01, "on_no_answer": "pause"}
    stepped.write(mode="step", approvals=approvals)
    assert stepped.run().return_value == 5
    mma = [sys.executable, "-m", "mma_runtime", "resume", "--home", str(stepped.home)]

    terminal = Terminal(mma, environ())
    for wanted in ("wants to start: a", "wants to call write_file"):
        terminal.read(until=wanted)
        terminal.read(until="> ")
        terminal.type("y\n")

    shown = terminal.read()

    assert terminal.wait() == 0
    assert "completed: 1 ticket completed" in shown
