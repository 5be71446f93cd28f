"""What a run asks people: whether a tool call or a ticket may go ahead."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import anyio

from mma_runtime.errors import Refused, did_you_mean
from mma_runtime.events import ApprovalAsked, ApprovalGiven, Event, Origin
from mma_runtime.journal import Entry, Journal
from mma_runtime.journal.past import ANSWER
from mma_runtime.llm.chat import ToolCall
from mma_runtime.tools.approval import Approval, Consents
from mma_runtime.tools.policy import (
    ASK_ALWAYS,
    DEFAULT_POLICY,
    Decision,
    Policy,
    Rule,
    alike,
)

SECONDS = 60.0
"""How long an answer is waited for unless told otherwise."""


class NoAnswer(StrEnum):
    """What becomes of a question that nobody answers in time."""

    REJECT = "reject"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something that waits for somebody's word.

    It is about a call of *tool* with *arguments*; without a tool it is whether the
    ticket in *origin* may start. *id* is for the answer.
    """

    id: str
    origin: Origin
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class _Waiting:
    question: Question
    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: Approval | None = None


class Questions:
    """The open questions of one run, and what is asked at all.

    *policy* decides about tool calls before anybody is asked; with *is_stepped* every
    call is asked about, and every ticket. After *seconds* without an answer a question
    is rejected, or the run is paused (*unanswered* is called with the reason). Answers
    are decisions: the *journal* keeps them, and a resumed run does not ask again.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        *,
        policy: Policy = DEFAULT_POLICY,
        is_stepped: bool = False,
        seconds: float = SECONDS,
        on_no_answer: NoAnswer = NoAnswer.REJECT,
        journal: Journal | None = None,
    ) -> None:
        self._journal = journal or Journal()
        self.consents = Consents(self._consents_before())
        self.unanswered: Callable[[str], None] = _ignore
        self.is_stepped = is_stepped
        self._emit = emit
        self._policy = policy
        self._seconds = seconds
        self._on_no_answer = on_no_answer
        self._waiting: dict[str, _Waiting] = {}
        self._starts = Counter[str]()

    def _consents_before(self) -> list[Rule]:
        past = self._journal.past
        return [
            Rule(decision=Decision.AUTO, tool=tool, subject=subject)
            for tool, subject in (past.consents if past is not None else ())
        ]

    @property
    def open(self) -> tuple[Question, ...]:
        """The questions that wait for an answer, the oldest first."""
        return tuple(one.question for one in self._waiting.values())

    def policy(self, commands: tuple[str, ...], *, is_stepped: bool) -> Policy:
        """Return what holds for a ticket: its own acceptance *commands* may run.

        They are run to judge it in any case.
        """
        if is_stepped or self.is_stepped:
            return ASK_ALWAYS

        own = {"run_command": dict.fromkeys(map(_literal, commands), "auto")}
        return Policy.of(own).over(self._policy) if commands else self._policy

    def answer(self, question: str, approval: Approval) -> None:
        """Answer the question with that id; raises `Refused` when it is not open."""
        waiting = self._waiting.get(question)
        if waiting is None:
            near = did_you_mean(question, self._waiting)
            raise Refused(f"there is no open question {question!r}{near}")

        waiting.answer = approval
        waiting.answered.set()

    async def ask_ticket(self, origin: Origin) -> Approval:
        """Ask whether the ticket in *origin* may start, and wait for the answer."""
        question = Question(id=f"{origin.ticket}/start", origin=origin)
        self._emit(ApprovalAsked(origin=origin, call="", tool=""))
        began = anyio.current_time()
        # A ticket that is tried again by somebody's order is asked about again.
        self._starts[question.id] += 1
        name = f"{question.id}.{self._starts[question.id]}"
        answer = await self._answer_to(question, name)
        self._emit(
            ApprovalGiven(
                origin=origin,
                call="",
                tool="",
                approved=answer.approved,
                edited=False,
                seconds=anyio.current_time() - began,
                reason=answer.reason,
            )
        )
        return answer

    async def ask_call(self, origin: Origin, call: ToolCall) -> Approval:
        """Ask about a tool call, and wait for the answer. Several may wait at once."""
        question = Question(
            id=f"{origin.ticket}/{origin.attempt}/{call.id}",
            origin=origin,
            tool=call.name,
            arguments=call.arguments or {},
        )
        return await self._answer_to(question, question.id, alike(call))

    async def _answer_to(
        self, question: Question, name: str, rule: Rule | None = None
    ) -> Approval:
        """Return the answer that was recorded under *name*, or wait for one."""
        journal = self._journal
        found = journal.take(ANSWER, name)
        if found is not None and (found.facts["given"] or journal.strict):
            told = json.loads(found.contents["answer"])
            return Approval(
                approved=found.facts["approved"],
                arguments=told["arguments"],
                reason=told["reason"],
                all_alike=bool(told["alike"]),
            )

        await journal.demand_new(f"the answer to {name!r}", question.origin)
        answer, given = await self._wait(question)
        told = {
            "arguments": answer.arguments,
            "reason": answer.reason,
            "alike": [rule.tool, rule.subject] if rule and answer.all_alike else None,
        }
        await journal.append(
            Entry(
                kind=ANSWER,
                origin=question.origin,
                call=name,
                facts={
                    "approved": answer.approved,
                    "given": given,
                    "tool": question.tool,
                },
                contents={"answer": json.dumps(told).encode()},
            )
        )
        return answer

    async def _wait(self, question: Question) -> tuple[Approval, bool]:
        """Return the answer, and whether somebody gave it."""
        waiting = self._waiting[question.id] = _Waiting(question)
        try:
            with anyio.move_on_after(self._seconds):
                await waiting.answered.wait()
        finally:
            del self._waiting[question.id]

        if waiting.answer is not None:
            return waiting.answer, True

        about = f"a call of {question.tool!r}" if question.tool else "its start"
        reason = f"nobody answered within {self._seconds:g} s"
        if self._on_no_answer is NoAnswer.PAUSE:
            ticket = question.origin.ticket
            self.unanswered(f"ticket {ticket!r} waits for a word on {about}; {reason}")
            # The run ends by that, and this with it.
            await anyio.sleep_forever()

        return Approval.reject(reason), False


def _ignore(reason: str) -> None:
    """Do nothing: nobody wants to know."""


def _literal(command: str) -> str:
    """Return a pattern that matches *command* alone."""
    return command.translate(_SIGNS)


_SIGNS = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})
