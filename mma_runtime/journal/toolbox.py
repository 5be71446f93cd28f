"""Tools whose results are recorded, and not run again when they have been before."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from mma_runtime.errors import NotRepeated
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
from mma_runtime.journal.kinds import COMMAND, TOOLS
from mma_runtime.journal.past import OnceCall, Recorded
from mma_runtime.journal.record import Content, Entry
from mma_runtime.llm.chat import Text, ToolCall, ToolSpec, ToolTurn
from mma_runtime.tools.command import CommandResult
from mma_runtime.tools.toolbox import Emit, RoundResults, Toolbox

EndedOnce = Callable[[], Sequence[OnceCall]]
"""Returns the calls that must not happen twice and have ended since it was asked."""


class RecordedToolbox(Toolbox):
    """A toolbox with a journal: keeps each round's results and changes of files.

    What *ended* returns is recorded with them.
    """

    __slots__ = ("_ended", "_footprint", "_inner", "_journal", "_rounds")

    def __init__(
        self,
        inner: Toolbox,
        journal: Journal,
        footprint: Footprint | None,
        ended: EndedOnce,
    ) -> None:
        super().__init__(())
        self.specs: tuple[ToolSpec, ...] = inner.specs
        self._inner = inner
        self._journal = journal
        self._footprint = footprint
        self._ended = ended
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
        if self._journal.past is not None:
            found = _usable(self._journal, self._journal.take(TOOLS, name))
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

        try:
            results = await self._inner.run(
                calls, origin=origin, emit=tell, model_call=model_call
            )
        except NotRepeated as error:
            _note_refusal(self._journal, TOOLS, name, origin, error)
            raise

        turn = self._journal.digests.encoded(ToolTurn(results.results))
        contents: dict[str, bytes | Content] = {"turn": turn}
        for number, failure in enumerate(results.failures):
            contents[f"output{number}"] = failure.output.encode(errors="surrogatepass")

        files: list[list[object]] = []
        if self._footprint is not None and changes:
            files, changed = await self._footprint.take()
            contents |= changed

        facts = {"failures": failure_facts(results), "files": files, **_told(told)}
        entry = Entry(
            kind=TOOLS, origin=origin, call=name, facts=facts, contents=contents
        )
        await _keep(self._journal, entry, self._ended())
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
    run: Callable[[], Awaitable[CommandResult]],
    ended: EndedOnce,
    *,
    name: str,
    origin: Origin,
) -> CommandResult:
    """Have *run* run a ticket's acceptance command, or return what it came to before.

    What *ended* returns is recorded with it. Raises what *run* raises.
    """
    found = _usable(journal, journal.take(COMMAND, name))
    if found is not None:
        if footprint is not None:
            await footprint.restore(found.facts["files"], found.contents)

        output = found.contents["output"].decode(errors="surrogatepass")
        return CommandResult(output=output, **found.facts["result"])

    await journal.demand_new(f"the command {name!r}", origin)
    if footprint is not None:
        await footprint.begin()

    try:
        result = await run()
    except NotRepeated as error:
        _note_refusal(journal, COMMAND, name, origin, error)
        raise

    shown = asdict(result)
    said: bytes = shown.pop("output").encode(errors="surrogatepass")
    contents: dict[str, bytes | Content] = {"output": said}
    files: list[list[object]] = []
    if footprint is not None:
        files, changed = await footprint.take()
        contents |= changed

    entry = Entry(
        kind=COMMAND,
        origin=origin,
        call=name,
        facts={"result": shown, "files": files},
        contents=contents,
    )
    await _keep(journal, entry, ended())
    return result


async def _keep(journal: Journal, entry: Entry, ended: Sequence[OnceCall]) -> None:
    """Record a result; at once, if something in it must not happen twice."""
    if not ended:
        journal.note(entry)
        return

    await journal.append(with_ended(entry, ended))


def with_ended(entry: Entry, ended: Sequence[OnceCall]) -> Entry:
    """Return *entry* with how calls have *ended* that must not happen twice."""
    outputs = {
        f"once{number}": one.output.encode(errors="surrogatepass")
        for number, one in enumerate(ended)
    }
    once = [[one.name, one.succeeded] for one in ended]
    return entry._replace(
        facts={**entry.facts, "once": once},
        contents={**entry.contents, **outputs},
    )


def _note_refusal(
    journal: Journal, kind: str, name: str, origin: Origin, error: NotRepeated
) -> None:
    facts = {"refused": [error.about, error.why, error.reason]}
    journal.note(Entry(kind=kind, origin=origin, call=name, facts=facts))


def _usable(journal: Journal, found: Recorded | None) -> Recorded | None:
    """Return *found* unless it is a refusal: that is raised by a replay, or redone."""
    if found is None or "refused" not in found.facts:
        return found

    if journal.strict:
        raise NotRepeated(*found.facts["refused"])

    return None
