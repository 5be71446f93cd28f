"""What the runs of a runtime have spent, in as much memory after many as after few."""

from collections import deque
from collections.abc import Iterable

from mma_runtime.costs.report import CostReport

TOLD_APART = 1_000
"""How many runs that have ended are told apart; those before them are one sum."""


class Tally:
    """The costs of runs that have ended."""

    def __init__(self, told_apart: int = TOLD_APART) -> None:
        self._told_apart = told_apart
        self._recent = deque[CostReport]()
        self._older = CostReport()

    def add(self, report: CostReport) -> None:
        """Count a run that has ended; its tracks and tickets are not kept."""
        self._recent.append(CostReport.of(report.by("run", "tier", "model")))
        if len(self._recent) > self._told_apart:
            both = (*self._older.lines, *self._recent.popleft().lines)
            self._older = CostReport.of(CostReport.of(both).by("tier", "model"))

    def report(self, going_on: Iterable[CostReport]) -> CostReport:
        """Return the costs of all runs, those that are *going_on* included."""
        reports = (self._older, *self._recent, *going_on)
        return CostReport.of(line for report in reports for line in report.lines)
