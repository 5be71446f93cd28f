"""Tools whose results are recorded, and not run again when they have been before."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from shlex import split
from typing import Any

from mma_runtime.events import (
    ApprovalAsked,
    ApprovalGiven,
    Event,
    Origin,
    OutputCut,
    ToolCallFinished,
    ToolCallStarted,
)
from mma_runtime.journal.codec import decode_results, failure_facts
from mma_runtime.journal.footprint import Footprint
from mma_runtime.journal.journal import Journal
from mma_runtime.journal.past import COMMAND, TOOLS, Recorded
from mma_runtime.journal.record import Entry
from mma_runtime.llm.chat import Text, ToolCall, ToolTurn
from mma_runtime.tools.command import CommandResult, run_command
from mma_runtime.tools.sandbox import SandboxMode
from mma_runtime.tools.toolbox import Emit, RoundResults, Toolbox
from mma_runtime.workspace import Checkout


class RecordedToolbox(Toolbox):
    """A toolbox with a journal: keeps each round's results and changes of files."""

    __slots__ = ("_footprint", "_inner", "_journal", "_rounds")

    def __init__(
        self, inner: Toolbox, journal: Journal, footprint: Footprint | None
    ) -> None:
        super().__init__(())
        self.specs = inner.specs
        self._inner = inner
        self._journal = journal
        self._footprint = footprint
        self._rounds = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names, in their order."""
        return self._inner.names

    def is_read_only(self, calls: Iterable[ToolCall]) -> bool:
        """Whether none of *calls* can change anything."""
        return self._inner.is_read_only(calls)

    async def run(
        self,
        calls: Sequence[ToolCall],
        *,
        origin: Origin,
        emit: Emit,
        model_call: str = "",
    ) -> RoundResults:
        """Run the calls of one round, or return what they came to before."""
        self._rounds += 1
        name = f"{origin.ticket}/{origin.attempt}.{self._rounds}"
        found = self._journal.take(TOOLS, name)
        if found is not None:
            results = await self._again(found)
            for approval in found.facts.get("approvals", ()):
                _tell_approval_again(approval, origin, emit, model_call)

            _tell_again(results, calls, origin, emit, model_call)
            _tell_cuts_again(found, origin, emit)
            return results

        await self._journal.demand_new(f"the tool round {name!r}", origin)
        changes = self._footprint is not None and not self._inner.is_read_only(calls)
        if self._footprint is not None and changes:
            await self._footprint.begin()

        told: list[Event] = []

        def tell(event: Event) -> None:
            told.append(event)
            emit(event)

        results = await self._inner.run(
            calls, origin=origin, emit=tell, model_call=model_call
        )
        contents = {"turn": self._journal.digests.encoded(ToolTurn(results.results))}
        for number, failure in enumerate(results.failures):
            contents[f"output{number}"] = failure.output.encode(errors="surrogatepass")

        files: list[list[object]] = []
        if self._footprint is not None and changes:
            files, changed = await self._footprint.take()
            contents |= changed

        facts = {"failures": failure_facts(results), "files": files, **_told(told)}
        self._journal.note(
            Entry(kind=TOOLS, origin=origin, call=name, facts=facts, contents=contents)
        )
        return results

    async def _again(self, found: Recorded) -> RoundResults:
        failures = found.facts["failures"]
        outputs = [
            found.contents[f"output{number}"].decode(errors="surrogatepass")
            for number in range(len(failures))
        ]
        results = decode_results(found.contents["turn"], failures, outputs)
        if self._footprint is not None:
            await self._footprint.restore(found.facts["files"], found.contents)

        return results


def _told(events: Sequence[Event]) -> dict[str, list[list[object]]]:
    """Return what of *events* the results do not tell."""
    facts: dict[str, list[list[object]]] = {}
    for one in events:
        if isinstance(one, ApprovalGiven):
            given: list[object] = [one.call, one.tool, one.approved, one.edited]
            facts.setdefault("approvals", []).append(given)
        elif isinstance(one, OutputCut):
            facts.setdefault("cuts", []).append([one.what, one.characters])

    return facts


def _tell_cuts_again(found: Recorded, origin: Origin, emit: Emit) -> None:
    for what, characters in found.facts.get("cuts", ()):
        emit(OutputCut(origin=origin, what=what, characters=characters))


def _tell_approval_again(
    approval: Sequence[Any], origin: Origin, emit: Emit, model_call: str
) -> None:
    call, tool, approved, edited = approval
    emit(ApprovalAsked(origin=origin, call=call, tool=tool, model_call=model_call))
    emit(
        ApprovalGiven(
            origin=origin,
            call=call,
            tool=tool,
            model_call=model_call,
            approved=approved,
            edited=edited,
            seconds=0.0,
        )
    )


def _tell_again(
    results: RoundResults,
    calls: Sequence[ToolCall],
    origin: Origin,
    emit: Emit,
    model_call: str,
) -> None:
    """Tell of calls that were run before as if they were run now."""
    for call, result in zip(calls, results.results, strict=True):
        emit(
            ToolCallStarted(
                origin=origin, call=call.id, tool=call.name, model_call=model_call
            )
        )
        size = sum(len(p.text) for p in result.content if isinstance(p, Text))
        emit(
            ToolCallFinished(
                origin=origin,
                call=call.id,
                tool=call.name,
                model_call=model_call,
                is_error=result.is_error,
                characters=size,
                seconds=0.0,
            )
        )


async def recorded_command(
    journal: Journal,
    footprint: Footprint | None,
    command: str,
    checkout: Checkout,
    *,
    name: str,
    origin: Origin,
    sandbox: SandboxMode = SandboxMode.AUTO,
) -> CommandResult:
    """Run a ticket's acceptance *command*, or return what it came to before."""
    found = journal.take(COMMAND, name)
    if found is not None:
        if footprint is not None:
            await footprint.restore(found.facts["files"], found.contents)

        output = found.contents["output"].decode(errors="surrogatepass")
        return CommandResult(output=output, **found.facts["result"])

    await journal.demand_new(f"the command {command!r}", origin)
    if footprint is not None:
        await footprint.begin()

    result = await run_command(
        split(command), checkout.root, home=checkout.home, sandbox=sandbox
    )
    facts = asdict(result)
    contents = {"output": facts.pop("output").encode(errors="surrogatepass")}
    files: list[list[object]] = []
    if footprint is not None:
        files, changed = await footprint.take()
        contents |= changed

    journal.note(
        Entry(
            kind=COMMAND,
            origin=origin,
            call=name,
            facts={"result": facts, "files": files},
            contents=contents,
        )
    )
    return result
