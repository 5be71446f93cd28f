"""Calls that must not happen twice in a run, such as one that deploys or sends."""

from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any

import anyio

from mma_runtime.errors import NotRepeated
from mma_runtime.events import Origin
from mma_runtime.journal import Entry, Journal
from mma_runtime.journal.kinds import ONCE
from mma_runtime.journal.past import OnceCall
from mma_runtime.journal.toolbox import with_ended
from mma_runtime.llm.chat import Text, ToolCall, ToolSpec
from mma_runtime.supervisor.questions import Questions
from mma_runtime.tools.command import CommandResult
from mma_runtime.tools.policy import Decision, Rule, command_line, subject
from mma_runtime.tools.tool import Content, Tool

OnceTable = Mapping[str, bool | Sequence[str]]
"""Which calls they are, as it is written: by tool, all of them or by patterns."""

_COMMANDS = "run_command"
_DIGEST_BYTES = 16


class Once:
    """Sees to it that some calls of a run happen once, however often it is resumed.

    That such a call begins is durable before it does. One that succeeded is not made
    again: what it came to is the answer. One that failed, or that began and nobody
    knows how it ended, is asked about: it may run again, or have happened already;
    without either word it fails its ticket. Who wants it while it is under way waits
    for what it comes to.
    """

    def __init__(
        self,
        table: OnceTable | None = None,
        journal: Journal | None = None,
        questions: Questions | None = None,
    ) -> None:
        self._rules = tuple(_rules(table or {}))
        self._marked: frozenset[str] = frozenset()
        self._journal = journal or Journal()
        self._questions = questions
        past = self._journal.past
        self._known = dict[str, OnceCall](past.once if past is not None else {})
        # By name, as what is known: one of each at a time.
        self._locks: dict[str, anyio.Lock] = {}
        self._ended: dict[tuple[str, int], list[OnceCall]] = {}

    def mark(self, commands: Iterable[str]) -> None:
        """Let each of *commands* happen once, whoever runs it."""
        self._marked |= {command_line(command) for command in commands}

    def covers(self, call: ToolCall) -> bool:
        """Whether *call* must not happen twice."""
        about = subject(call)
        return (call.name == _COMMANDS and about in self._marked) or any(
            rule.matches("", call.name, about) for rule in self._rules
        )

    def guard(self, tools: Iterable[Tool], origin: Origin) -> tuple[Tool, ...]:
        """Return *tools* for the ticket in *origin*, guarded where that is needed."""
        return tuple(
            _GuardedTool(tool, self, origin) if self._concerns(tool) else tool
            for tool in tools
        )

    def _concerns(self, tool: Tool) -> bool:
        # A plan to come may mark any command.
        return tool.name == _COMMANDS or any(
            fnmatchcase(tool.name, rule.tool) for rule in self._rules
        )

    async def run_command(
        self, command: str, origin: Origin, run: Callable[[], Awaitable[CommandResult]]
    ) -> CommandResult:
        """Have *run* run a *command* of a plan, or return what it came to before.

        Raises `NotRepeated`.
        """
        call = ToolCall("", _COMMANDS, {"command": command}, "")
        if not self.covers(call):
            return await run()

        async with self.begin(call, origin) as before:
            if before is not None:
                return CommandResult(exit_code=0, output=before)

            result = await run()
            self.end(call, origin, result.output, succeeded=result.succeeded)
            return result

    @asynccontextmanager
    async def begin(
        self, call: ToolCall, origin: Origin
    ) -> AsyncGenerator[str | None, None]:
        """Record that *call* begins, or yield what it came to before.

        Who wants the same call meanwhile waits until the block ends. Cancelled while it
        waits, nothing has begun; in the block, nobody knows how the call has ended.
        Raises `NotRepeated` when it may have happened and nobody wants it again.
        """
        async with self._locks.setdefault(_name(call), anyio.Lock()):
            yield await self._begin(call, origin)

    async def _begin(self, call: ToolCall, origin: Origin) -> str | None:
        name = _name(call)
        known = self._known.get(name)
        if known is not None and known.succeeded:
            return known.output

        times = known.times if known is not None else 0
        if known is not None:
            why = (
                "it was begun before, and nobody knows how it ended"
                if known.succeeded is None
                else "it failed before"
            )
            said = await self._ask(call, origin, times, why)
            if said is not None:
                self.end(call, origin, said, succeeded=True)
                return said

        self._known[name] = OnceCall(name=name, times=times + 1)
        await self._journal.append(
            Entry(kind=ONCE, origin=origin, call=name, facts={"tool": call.name})
        )
        return None

    def end(
        self, call: ToolCall, origin: Origin, output: str, *, succeeded: bool
    ) -> None:
        """Take note of how *call* has ended."""
        name = _name(call)
        times = self._known[name].times
        ended = OnceCall(name=name, times=times, succeeded=succeeded, output=output)
        self._known[name] = ended
        whose = (origin.ticket, origin.attempt)
        self._ended.setdefault(whose, []).append(ended)

    def take_ended(self, origin: Origin) -> Sequence[OnceCall]:
        """Return what has ended for a ticket since this was asked, to be recorded."""
        return self._ended.pop((origin.ticket, origin.attempt), ())

    async def record_ended(self, origin: Origin) -> None:
        """Record what `take_ended` returns where no other record takes it up."""
        if ended := self.take_ended(origin):
            await self._journal.append(
                with_ended(Entry(kind=ONCE, origin=origin), ended)
            )

    async def _ask(
        self, call: ToolCall, origin: Origin, times: int, why: str
    ) -> str | None:
        """Return what somebody says that *call* came to; `None`: it may run again."""
        about = f"{call.name} of {subject(call)!r}"
        reason = "nobody is there to ask"
        if self._questions is not None:
            answer = await self._questions.ask_again(origin, call, times, why)
            if answer.has_happened:
                said = f": {answer.reason}" if answer.reason else ""
                return f"somebody who was asked said that it has happened{said}"

            if answer.approved:
                return None

            reason = answer.reason or "no, without a reason"

        raise NotRepeated(about, why, reason)


class _GuardedTool:
    """A tool some of whose calls must not happen twice."""

    def __init__(self, inner: Tool, once: Once, origin: Origin) -> None:
        self._inner = inner
        self._once = once
        self._origin = origin

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self._inner.name

    @property
    def spec(self) -> ToolSpec:
        """What a provider needs to know of it."""
        return self._inner.spec

    @property
    def read_only(self) -> bool:
        """Never: it runs alone, whatever the tool says of itself."""
        return False

    async def call(self, arguments: Mapping[str, Any]) -> Content:
        """Make the call, or return what it came to before; raises `NotRepeated`."""
        once, origin = self._once, self._origin
        call = ToolCall("", self.name, arguments, "")
        if not once.covers(call):
            return await self._inner.call(arguments)

        async with once.begin(call, origin) as before:
            if before is not None:
                said = f"(has run before, and is to run once; it said:)\n{before}"
                return (Text(said),)

            # One that is cancelled stays as it began: nobody knows what it has done.
            try:
                content = await self._inner.call(arguments)
            except Exception as error:
                once.end(call, origin, str(error), succeeded=False)
                raise

            output = "\n".join(part.text for part in content if isinstance(part, Text))
            once.end(call, origin, output, succeeded=True)
            return content


def _rules(table: OnceTable) -> Iterable[Rule]:
    for tool, given in table.items():
        patterns = given if not isinstance(given, bool) else ("*",) if given else ()
        for pattern in patterns:
            yield Rule(decision=Decision.ASK, tool=tool, subject=pattern)


def _name(call: ToolCall) -> str:
    about = f"{call.name} {subject(call)}".encode(errors="surrogatepass")
    return blake2b(about, digest_size=_DIGEST_BYTES).hexdigest()
