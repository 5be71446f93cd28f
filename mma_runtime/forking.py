"""Where two futures of one past part: what a fork keeps of a run's records."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mma_runtime.errors import ConfigurationError, did_you_mean
from mma_runtime.journal import Record
from mma_runtime.journal.past import ONCE

_ENDS = frozenset(("RunFinished", "TrackFinished", "ExpectationChecked"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkPoint:
    """Where another future begins: after record *event*, or before *ticket*.

    With a ticket, all that depends on it and the judgement of its track are lived anew
    as well; what other tickets did stays.
    """

    event: int = 0
    ticket: str = ""

    def keeps(self, records: Sequence[Record]) -> list[Record]:
        """Return those of *records* that belong to the common past.

        Raises `ConfigurationError` when there is no such point.
        """
        if not self.ticket:
            if not 0 < self.event <= len(records):
                raise ConfigurationError(
                    f"there is no event {self.event}; the run has {len(records)}"
                )

            return [r for r in records if r.seq <= self.event or r.kind == ONCE]

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
        return [r for r in records if r.seq <= start or self._stays(r, anew)]

    def _stays(self, record: Record, anew: AbstractSet[str]) -> bool:
        if record.kind == ONCE:
            # What has happened in the world has happened for this future, too.
            return True

        if record.origin.ticket:
            return record.origin.ticket not in anew

        judged = record.origin.task == "accept" or record.call.startswith(
            ("accept ", "rework ", "expect ")
        )
        return not judged and record.kind not in _ENDS
