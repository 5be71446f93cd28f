"""What a run may cost and what it has cost: budgets, reservations, sums."""

from mma_runtime.costs.aggregator import (
    Close,
    CostAggregator,
    CostEvent,
    CostState,
    Ledger,
    Release,
    Report,
    Reserve,
    Settled,
)

__all__ = [
    "Close",
    "CostAggregator",
    "CostEvent",
    "CostState",
    "Ledger",
    "Release",
    "Report",
    "Reserve",
    "Settled",
]
