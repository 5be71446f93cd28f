"""Where two futures of one past part: what a fork keeps of a run's records."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mma_runtime.arguments import check_kind, check_text
from mma_runtime.errors import ConfigurationError, did_you_mean
from mma_runtime.journal import Record
from mma_runtime.journal.kinds import INTENT, ONCE, REPLY

_ENDS = frozenset(("RunFinished", "TrackFinished", "ExpectationChecked"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkPoint:
    """Where another future begins: after record *event*, or before *ticket*.

    With a ticket, all that depends on it and the judgement of its track are lived anew
    as well; what other tickets did stays.

    Raises:
        ArgumentInvalid: One of them is of another kind.
    """

    event: int = 0
    ticket: str = ""

    def __post_init__(self) -> None:
        """Check what was given."""
        check_kind("event", self.event, int, "an event's number")
        check_text("ticket", self.ticket, "a ticket's id")

    def keeps(self, records: Sequence[Record]) -> list[Record]:
        """Return those of *records* that belong to the common past.

        Raises `ConfigurationError` when there is no such point.
        """
        if not self.ticket:
            if not 0 < self.event <= len(records):
                raise ConfigurationError(
                    f"there is no event {self.event}; the run has {len(records)}"
                )

            under_way = _ended_after(records, self.event)
            return list(
                _kept(
                    records,
                    lambda r: (
                        r.seq <= self.event
                        and not (r.kind == INTENT and r.call in under_way)
                    ),
                )
            )

        needs = {
            record.origin.ticket: set[str](record.facts["depends_on"])
            for record in records
            if record.kind == "TicketPlanned"
        }
        if self.ticket not in needs:
            near = did_you_mean(self.ticket, needs)
            raise ConfigurationError(f"there is no ticket {self.ticket!r}{near}")

        anew = {self.ticket}
        while more := {one for one, need in needs.items() if need & anew} - anew:
            anew |= more

        start = min(r.seq for r in records if r.origin.ticket == self.ticket)
        return list(_kept(records, lambda r: r.seq <= start or self._stays(r, anew)))

    def _stays(self, record: Record, anew: AbstractSet[str]) -> bool:
        if record.origin.ticket:
            return record.origin.ticket not in anew

        judged = record.origin.task == "accept" or record.call.startswith(
            ("accept ", "rework ", "expect ")
        )
        return not judged and record.kind not in _ENDS


def _kept(
    records: Sequence[Record], stays: Callable[[Record], bool]
) -> Iterator[Record]:
    """Yield what *stays*; what has happened in the world has for this future, too."""
    for record in records:
        if record.kind == ONCE or stays(record):
            yield record
        elif once := record.facts.get("once"):
            names = [f"once{number}" for number in range(len(once))]
            yield record._replace(
                kind=ONCE,
                call="",
                facts={"once": once},
                contents={name: record.contents[name] for name in names},
            )


def _ended_after(records: Sequence[Record], event: int) -> set[str]:
    """Return the calls whose end is known and comes after *event*: no fork's."""
    later = [record for record in records if record.seq > event]
    replied = {record.call for record in later if record.kind == REPLY}
    failed = {
        record.facts["call"].rpartition(".")[0]
        for record in later
        if record.kind == "ModelCallFailed"
    }
    return replied | failed
