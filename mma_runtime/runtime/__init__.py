"""The embedding API, and all that a run finds around it from its start to its end."""

from mma_runtime.runtime.runtime import Runtime

__all__ = ["Runtime"]
