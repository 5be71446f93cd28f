"""Routes work between the tiers: from a plan to tickets that are done and merged."""

from mma_runtime.supervisor.supervisor import Supervisor

__all__ = ["Supervisor"]
