"""Which tickets climbed to other models than their first, and what that cost."""

from collections.abc import Iterable
from dataclasses import dataclass

from mma_runtime.costs.report import NOTHING_SPENT, CostReport, Spent

_WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """A ticket whose attempts were not all made by its first model.

    *models* has one entry for each attempt. *spent* is what the workers on later models
    took: what it cost to climb.
    """

    ticket: str
    models: tuple[str, ...]
    spent: Spent


def escalations(
    tickets: Iterable[tuple[str, tuple[str, ...]]], costs: CostReport
) -> tuple[Escalation, ...]:
    """Find what climbed among *tickets*: ids, each with the models of its attempts."""
    climbed = {name: models for name, models in tickets if len(set(models)) > 1}
    if not climbed:
        return ()

    spent = dict.fromkeys(climbed, NOTHING_SPENT)
    for line in costs.lines:
        first, *later = climbed.get(line.ticket, ("",))
        if line.tier == _WORKER and line.model in later and line.model != first:
            spent[line.ticket] += line.spent

    return tuple(
        Escalation(ticket=name, models=models, spent=spent[name])
        for name, models in climbed.items()
    )
