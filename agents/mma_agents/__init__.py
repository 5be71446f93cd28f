"""The agents of the four tiers; the runtime finds them by name.

An agent of one's own extends one of these and handles the messages of its tier, which
are in `mma_runtime.tiers`.
"""

from mma_agents.tier import OneShotAgent, PlanningAgent, TierAgent

__all__ = ["OneShotAgent", "PlanningAgent", "TierAgent"]
