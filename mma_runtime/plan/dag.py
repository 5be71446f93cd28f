"""The order of tickets: what waits for what, and what makes a plan impossible."""

from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from mma_runtime.errors import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProblem:
    """One reason why a plan cannot be run.

    *ticket* is the place of the ticket in the plan and *dependency* the place in its
    list of dependencies, both from 0; `None` is the ticket itself.
    """

    message: str
    ticket: int
    dependency: int | None = None


def plan_problems(tickets: Iterable[tuple[str, Iterable[str]]]) -> list[str]:
    """Return every reason why these (id, ids it depends on) cannot be run, in words."""
    return [problem.message for problem in find_problems(tickets)]


def find_problems(tickets: Iterable[tuple[str, Iterable[str]]]) -> list[PlanProblem]:
    """Find duplicate ids, unknown ids, tickets that wait for themselves, and cycles."""
    plan = [(name, tuple(needs)) for name, needs in tickets]
    first = {name: place for place, (name, _) in reversed(list(enumerate(plan)))}
    problems: list[PlanProblem] = []
    for place, (name, needs) in enumerate(plan):
        if first[name] != place:
            message = f"the id {name!r} is used twice; each ticket needs its own"
            problems.append(PlanProblem(message=message, ticket=place))

        for position, need in enumerate(needs):
            if need == name:
                message = f"ticket {name!r} depends on itself"
            elif need not in first:
                message = f"ticket {name!r} depends on {need!r}, which is not in the"
                message += " plan" + did_you_mean(need, first)
            else:
                continue

            problems.append(
                PlanProblem(message=message, ticket=place, dependency=position)
            )

    return problems + [_cycle_problem(cycle, first) for cycle in _cycles(plan, first)]


def _cycles(
    plan: list[tuple[str, tuple[str, ...]]], known: dict[str, int]
) -> list[list[str]]:
    """Return cycles until the rest has none; each begins with its earliest ticket."""
    graph: dict[str, set[str]] = {name: set() for name in known}
    for name, needs in plan:
        graph[name].update(need for need in needs if need in known and need != name)

    cycles: list[list[str]] = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # graphlib lists who is waited for first, and ends where it began.
            ring: list[str] = error.args[1][:0:-1]
            start = ring.index(min(ring, key=known.__getitem__))
            ring = ring[start:] + ring[:start]
            cycles.append(ring)
            graph[ring[0]].discard(ring[1])
        else:
            return cycles


def _cycle_problem(cycle: list[str], places: dict[str, int]) -> PlanProblem:
    chain = " → ".join([*cycle, cycle[0]])
    return PlanProblem(
        message=f"these tickets wait for each other in a circle: {chain}",
        ticket=places[cycle[0]],
    )
