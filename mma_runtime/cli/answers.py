"""What a person at the terminal answers to a run's questions."""

import json
from collections.abc import Iterable, Iterator

from anyio import create_task_group
from rich.text import Text

from mma_runtime.cli.editor import EditFailed, edit_arguments
from mma_runtime.cli.keyboard import Keyboard
from mma_runtime.cli.live import Display
from mma_runtime.cli.wording import count, one_line, visible
from mma_runtime.runtime.run import Run
from mma_runtime.supervisor.question import Question
from mma_runtime.tools.approval import Approval
from mma_runtime.tools.policy import alike

# Lines of one argument that are shown unless all are asked for.
LINES = 12

# Characters of a rule; it begins as the call above does.
WIDTH = 40

PROMPT = "> "


class Answers:
    """Asks whoever sits at *keyboard* what *run* wants to know, one by one.

    Nothing else is said meanwhile; the run goes on.
    """

    def __init__(self, run: Run, display: Display, keyboard: Keyboard) -> None:
        self._run = run
        self._display = display
        self._keyboard = keyboard

    async def give(self) -> None:
        """Answer until the run ends, or the terminal is closed.

        While this goes on no question is too old to be answered. Cancellation leaves
        the question that is being asked open.
        """
        self._display.is_attended = True
        with self._run.attended():
            async for question in self._run.asked():
                if question not in self._run.questions:
                    continue

                answer = await self._ask(question)
                if question not in self._run.questions:
                    continue

                if answer is None:
                    break

                self._run.answer(question.id, answer)
            else:
                return

        self._display.is_attended = False
        self._display.say(
            "nobody answers from here any more: questions wait as long as the scenario"
            " says"
        )

    async def _ask(self, question: Question) -> Approval | None:
        """Return the answer, or `None` when none came or none is needed any more."""
        answer: Approval | None = None
        with self._display.held():
            async with create_task_group() as group:

                async def withdraw() -> None:
                    await self._run.settled(question.id)
                    group.cancel_scope.cancel()

                group.start_soon(withdraw)
                try:
                    answer = await self._read_answer(question)
                finally:
                    if answer is None:
                        # The cursor stands behind a prompt that nobody has answered.
                        self._display.console.print()

                group.cancel_scope.cancel()

        return answer

    async def _read_answer(self, question: Question) -> Approval | None:
        self._say(self._heading(question), "bold yellow")
        if question.why:
            self._say(visible(f"    it is to happen once: {question.why}"), "yellow")

        self._show(argument_lines(question, LINES))
        self._keyboard.forget()
        while True:
            self._say(choices(question), "dim")
            self._display.console.print(PROMPT, end="")
            line = await self._keyboard.line()
            if line is None:
                return None

            word, _, reason = line.strip().partition(" ")
            if (answer := _word(question, word.lower(), reason.strip())) is not None:
                return answer

            match word.lower():
                case "e" | "edit" if question.is_editable and not reason:
                    if (answer := await self._edit(question)) is not None:
                        return answer
                case "s" | "show" if question.arguments and not reason:
                    self._show(argument_lines(question, None))
                case _:
                    self._say("one of these letters, please:")

    async def _edit(self, question: Question) -> Approval | None:
        try:
            arguments = await edit_arguments(
                question.tool, question.arguments, self._keyboard
            )
        except EditFailed as error:
            self._say(str(error), "red")
            return None

        if arguments is None:
            self._say("nothing was changed")
            return None

        return Approval.approve(arguments)

    def _heading(self, question: Question) -> str:
        ticket = question.origin.ticket
        who = f"ticket {ticket}" if ticket else "what the run expects at its end"
        wants = f"wants to call {question.tool}{' again' if question.why else ''}"
        if question.is_planned:
            wants = "is planned to be judged by a command"
        if not question.tool:
            known = self._display.progress.tickets.get(ticket)
            title = known.title if known is not None else ticket
            wants = f"wants to start: {one_line(title)}"

        others = len(self._run.questions) - 1
        more = f" ({count(others, 'more question')} after this)" if others else ""
        return visible(f"\n? {who} {wants}{more}")

    def _say(self, text: str, style: str = "") -> None:
        self._display.console.print(Text(text, style=style))

    def _show(self, lines: Iterable[Text]) -> None:
        # As they are: a line of code is broken by the terminal alone.
        for line in lines:
            self._display.console.print(line, soft_wrap=True)


def argument_lines(question: Question, most: int | None) -> Iterator[Text]:
    """Put what *question* is about on lines; of each argument at most *most*, or all.

    What would steer the terminal, or cannot be seen on it, is shown as its escape.
    """
    for name, value in question.arguments.items():
        text = value if isinstance(value, str) else json.dumps(value)
        lines = visible(text).split("\n")
        if len(lines) == 1:
            yield Text(f"    {visible(name)}: {lines[0]}")
            continue

        yield Text(f"    {visible(name)}:")
        yield from (Text(f"    │ {line}") for line in lines[:most])
        hidden = len(lines) - len(lines[:most])
        if hidden:
            yield Text(f"    └ {count(hidden, 'more line')}: s shows all", style="dim")


def choices(question: Question) -> str:
    """Say what may be answered to *question*."""
    if question.why:
        again, done = "y run it again", "h [what came of it] it has happened, go on"
        return f"  {again} · {done} · n [why] fail the ticket"

    found = ["y yes", "n [why] no"]
    if question.tool:
        rule = alike(question.as_call())
        every = question.tool if rule.subject == "*" else rule.subject
        found.append(f"a yes to all: {one_line(visible(every), WIDTH)}")

    if question.is_editable and question.arguments:
        found.append("e edit")

    return "  " + " · ".join(found)


def _word(question: Question, word: str, reason: str) -> Approval | None:
    """Return what *word* answers, or `None` if that is no whole answer."""
    match word:
        case "y" | "yes" if not reason:
            return Approval.approve()
        case "n" | "no":
            return Approval.reject(reason)
        case "h" | "happened" if question.why:
            return Approval.happened(reason)
        case "a" | "all" if question.has_alike and not reason:
            return Approval.approve(all_alike=True)
        case _:
            return None
