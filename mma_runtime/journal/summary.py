"""A run in a few figures, for lists."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from mma_runtime.errors import JournalError, JournalTooNew
from mma_runtime.journal.lock import holder
from mma_runtime.journal.reader import JournalReader
from mma_runtime.journal.record import Record


class Summary:
    """What became of a run; grows with its records.

    *state* is the outcome's, `interrupted` when it was cut off, or `never began`.
    *began* is in seconds since the epoch. *usd* is what is known to have been spent,
    *unknown* counts the calls that are not in it. `give_up` is called at the end of the
    records when nobody is at work on the run.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.name: str = ""
        self.state: str = "never began"
        self.began: float = 0.0
        self.calls: int = 0
        self.unknown: int = 0
        self.usd: Decimal = Decimal(0)
        self._tickets: dict[str, str] = {}
        self._under_way = Counter[str]()

    @property
    def tickets(self) -> int:
        """How many tickets were planned."""
        return len(self._tickets)

    @property
    def completed(self) -> int:
        """How many of them were completed."""
        return sum(state == "completed" for state in self._tickets.values())

    def add(self, record: Record) -> None:
        """Take in the next record."""
        facts = record.facts
        match record.kind:
            case "run":
                self.name, self.began = facts["name"], record.time
                self.state = "interrupted"
            case "resumed":
                self.state = "interrupted"
                self.give_up()
            case "intent":
                self._under_way[record.call] += 1
            case "reply":
                self._under_way[record.call] -= 1
                self._spend(facts.get("usd"))
            case "ModelCallFailed":
                self._under_way[facts["call"].rpartition(".")[0]] -= 1
            case "CostCounted":
                self._spend(facts["usd"] if facts["state"] != "unknown" else None)
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
        for _ in self._under_way.elements():
            self._spend(None)

        self._under_way.clear()

    def as_facts(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "run": self.run,
            "name": self.name,
            "state": self.state,
            "began": self.began,
            "tickets": self.tickets,
            "completed": self.completed,
            "calls": self.calls,
            "usd": str(self.usd),
            "unknown_calls": self.unknown,
        }

    def _spend(self, usd: str | None) -> None:
        self.calls += 1
        if usd is None:
            self.unknown += 1
        else:
            self.usd += Decimal(usd)


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
