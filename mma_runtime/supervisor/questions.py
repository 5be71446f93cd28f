"""What a run asks people: whether a tool call or a ticket may go ahead."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from math import inf
from typing import Self

import anyio

from mma_runtime.errors import Refused, did_you_mean
from mma_runtime.events import ApprovalAsked, ApprovalGiven, Event, Origin
from mma_runtime.journal import Entry, Journal
from mma_runtime.journal.kinds import ANSWER
from mma_runtime.llm.chat import ToolCall
from mma_runtime.news import News
from mma_runtime.supervisor.question import SECONDS, NoAnswer, Question
from mma_runtime.tiers import Tier
from mma_runtime.tools.approval import Approval, Consents
from mma_runtime.tools.policy import (
    DEFAULT_POLICY,
    Decision,
    Policy,
    Rule,
    alike,
    command_line,
    subject,
)


@dataclass(slots=True)
class _Waiting:
    question: Question
    answered: anyio.Event = field(default_factory=anyio.Event)
    limit: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    answer: Approval | None = None
    unanswered: str = ""


class Questions:
    """The open questions of one run, and what is asked at all.

    *policy* decides about tool calls before anybody is asked; with *is_stepped* every
    call is asked about, and every ticket. After *seconds* without an answer a question
    is rejected, or the run is paused (*unanswered* is called with the reason); while
    somebody attends, it waits. Answers are decisions: the *journal* keeps them, and a
    resumed run does not ask again.
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
        self._consents: Consents | None = None
        self.unanswered: Callable[[str], None] = _ignore
        self.is_stepped = is_stepped
        self._emit = emit
        self._policy = policy
        self._seconds = seconds
        self._on_no_answer = on_no_answer
        self._waiting: dict[str, _Waiting] = {}
        self._asked = 0
        self._names: dict[str, int] = {}
        self._planned: dict[str, anyio.Lock] = {}
        self._permitted = set[str]()
        self._attending = 0
        self._is_over = False
        self._changed = News()

    @property
    def consents(self) -> Consents:
        """What was approved for all calls alike."""
        if self._consents is None:
            self._consents = Consents(self._consents_before())

        return self._consents

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

    @contextmanager
    def attended(self) -> Generator[None]:
        """Let questions wait without a limit for as long as the block lasts.

        Those that are still open then have their whole time again.
        """
        self._attending += 1
        self._set_limits()
        try:
            yield
        finally:
            self._attending -= 1
            self._set_limits()

    async def settled(self, question: str) -> None:
        """Wait until the question with that id is not open, whatever has ended it."""
        while question in self._waiting:
            await self._changed.wait()

    async def next_after(self, known: set[str]) -> Question | None:
        """Wait for a question that is not *known*; `None` when there will be none."""
        while True:
            for question in self.open:
                if question.id not in known:
                    return question

            if self._is_over:
                return None

            await self._changed.wait()

    def close(self) -> None:
        """Let nobody wait for questions any more: the run has ended."""
        self._is_over = True
        # No circle keeps the ended run until garbage is collected.
        self.unanswered = _ignore
        self._changed.tell()

    def policy(self, commands: tuple[str, ...], *, is_stepped: bool) -> Policy:
        """Return what holds for a ticket: its own acceptance *commands* may run.

        They are run to judge it in any case: what a model has planned was asked about
        before. What is denied stays denied.
        """
        if is_stepped or self.is_stepped:
            return self._policy.step_by_step()

        own = {
            _literal(command_line(command)): "auto"
            for command in commands
            if not self.denies(command)
        }
        return Policy.of({"run_command": own}).over(self._policy)

    def denies(self, command: str) -> bool:
        """Tell whether workers may never run *command*."""
        return self._policy.denies(command, tier=Tier.WORKER.value)

    def answer(self, question: str, approval: Approval) -> None:
        """Answer the question with that id, and those alike if *approval* says so.

        Raises:
            Refused: it is not open, or that is no answer to it.
        """
        asked = self._open(question).question
        if problem := _unfit(asked, approval):
            raise Refused(f"that is no answer to the question {question!r}: {problem}")

        self._settle(question, approval)
        if approval.approved and approval.all_alike and asked.tool:
            # Here and now: the gates' own consents would have them open for a moment.
            rule = alike(asked.as_call())
            for other in self.open:
                about = subject(other.as_call())
                if not other.why and rule.matches("", other.tool, about):
                    self._settle(other.id, Approval.approve())

        self._changed.tell()

    def pass_over(self, question: str, reason: str) -> None:
        """Wait no longer for an answer to the question with that id, for a *reason*.

        Raises:
            Refused: it is not open.
        """
        waiting = self._open(question)
        waiting.unanswered = reason
        waiting.limit.cancel()

    def _open(self, question: str) -> _Waiting:
        if question not in self._waiting:
            near = did_you_mean(question, self._waiting)
            raise Refused(f"there is no open question {question!r}{near}")

        return self._waiting[question]

    async def ask_ticket(
        self, origin: Origin, commands: tuple[str, ...] = ()
    ) -> Approval:
        """Ask whether the ticket in *origin* may start, and wait for the answer.

        A yes is one to the *commands* that judge it.
        """
        shown = {"commands": list(commands)} if commands else {}
        question = Question(id=self._id(origin), origin=origin, arguments=shown)
        return await self._told(question, f"{origin.ticket}/start")

    async def ask_command(self, origin: Origin, command: str) -> Approval:
        """Ask whether a model's plan may have *command* judge the ticket in *origin*.

        What the policy lets workers run, or somebody has said yes to in this run, is
        not asked about. What the policy denies is a no.
        """
        line = command_line(command)
        call = ToolCall("", "run_command", {"command": command}, command)
        # Of tickets that want the same one asks, and the others wait for the answer.
        async with self._planned.setdefault(line, anyio.Lock()):
            tier = Tier.WORKER.value
            decision = self._policy.decide(call, tier=tier, read_only=False)
            if decision is Decision.DENY:
                return Approval.reject("the policy denies it")

            if (
                decision is Decision.AUTO
                or line in self._permitted
                or self.consents.cover(call)
            ):
                return Approval.approve()

            question = Question(
                id=self._id(origin),
                origin=origin,
                tool=call.name,
                arguments={"command": command},
                is_planned=True,
            )
            about = blake2b(line.encode(errors="surrogatepass"), digest_size=6)
            name = f"{origin.ticket}/plan/{about.hexdigest()}"
            answer = await self._told(question, name, alike(call))
            if answer.approved:
                self._permitted.add(line)
                if answer.all_alike:
                    self.consents.add(alike(call))

            return answer

    async def _told(
        self, question: Question, name: str, rule: Rule | None = None
    ) -> Approval:
        """Wait for the answer to what is no call of a model, and tell of both."""
        origin, tool = question.origin, question.tool
        self._emit(ApprovalAsked(origin=origin, call="", tool=tool))
        began = anyio.current_time()
        answer = await self._answer_to(question, name, rule)
        reason = answer.reason
        if answer.has_happened:
            reason = "it has happened" + (f": {reason}" if reason else "")

        self._emit(
            ApprovalGiven(
                origin=origin,
                call="",
                tool=tool,
                approved=answer.approved or answer.has_happened,
                edited=False,
                seconds=anyio.current_time() - began,
                reason=reason,
            )
        )
        return answer

    async def ask_call(self, origin: Origin, call: ToolCall) -> Approval:
        """Ask about a tool call, and wait for the answer. Several may wait at once."""
        question = Question(
            id=self._id(origin),
            origin=origin,
            tool=call.name,
            arguments=call.arguments or {},
        )
        name = f"{origin.ticket}/{origin.attempt}/{call.id}"
        return await self._answer_to(question, name, alike(call))

    async def ask_again(
        self, origin: Origin, call: ToolCall, times: int, why: str
    ) -> Approval:
        """Ask whether *call* may happen again, which has begun so many *times*."""
        about = blake2b(subject(call).encode(), digest_size=6).hexdigest()
        question = Question(
            id=self._id(origin),
            origin=origin,
            tool=call.name,
            arguments=call.arguments or {},
            why=why,
        )
        name = f"{origin.ticket}/{origin.attempt}/again/{call.name}-{about}.{times}"
        return await self._told(question, name)

    async def _answer_to(
        self, question: Question, name: str, rule: Rule | None = None
    ) -> Approval:
        """Return the answer that was recorded under *name*, or wait for one."""
        journal = self._journal
        # What has the same name is asked about again: a ticket that is tried again by
        # somebody's order, or calls to which a model has given the same id.
        self._names[name] = self._names.get(name, 0) + 1
        name = f"{name}.{self._names[name]}"
        found = journal.take(ANSWER, name)
        if found is not None and (found.facts["given"] or journal.strict):
            told = json.loads(found.contents["answer"])
            return Approval(
                approved=found.facts["approved"],
                arguments=told["arguments"],
                reason=told["reason"],
                all_alike=bool(told["alike"]),
                has_happened=found.facts.get("happened", False),
            )

        await journal.demand_new(f"the answer to {name!r}", question.origin)
        answer, given = await self._wait(question)
        told = {
            "arguments": answer.arguments,
            "reason": answer.reason,
            "alike": [rule.tool, rule.subject] if rule and answer.all_alike else None,
        }
        facts = {
            "approved": answer.approved,
            "given": given,
            "tool": question.tool,
        }
        if answer.has_happened:
            facts["happened"] = True

        await journal.append(
            Entry(
                kind=ANSWER,
                origin=question.origin,
                call=name,
                facts=facts,
                contents={"answer": json.dumps(told).encode()},
            )
        )
        return answer

    def _settle(self, question: str, approval: Approval) -> None:
        waiting = self._waiting.pop(question)
        waiting.answer = approval
        waiting.answered.set()

    def _id(self, origin: Origin) -> str:
        # A call's own id will not do: models name calls, and not always uniquely.
        self._asked += 1
        return f"{origin.ticket}/{self._asked}"

    def _deadline(self) -> float:
        return inf if self._attending else anyio.current_time() + self._seconds

    def _set_limits(self) -> None:
        for waiting in self._waiting.values():
            waiting.limit.deadline = self._deadline()

    async def _wait(self, question: Question) -> tuple[Approval, bool]:
        """Return the answer, and whether somebody gave it."""
        waiting = self._waiting[question.id] = _Waiting(question)
        waiting.limit.deadline = self._deadline()
        self._changed.tell()
        try:
            with waiting.limit:
                await waiting.answered.wait()
        finally:
            if self._waiting.pop(question.id, None) is not None:
                self._changed.tell()

        if waiting.answer is not None:
            return waiting.answer, True

        about = f"a call of {question.tool!r}" if question.tool else "its start"
        if question.is_planned:
            about = f"its command {question.arguments['command']!r}"

        in_time = f"nobody answered within {self._seconds:g} s"
        reason = waiting.unanswered or in_time
        if self._on_no_answer is NoAnswer.PAUSE:
            ticket = question.origin.ticket
            self.unanswered(f"ticket {ticket!r} waits for a word on {about}; {reason}")
            # The run ends by that, and this with it.
            await anyio.sleep_forever()

        if question.why:
            reason += "; resume the run to answer, at a terminal or with `--once`"

        return Approval.reject(reason), False


class Asked:
    """A run's questions, each once, as they come; ends with the run."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._known = set[str]()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Question:
        """Wait for a question. Cancelling the wait loses none."""
        question = await self._questions.next_after(self._known)
        if question is None:
            raise StopAsyncIteration

        self._known.add(question.id)
        return question


def _unfit(asked: Question, answer: Approval) -> str:
    """Return why *answer* is none to what was *asked*, or nothing."""
    if answer.has_happened and not asked.why:
        return "it is not about a call that may have happened already"

    if asked.why and (answer.all_alike or answer.arguments is not None):
        return "whether a call may happen again is said of this one alone, as it is"

    if asked.is_planned and answer.arguments is not None:
        return "what a ticket is judged by runs as it was planned, or not at all"

    return ""


def _ignore(reason: str) -> None:
    """Do nothing: nobody wants to know."""


def _literal(command: str) -> str:
    """Return a pattern that matches *command* alone."""
    return command.translate(_SIGNS)


_SIGNS = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})
