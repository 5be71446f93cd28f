"""How fast an account may be asked: one gate a model for all runs of a process."""

from mma_runtime.governor.gate import Gate
from mma_runtime.governor.governor import Governor, shared_governor
from mma_runtime.governor.rest import too_long

__all__ = [
    "Gate",
    "Governor",
    "shared_governor",
    "too_long",
]
