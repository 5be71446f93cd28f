"""Which facts of events a model or a tool may have worded.

They are content, like prompts and replies: logs and traces leave them out unless they
are asked for.
"""

from mma_runtime.events import (
    ActorEnded,
    ConclusionAsked,
    DeadLetter,
    Event,
    ModelCallQueued,
    RunFinished,
    RunPaused,
)

_WORDED = frozenset(
    ("detail", "goal", "hint", "problem", "reason", "remarks", "title", "what")
)
# The runtime words these itself.
_OWN = (ActorEnded, ConclusionAsked, DeadLetter, ModelCallQueued, RunPaused)
_OWN_ENDINGS = frozenset(
    ("cancelled", "completed", "over_budget", "paused", "provider_failed")
)
_NOTHING = frozenset[str]()


def worded_facts(event: Event) -> frozenset[str]:
    """Return the names of the facts of *event* that may be content."""
    if isinstance(event, _OWN):
        return _NOTHING

    if isinstance(event, RunFinished) and event.state in _OWN_ENDINGS:
        return _NOTHING

    return _WORDED
