"""The tools that one agent has, and one round of calls to them."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TypeGuard

from anyio import CapacityLimiter, create_task_group

from mma_runtime.errors import (
    CommandFailed,
    ConfigurationError,
    NotRepeated,
    ToolFailed,
    WorkspaceError,
    did_you_mean,
)
from mma_runtime.events import (
    ApprovalAsked,
    ApprovalGiven,
    Event,
    Origin,
    OutputCut,
    ToolCallDenied,
    ToolCallFinished,
    ToolCallStarted,
)
from mma_runtime.kernel.incarnation import frames_of
from mma_runtime.llm.chat import Text, ToolCall, ToolResult, ToolSpec
from mma_runtime.observing import RunObserver
from mma_runtime.tools.approval import Approval, Gate, admitted
from mma_runtime.tools.policy import Decision
from mma_runtime.tools.tool import Content, Tool
from mma_runtime.workspace.room import no_room

OUTPUT_LIMIT = 8_000
"""How many characters of one result the model gets to see."""

MAX_CONCURRENT_CALLS = 8
"""How many read-only calls of one round run at the same time."""

_MARKER_ROOM = 80

KeepOutput = Callable[[str], Awaitable[str]]
"""Stores a whole text and returns the path at which `read_file` finds it."""

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class RoundResults:
    """What one round of calls came to, in the order of the calls.

    *failures* are the commands that failed, with all of their output: the worker has
    Tier 4 look at them. To the model they are error results like others.
    """

    results: tuple[ToolResult, ...]
    failures: tuple[CommandFailed, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a round of calls was asked for, and who is told of it."""

    origin: Origin
    emit: Emit
    model_call: str


class Toolbox:
    """The tools of one agent.

    *keep* stores what is too long to show (`Checkout.keep_output`); without it, the
    rest of a long output is lost. *gate* decides which calls run and who is asked;
    without it, all run. *observer* looks on at those that do.

    Raises:
        ConfigurationError: two tools have the same name.
    """

    __slots__ = ("_gate", "_keep", "_observer", "_tools", "specs")

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        keep: KeepOutput | None = None,
        gate: Gate | None = None,
        observer: RunObserver | None = None,
    ) -> None:
        self._tools: dict[str, Tool] = {}
        for each in tools:
            if each.name in self._tools:
                raise ConfigurationError(f"two tools are named {each.name!r}")

            self._tools[each.name] = each

        self._keep = keep
        self._gate = gate
        self._observer = observer
        self.specs: tuple[ToolSpec, ...] = tuple(
            each.spec for each in self._tools.values()
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names, in their order."""
        return tuple(self._tools)

    def is_read_only(self, calls: Iterable[ToolCall]) -> bool:
        """Whether none of *calls* can change anything."""
        found = [self._tools.get(call.name) for call in calls]
        return all(one is None or one.read_only for one in found)

    async def run(
        self,
        calls: Sequence[ToolCall],
        *,
        origin: Origin,
        emit: Emit,
        model_call: str = "",
    ) -> RoundResults:
        """Run the calls of one round; what goes wrong is in the results.

        But for a disk that is full (`NoRoom`) and what may not happen again
        (`NotRepeated`): those are not for a model to mend, and are raised.

        *model_call* names the call that asked for them, for their events.

        Whatever has to be asked is asked first, for all calls at the same time.
        Read-only calls that follow each other run at the same time. Any other call
        runs alone, after those before it and before those behind it. Cancellation ends
        running calls and questions, and begins no further.
        """
        place = _Place(origin, emit, model_call)
        questions = self._questions(calls)
        approvals = await self._ask(questions, place) if questions else {}
        if len(calls) == 1:
            result, failure = await self._answer(calls[0], approvals.get(0), place)
            return RoundResults((result,), (failure,) if failure else ())

        answers: list[_Answer] = []
        for group in self._grouped(calls):
            answers += await self._answer_all(group, calls, approvals, place)

        return RoundResults(
            tuple(result for result, _ in answers),
            tuple(failure for _, failure in answers if failure),
        )

    def _questions(self, calls: Sequence[ToolCall]) -> dict[int, ToolCall]:
        """Return the calls that somebody has to be asked about, by their place."""
        if self._gate is None:
            return {}

        return {
            place: call
            for place, call in enumerate(calls)
            if call.arguments is not None
            and (found := self._tools.get(call.name)) is not None
            and self._gate.decide(call, read_only=found.read_only) is Decision.ASK
        }

    async def _ask(
        self, questions: Mapping[int, ToolCall], at: "_Place"
    ) -> dict[int, Approval]:
        answers: dict[int, Approval] = {}
        gate = self._gate

        async def ask(place: int, call: ToolCall) -> None:
            if gate is None:
                return

            at.emit(
                ApprovalAsked(
                    origin=at.origin,
                    call=call.id,
                    tool=call.name,
                    model_call=at.model_call,
                )
            )
            began = perf_counter()
            answer = answers[place] = await gate.ask(call)
            at.emit(
                ApprovalGiven(
                    origin=at.origin,
                    call=call.id,
                    tool=call.name,
                    model_call=at.model_call,
                    approved=answer.approved,
                    edited=answer.arguments is not None,
                    seconds=perf_counter() - began,
                    reason=answer.reason,
                )
            )

        async with create_task_group() as group:
            for place, call in questions.items():
                group.start_soon(ask, place, call)

        return answers

    def _grouped(self, calls: Sequence[ToolCall]) -> list[list[int]]:
        """Return the places of calls that may run beside each other, in order."""
        groups: list[list[int]] = []
        joinable = False
        for place, call in enumerate(calls):
            found = self._tools.get(call.name)
            read_only = found is None or found.read_only
            if read_only and joinable:
                groups[-1].append(place)
            else:
                groups.append([place])

            joinable = read_only

        return groups

    async def _answer_all(
        self,
        places: Sequence[int],
        calls: Sequence[ToolCall],
        approvals: Mapping[int, Approval],
        at: "_Place",
    ) -> "list[_Answer]":
        answers: dict[int, _Answer] = {}

        async def answer(place: int) -> None:
            async with limiter:
                answers[place] = await self._answer(
                    calls[place], approvals.get(place), at
                )

        limiter = CapacityLimiter(MAX_CONCURRENT_CALLS)
        if len(places) == 1:
            await answer(places[0])
        else:
            async with create_task_group() as group:
                for place in places:
                    group.start_soon(answer, place)

        return [answers[place] for place in places]

    async def _answer(
        self, call: ToolCall, approval: Approval | None, at: "_Place"
    ) -> "_Answer":
        at.emit(
            ToolCallStarted(
                origin=at.origin,
                call=call.id,
                tool=call.name,
                model_call=at.model_call,
            )
        )
        began = perf_counter()
        if self._observer is None:
            content, error = await self._try(call, approval, at)
        else:
            with self._observer.tool(call, at.origin) as watch:
                content, error = await self._try(call, approval, at)
                watch.ended(content, error)

        size = _size(content)
        if size > OUTPUT_LIMIT:
            content, missing = await self._cut(content)
            at.emit(OutputCut(origin=at.origin, what=call.name, characters=missing))
            size = _size(content)

        at.emit(
            ToolCallFinished(
                origin=at.origin,
                call=call.id,
                tool=call.name,
                model_call=at.model_call,
                is_error=error is not None,
                characters=size,
                seconds=perf_counter() - began,
                where=frames_of(error) if _is_bug(error) else (),
            )
        )
        failure = error if isinstance(error, CommandFailed) else None
        return ToolResult(call.id, call.name, content, error is not None), failure

    async def _try(
        self, call: ToolCall, approval: Approval | None, at: _Place
    ) -> "tuple[Content, Exception | None]":
        """Return what the model gets to see, and the error that it tells of."""
        try:
            return await self._call(call, approval, at), None
        except NotRepeated:
            # Not the model's news: somebody has to look at it.
            raise
        except CommandFailed as error:
            return (Text(str(error)),), error
        except (ToolFailed, WorkspaceError) as error:
            if (full := no_room(error)) is not None:
                raise full from error

            return (Text(str(error) or type(error).__name__),), error
        except Exception as error:  # noqa: BLE001 - a tool's bug is the model's news
            words = f"the tool failed: {type(error).__name__}: {error}"
            return (Text(words),), error

    async def _call(
        self, call: ToolCall, approval: Approval | None, at: _Place
    ) -> Content:
        found = self._tools.get(call.name)
        if found is None:
            raise ToolFailed(self._unknown(call.name))

        if call.arguments is None:
            raise ToolFailed(_broken(call.raw))

        if approval is None:
            if self._gate is not None:
                self._refuse_unasked(self._gate, call, at, read_only=found.read_only)

            return await found.call(call.arguments)

        approved = admitted(call, approval)
        content = await found.call(approved.arguments or {})
        if approval.arguments is None:
            return content

        ran = json.dumps(approved.arguments, default=str)
        return (Text(f"(approved with other arguments: {ran})"), *content)

    def _refuse_unasked(
        self, gate: Gate, call: ToolCall, at: _Place, *, read_only: bool
    ) -> None:
        try:
            gate.refuse_unasked(call, read_only=read_only)
        except ToolFailed:
            at.emit(
                ToolCallDenied(
                    origin=at.origin,
                    call=call.id,
                    tool=call.name,
                    model_call=at.model_call,
                )
            )
            raise

    async def _cut(self, content: Content) -> tuple[Content, int]:
        """Cut the text of *content* in the middle and say how to see the rest.

        Returns what is left, and how many characters are not in it.
        """
        text = "\n".join(part.text for part in content if isinstance(part, Text))
        rest = "the rest is lost; ask for less"
        if self._keep is not None:
            path = await self._keep(text)
            rest = f"the whole output is in {path!r}: use read_file with start_line"

        # Room for the marker, which is to be inside the limit.
        half = (OUTPUT_LIMIT - len(rest) - _MARKER_ROOM) // 2
        missing = len(text) - 2 * half
        line = text.count("\n", 0, half) + 1
        cut = f"{missing:,} characters from line {line:,} on are left out"
        marker = f"\n[… {cut}; {rest} …]\n"
        images = tuple(part for part in content if not isinstance(part, Text))
        return (Text(text[:half] + marker + text[-half:]), *images), missing

    def _unknown(self, name: str) -> str:
        near = did_you_mean(name, self._tools)
        known = ", ".join(self._tools) or "none"
        return f"there is no tool {name!r}{near}\nThe tools are: {known}"


NO_TOOLS = Toolbox(())

_Answer = tuple[ToolResult, CommandFailed | None]


def _is_bug(error: Exception | None) -> TypeGuard[Exception]:
    """Whether *error* is none that a tool raises for the model."""
    return error is not None and not isinstance(error, ToolFailed | WorkspaceError)


def _size(content: Content) -> int:
    return sum(len(part.text) for part in content if isinstance(part, Text))


def _broken(raw: str) -> str:
    try:
        found = type(json.loads(raw)).__name__
    except ValueError as error:
        return f"the arguments are not valid JSON: {error}. Send one JSON object"

    return f"the arguments must be one JSON object, not a {found}"
