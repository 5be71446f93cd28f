"""What is to be done: tracks and tickets, their order, and what a plan must keep to."""

from mma_runtime.plan.plan import (
    CommandEntry,
    EpicPlan,
    Priority,
    Severity,
    Ticket,
    Track,
    TrackPlan,
    command_lines,
)

__all__ = [
    "CommandEntry",
    "EpicPlan",
    "Priority",
    "Severity",
    "Ticket",
    "Track",
    "TrackPlan",
    "command_lines",
]
