"""How fast an account may be asked: one gate for all tiers and runs of a process."""

from mma_runtime.governor.governor import (
    Gate,
    Governor,
    shared_governor,
    too_long,
)

__all__ = [
    "Gate",
    "Governor",
    "shared_governor",
    "too_long",
]
