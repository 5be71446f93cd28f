"""A run in a few figures, for lists."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from mma_runtime.costs.report import NOTHING_SPENT, CostLine, CostReport, Spent
from mma_runtime.errors import JournalError, JournalTooNew
from mma_runtime.journal.kinds import INTERRUPTED
from mma_runtime.journal.lock import holder
from mma_runtime.journal.reader import JournalReader
from mma_runtime.journal.record import Record
from mma_runtime.llm.usage import NO_USAGE, Usage

Place = tuple[str, str, str, str, bool]
"""Where money is spent: tier, track, ticket, model, and whether it is billed."""


class Summary:
    """What became of a run; grows with its records.

    *state* is the outcome's, `interrupted` when it was cut off, or `never began`.
    *began* is in seconds since the epoch. `give_up` is called at the end of the records
    when nobody is at work on the run.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.name: str = ""
        self.state: str = "never began"
        self.began: float = 0.0
        self._tickets: dict[str, str] = {}
        self._spent: dict[Place, Spent] = {}
        self._under_way = defaultdict[str, list[Record]](list)

    @property
    def tickets(self) -> int:
        """How many tickets were planned."""
        return len(self._tickets)

    @property
    def completed(self) -> int:
        """How many of them were completed."""
        return sum(state == "completed" for state in self._tickets.values())

    @property
    def costs(self) -> CostReport:
        """What was spent, by tier, track, ticket and model."""
        return CostReport.of(
            CostLine(
                run=self.run,
                tier=tier,
                track=track,
                ticket=ticket,
                model=model,
                billed=billed,
                spent=spent,
            )
            for (tier, track, ticket, model, billed), spent in self._spent.items()
        )

    def add(self, record: Record) -> None:
        """Take in the next record."""
        facts = record.facts
        match record.kind:
            case "run":
                self.name, self.began = facts["name"], record.time
                self.state = INTERRUPTED
            case "resumed":
                self.state = INTERRUPTED
                self.give_up()
            case "intent":
                self._under_way[record.call].append(record)
            case "reply":
                intent = self._end(record.call)
                self._spend(record, _of_reply(facts, intent))
            case "ModelCallFailed":
                self._end(facts["call"].rpartition(".")[0])
            case "CostCounted":
                self._spend(record, _of_failure(facts))
            case "TicketPlanned":
                self._tickets[record.origin.ticket] = ""
            case "TicketFinished":
                self._tickets[record.origin.ticket] = facts["state"]
            case "RunFinished":
                self.state = facts["state"]
            case _:
                pass

    def give_up(self) -> None:
        """Count the calls that were sent and have not ended as unknown."""
        for records in self._under_way.values():
            for record in records:
                self._spend(record, _unknown(_worst(record)))

        self._under_way.clear()

    def as_facts(self) -> dict[str, Any]:
        """Return it as plain values."""
        total = self.costs.total
        return {
            "run": self.run,
            "name": self.name,
            "state": self.state,
            "began": self.began,
            "tickets": self.tickets,
            "completed": self.completed,
            "calls": total.calls,
            "usd": str(total.usd),
            "unknown_calls": total.unknown_calls,
        }

    def _end(self, call: str) -> Record | None:
        waiting = self._under_way[call]
        return waiting.pop() if waiting else None

    def _spend(self, record: Record, spent: Spent) -> None:
        origin, facts = record.origin, record.facts
        billed = facts.get("billed", True)
        if not billed:
            spent = replace(spent, unpaid_usd=spent.usd)

        model = facts.get("model", "")
        place = (origin.tier, origin.track, origin.ticket, model, billed)
        self._spent[place] = self._spent.get(place, NOTHING_SPENT) + spent


def _of_reply(facts: Mapping[str, Any], intent: Record | None) -> Spent:
    usage, usd = facts["usage"], facts.get("usd")
    used = Usage(**usage) if usage else NO_USAGE
    if usd is None:
        return replace(_unknown(_worst(intent)), usage=used)

    return Spent(calls=1, attempts=1, usage=used, usd=Decimal(usd))


def _of_failure(facts: Mapping[str, Any]) -> Spent:
    if facts["state"] == "unknown":
        return _unknown(Decimal(facts.get("charged_usd") or 0))

    usage = Usage(input=facts["input_tokens"], output=facts["output_tokens"])
    usd = Decimal(facts["usd"])
    return Spent(
        calls=1,
        attempts=1,
        usage=usage,
        usd=usd,
        estimated_calls=1,
        estimated_usd=usd,
    )


def _worst(intent: Record | None) -> Decimal:
    return Decimal(intent.facts["reserved"][0] if intent is not None else 0)


def _unknown(most: Decimal) -> Spent:
    """Return a call that came to *most* at most; a zero stands for no price."""
    return Spent(calls=1, attempts=1, unknown_calls=1, unknown_usd=most or None)


def summarise(path: Path) -> Summary:
    """Read the journal at *path*; blocks.

    One that cannot be read is `damaged`, one of a newer version `too new`.
    """
    summary = Summary(path.parent.name)
    try:
        with JournalReader(path) as reader:
            for record in reader.records():
                summary.add(record)
    except JournalTooNew:
        summary.state = "too new"
        return summary
    except JournalError:
        summary.state = "damaged"
        return summary

    if holder(path) is not None:
        summary.state = "running"
    else:
        summary.give_up()

    return summary
