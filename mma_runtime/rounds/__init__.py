"""The tool loop, and what an agent and its model have said and read so far."""

from mma_runtime.rounds.rounds import (
    CONCLUDE,
    CONTEXT_TOKENS,
    EMPTY_REPLY,
    MAX_TOOL_ROUNDS,
    OVER_BUDGET,
    PLAIN,
    Aside,
    Bounded,
    Concluded,
    Sampling,
    Stuck,
    default_max_rounds,
    run_rounds,
)

__all__ = [
    "CONCLUDE",
    "CONTEXT_TOKENS",
    "EMPTY_REPLY",
    "MAX_TOOL_ROUNDS",
    "OVER_BUDGET",
    "PLAIN",
    "Aside",
    "Bounded",
    "Concluded",
    "Sampling",
    "Stuck",
    "default_max_rounds",
    "run_rounds",
]
