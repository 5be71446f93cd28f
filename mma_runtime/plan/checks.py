"""What a plan of Tier 2 has to keep to, besides its form; in words for who planned."""

import shlex
from collections.abc import Callable, Collection, Sequence

from mma_runtime.errors import did_you_mean
from mma_runtime.plan.dag import plan_problems
from mma_runtime.plan.plan import Ticket, Track


def ticket_problems(
    tickets: Sequence[Ticket],
    *,
    track: Track,
    own: Collection[str] = (),
    taken: Collection[str] = (),
    room: int | None = None,
    tools: Collection[str] | None = None,
    is_denied: Callable[[str], bool] | None = None,
) -> list[str]:
    """Return every reason why *tickets* cannot join *track*.

    *own* are the ids of the track's earlier tickets, which new ones may depend on;
    *taken* are all ids in use. At most *room* tickets may come; `None` is no limit.
    *tools* are those that workers have; *is_denied* tells of a command that may never
    run.
    """
    problems = plan_problems(
        (ticket.id, [need for need in ticket.depends_on if need not in own])
        for ticket in tickets
    )
    for ticket in tickets:
        if ticket.id in taken:
            problems.append(
                f"ticket {ticket.id!r}: the id is taken"
                + (", by another track" if ticket.id not in own else "")
            )

        if ticket.target_file is not None and not track.allows(ticket.target_file):
            modules = ", ".join(track.modules)
            problems.append(
                f"ticket {ticket.id!r}: {ticket.target_file!r} lies outside of what the"
                f" track may change ({modules})"
            )

        problems += [
            f"ticket {ticket.id!r}: workers have no tool {name!r}"
            + did_you_mean(name, tools)
            for name in ticket.tools or ()
            if tools is not None and name not in tools
        ]
        problems += [
            f"ticket {ticket.id!r}: {command!r} is not a command: {problem}"
            for command in ticket.commands
            if (problem := _command_problem(command))
        ]
        problems += [
            f"ticket {ticket.id!r}: {command!r} is not allowed here; do without it"
            for command in ticket.commands
            if is_denied is not None and is_denied(command)
        ]

    if room is not None and len(tickets) > room:
        problems.append(f"{len(tickets)} tickets are too many; at most {room} may come")

    return problems + _shared_interfaces(tickets)


def _command_problem(command: str) -> str:
    try:
        return "" if shlex.split(command) else "it is empty"
    except ValueError as error:
        return str(error)


def _shared_interfaces(tickets: Sequence[Ticket]) -> list[str]:
    """Find tickets that run side by side although one needs what the other changes."""
    before = _before(tickets)
    problems: list[str] = []
    for writer in tickets:
        for reader in tickets:
            if writer is reader or writer.target_file is None:
                continue

            needed = {entry.partition(":")[0] for entry in reader.context}
            ordered = writer.id in before[reader.id] or reader.id in before[writer.id]
            agreed = before[writer.id] & before[reader.id]
            if writer.target_file in needed and not ordered and not agreed:
                problems.append(
                    f"tickets {writer.id!r} and {reader.id!r} share"
                    f" {writer.target_file!r}: plan a contract ticket that both depend"
                    " on, or let one depend on the other"
                )

    return problems


def _before(tickets: Sequence[Ticket]) -> dict[str, set[str]]:
    """Map each ticket to all that it waits for; a circle ends where it began."""
    needs = {ticket.id: ticket.depends_on for ticket in tickets}
    before: dict[str, set[str]] = {}
    for name, direct in needs.items():
        found: set[str] = set()
        waiting = list(direct)
        while waiting:
            need = waiting.pop()
            if need not in found:
                found.add(need)
                waiting += needs.get(need, ())

        before[name] = found

    return before
