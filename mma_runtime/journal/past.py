"""What a run has done so far, as its journal tells it, ready to be used again."""

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Any

from mma_runtime.costs import CostEvent, CostState
from mma_runtime.costs.reservations import NOTHING, Amount
from mma_runtime.errors import JournalUnreadable
from mma_runtime.events import Origin
from mma_runtime.journal.kinds import (
    ALWAYS_NEW,
    ANSWER,
    BEGUN,
    COMMAND,
    FAILURE,
    FORGOTTEN,
    INTENT,
    INTERRUPTED,
    MERGE,
    NEVER_BEGAN,
    ONCE,
    ORDER,
    OURS,
    REPLY,
    RESUMED,
    STEP,
    TOOLS,
    WITHOUT_CONTENT,
    event_key,
)
from mma_runtime.journal.reader import JournalReader
from mma_runtime.journal.record import Record
from mma_runtime.journal.scrub import Scrubber
from mma_runtime.llm.usage import NO_USAGE, Usage

_CUT_OFF = ("", "cancelled", "paused", "over_budget")

_SETTLED = ("completed", "skipped")
_GIVEN_UP = ("block", "cancel")

_WORK = (REPLY, FAILURE, TOOLS, COMMAND)
_USED = (REPLY, TOOLS, COMMAND)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One thing that was done, with its contents at hand.

    *leg* counts the scenarios that the run had before, when it was resumed with others.
    """

    record: Record
    contents: Mapping[str, bytes]
    leg: int = 0

    @property
    def facts(self) -> Mapping[str, Any]:
        """The record's facts."""
        return self.record.facts


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceCall:
    """A call that must not happen twice: how often it began, how it ended.

    *name* is a digest of what it does. *succeeded* is `None` while nobody knows.
    """

    name: str
    times: int
    succeeded: bool | None = None
    output: str = ""


class Past:
    """What was recorded and has not been used again yet; get it from `Past.read`.

    *done* maps kind and name to what was done. *steps* is the order in which agents met
    at what they share. *events* counts what was told. *ended* is the state that the run
    ended in, empty when it was killed. *settled* are the tickets that stay as they are:
    completed, or given up by somebody. *consents* are the rules of calls that were
    approved for all alike. *once* are the calls that must not happen twice, by name.
    *legs* are the records from which on another scenario held. *seconds* is how long
    its sessions have worked, each from its first call on.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run
        self.name: str = ""
        self.scenario: bytes = b""
        self.manifest: bytes = b"{}"
        self.done: dict[tuple[str, str], Recorded] = {}
        self.steps: deque[Record] = deque[Record]()
        self.waiting: set[str] = set()
        # Tickets whose place in the order was given up: nobody waits for the rest.
        self._loose: set[str] = set()
        self.events: Counter[str] = Counter[str]()
        self.settled: set[str] = set()
        self.consents: list[tuple[str, str]] = []
        self.legs: list[int] = []
        self.once: dict[str, OnceCall] = {}
        self.costs: list[CostEvent] = []
        self.ended: str = ""
        self.seconds: float = 0.0
        self.without_content: bool = False
        self.inherited: int = 0
        self.records = 0
        self.kept = 0
        self.unknown: int = 0
        self._sent = Counter[str]()
        self._ended = Counter[str]()
        self._intents: dict[str, Record] = {}
        self._answers: dict[tuple[str, int], list[str]] = {}
        self._last_time = inf
        # While it is read: the record with which the session at hand began.
        self._resumed: int | None = None

    @classmethod
    def read(
        cls,
        path: Path,
        scrub: Scrubber | None = None,
        *,
        keep: Callable[[Record], bool] = lambda _: True,
    ) -> "Past":
        """Read the journal at *path*; blocks. *keep* says which records count.

        *scrub* puts back the secrets: without it nothing of it can be done again.
        Raises `JournalUnreadable` when it cannot be read, holds no run, or was kept
        without its contents.
        """
        with JournalReader(path, scrub) as reader:
            past = cls(path, reader.run)
            for record in reader.records():
                past.records = record.seq
                if keep(record):
                    past.kept += 1
                    past._add(reader, record)

        if past.without_content:
            raise JournalUnreadable(str(path), WITHOUT_CONTENT)

        if not past.scenario:
            raise JournalUnreadable(str(path), NEVER_BEGAN)

        past._count_unknown()
        past._resumed = None
        return past

    @property
    def usd(self) -> Decimal:
        """What is known to have been spent, in US dollars."""
        return sum((one.usd for one in self.costs if one.usd is not None), Decimal(0))

    @property
    def tokens(self) -> int:
        """The tokens of all calls whose end is known."""
        return sum(one.usage.total for one in self.costs)

    @property
    def state(self) -> str:
        """The state that it was left in, in the words of `mma runs`."""
        return self.ended or INTERRUPTED

    @property
    def came_to_an_end(self) -> bool:
        """Whether the run ended by itself, and was not cut off in the middle."""
        return self.ended not in _CUT_OFF

    @property
    def is_over(self) -> bool:
        """Whether all that agents did has been used again."""
        return not self.steps and not any(
            kind in _WORK and one.record.origin.ticket not in self._loose
            for (kind, _), one in self.done.items()
        )

    def goes_on(self, origin: Origin) -> bool:
        """Whether it is recorded how a ticket or track goes on, and not cut off."""
        whose = (origin.track, origin.ticket)
        left = (
            *self.steps,
            *(one.record for (k, _), one in self.done.items() if k in _WORK),
        )
        return self.came_to_an_end or any(
            (one.origin.track, one.origin.ticket) == whose for one in left
        )

    def is_to_be_cancelled(self, ticket: str) -> bool:
        """Whether a recorded step that is still to come cancels *ticket*."""
        return bool(ticket) and any(
            step.origin.ticket == ticket
            and step.call.startswith(ORDER)
            and step.facts["order"] == "cancel"
            for step in self.steps
        )

    def is_due(self, order: Record) -> bool:
        """Whether a ticket that *order* cancels has come as far as it had then."""
        return order.facts["order"] != "cancel" or not any(
            kind in _WORK
            and one.record.origin.ticket == order.origin.ticket
            and one.record.seq < order.seq
            for (kind, _), one in self.done.items()
        )

    def cut_off(self, ticket: str, attempt: int, seq: int) -> None:
        """Drop what came of an *attempt* at *ticket* from record *seq* on.

        It was cancelled then, with a call on its way whose reply was recorded still.
        """
        self.done = {
            key: one
            for key, one in self.done.items()
            if one.record.seq < seq
            or (one.record.origin.ticket, one.record.origin.attempt)
            != (ticket, attempt)
        }

    def comes_before_end_of(self, ticket: str) -> bool:
        """Whether the next order was given before *ticket* had failed."""
        order = next((s for s in self.steps if s.call.startswith(ORDER)), None)
        return order is not None and ticket not in order.facts["failed"]

    def forget(self, record: Record) -> list[str]:
        """Drop all that is left of a ticket: it is lived anew from *record* on.

        Returns the steps of others that are dropped with it.
        """
        self._forget(0, record.origin)
        return self._loosen(record.seq)

    def _forget(self, seq: int, whose: Origin) -> None:
        """Drop what a session before recorded for a ticket or track from *seq* on."""

        def stays(record: Record) -> bool:
            origin = record.origin
            mine = origin.ticket == whose.ticket and (
                bool(origin.ticket) or origin.track == whose.track
            )
            return not (mine and seq <= record.seq and self._is_of_before(record))

        self.done = {key: one for key, one in self.done.items() if stays(one.record)}
        self._keep_steps(stays)

    def _loosen(self, after: int) -> list[str]:
        """Let tickets that are not settled find their place anew *after* a record.

        A step of theirs may have needed what is lived anew, such as its worker: it
        would be waited for, and never come.
        """
        loose = [
            step.call
            for step in self.steps
            if step.seq > after
            and step.origin.ticket
            and step.origin.ticket not in self.settled
            and not step.call.startswith(ORDER)
        ]
        self._drop(loose)
        return loose

    def _drop(self, loose: Sequence[str]) -> None:
        def stays(step: Record) -> bool:
            return step.call not in loose or not self._is_of_before(step)

        self._loose |= {s.origin.ticket for s in self.steps if not stays(s)}
        self._keep_steps(stays)

    def _is_of_before(self, record: Record) -> bool:
        return self._resumed is None or record.seq < self._resumed

    def _keep_steps(self, stays: Callable[[Record], bool]) -> None:
        self.steps = deque(step for step in self.steps if stays(step))
        self.waiting = {step.call for step in self.steps}

    def retry_failures(self) -> list[str]:
        """Forget what followed from a provider's failure: this time it may answer.

        Returns the steps of others that are dropped with it.
        """
        failures = self._forget_failures()
        return [step for record in failures for step in self._loosen(record.seq)]

    def _forget_failures(self) -> list[Record]:
        first: dict[tuple[str, str], Record] = {}
        for (kind, _), one in self.done.items():
            record, origin = one.record, one.record.origin
            if kind == FAILURE and origin.ticket not in self.settled:
                owner = (origin.track, origin.ticket)
                known = first.setdefault(owner, record)
                first[owner] = min(record, known, key=lambda r: r.seq)

        for record in first.values():
            self._forget(record.seq, record.origin)

        return list(first.values())

    @property
    def left(self) -> str:
        """The first thing that was done and has not been used again, or nothing."""
        if self.steps:
            return self.steps[0].call

        return next((name for kind, name in self.done if kind in _USED), "")

    def _take_time(self, record: Record) -> None:
        """Count the time since the record before, of a session that is at work."""
        if record.kind in (BEGUN, RESUMED, "RunFinished"):
            self._last_time = inf
        elif record.kind == INTENT or self._last_time < inf:
            # The clock that records go by may be put back.
            self.seconds += max(0.0, record.time - self._last_time)
            self._last_time = record.time

    def _add(self, reader: JournalReader, record: Record) -> None:
        self._take_time(record)
        if record.kind in (STEP, MERGE):
            self.steps.append(record)
            self.waiting.add(record.call)
            self._loose.discard(record.origin.ticket)
            if record.call.startswith(ORDER):
                self._settle(record)
        elif record.kind == INTENT:
            self._sent[record.call] += 1
            self._intents[record.call] = record
        elif record.kind in OURS:
            contents = {
                name: reader.content(number) for name, number in record.contents.items()
            }
            self._add_done(Recorded(record, contents, len(self.legs)))
        else:
            self._add_event(record)

    def _add_done(self, one: Recorded) -> None:
        record = one.record
        if record.kind in (BEGUN, RESUMED):
            self._begin(one)
            return

        if record.kind == FORGOTTEN:
            self._forget_again(record)
            return

        if record.kind == ONCE and "once" not in record.facts:
            known = self.once.get(record.call)
            times = known.times + 1 if known is not None else 1
            self.once[record.call] = OnceCall(name=record.call, times=times)
            return

        for number, (name, succeeded) in enumerate(record.facts.get("once", ())):
            output = one.contents[f"once{number}"].decode(errors="surrogatepass")
            times = self.once[name].times if name in self.once else 1
            self.once[name] = OnceCall(
                name=name, times=times, succeeded=succeeded, output=output
            )

        if record.kind == ONCE:
            return

        self.done[record.kind, record.call] = one
        whose = (record.origin.ticket, record.origin.attempt)
        if record.kind == TOOLS:
            # What was answered is in what the round came to.
            for name in self._answers.pop(whose, ()):
                self.done.pop((ANSWER, name), None)
        elif record.kind == ANSWER:
            self._take_answer(one)
        elif record.kind == REPLY:
            self._ended[record.call] += 1
            usage = record.facts["usage"]
            self.costs.append(
                _cost(
                    record,
                    CostState.BILLED if usage is not None else CostState.UNKNOWN,
                    Usage(**usage) if usage is not None else NO_USAGE,
                    self._worst(record.call),
                )
            )

    def _begin(self, one: Recorded) -> None:
        self.ended = ""
        before, self.scenario = self.scenario, one.contents.get("scenario", b"")
        if one.record.kind == BEGUN:
            self.name = one.facts["name"]
            self.manifest = one.contents.get("manifest", self.manifest)
            self.without_content = not one.facts.get("content", True)
            return

        self._resumed = one.record.seq
        self._forget_failures()
        self._drop(one.facts.get("loose", ()))
        self.inherited = one.facts.get("kept", self.inherited)
        if self.scenario != before:
            self.legs.append(one.record.seq)

    def _take_answer(self, one: Recorded) -> None:
        origin = one.record.origin
        if one.facts["tool"]:
            names = self._answers.setdefault((origin.ticket, origin.attempt), [])
            names.append(one.record.call)

        alike = json.loads(one.contents["answer"])["alike"]
        if alike:
            self.consents.append((alike[0], alike[1]))

    def _settle(self, order: Record) -> None:
        ticket = order.origin.ticket
        if order.facts["order"] in _GIVEN_UP:
            self.settled.add(ticket)
        elif order.facts["order"] in ("retry", "unblock"):
            self.settled.discard(ticket)

    def _forget_again(self, record: Record) -> None:
        """Drop what a session before has lived anew, from the same call on."""
        call = record.call
        found = self.done.get((REPLY, call)) or self.done.get((FAILURE, call))
        if found is not None:
            self._forget(found.record.seq, record.origin)

        self._drop(record.facts.get("loose", ()))

    def _add_event(self, record: Record) -> None:
        facts = record.facts
        if record.kind == "RunFinished":
            self.ended = facts["state"]

        if record.kind in ALWAYS_NEW:
            return

        self.events[event_key(record.kind, record.origin, facts)] += 1
        if record.kind == "TicketFinished" and facts["state"] in _SETTLED:
            self.settled.add(record.origin.ticket)
        elif record.kind == "ModelCallFailed":
            self._ended[facts["call"].rpartition(".")[0]] += 1
        elif record.kind == "CostCounted":
            usage = Usage(input=facts["input_tokens"], output=facts["output_tokens"])
            worst = self._worst(facts["call"].rpartition(".")[0])
            self.costs.append(_cost(record, CostState(facts["state"]), usage, worst))

    def _count_unknown(self) -> None:
        """Charge the calls that were sent and whose end nobody knows as unknown."""
        for name, count in self._sent.items():
            for _ in range(count - self._ended[name]):
                self.unknown += 1
                record, worst = self._intents[name], self._worst(name)
                self.costs.append(_cost(record, CostState.UNKNOWN, NO_USAGE, worst))

    def _worst(self, call: str) -> Amount:
        """Return what was last reserved for *call*: it stays charged if unknown."""
        intent = self._intents.get(call)
        if intent is None:
            return NOTHING

        usd, tokens = intent.facts["reserved"]
        return Amount(Decimal(usd), tokens, 1)


def _cost(
    record: Record, state: CostState, usage: Usage, worst: Amount = NOTHING
) -> CostEvent:
    usd = record.facts.get("usd")
    return CostEvent(
        origin=record.origin,
        call=record.facts.get("call", record.call),
        model=record.facts.get("model", ""),
        state=state,
        usage=usage,
        usd=Decimal(usd) if usd is not None else None,
        billed=record.facts.get("billed", True),
        worst=worst,
    )
