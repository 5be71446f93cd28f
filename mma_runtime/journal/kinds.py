"""What a run's records are called, and which events of two runs are alike."""

from collections.abc import Mapping
from typing import Any

from mma_runtime.events import Origin

BEGUN = "run"
"""The first record: the scenario and how it was started."""

WITHOUT_CONTENT = (
    "prompts and replies were kept out of it (`capture_content: false`), so that"
    " nothing can be used again"
)
"""What is said of a journal that can only be looked at."""

NEVER_BEGAN = (
    "its run was cut off before it began: nothing was done or spent, start it again"
)

INTERRUPTED = "interrupted"
"""The state of a run that was killed: its record says nothing of an end."""

RESUMED = "resumed"
INTENT = "intent"
REPLY = "reply"
FAILURE = "failure"
TOOLS = "tools"
COMMAND = "command"
VIEW = "view"
STEP = "step"
MERGE = "merge"
ANSWER = "answer"
ONCE = "once"
FORGOTTEN = "forgotten"

OURS = frozenset(
    (
        BEGUN,
        RESUMED,
        INTENT,
        REPLY,
        FAILURE,
        TOOLS,
        COMMAND,
        VIEW,
        STEP,
        MERGE,
        ANSWER,
        ONCE,
        FORGOTTEN,
    )
)
"""The kinds that are not the names of events."""

ALWAYS_NEW = frozenset(("RunStarted", "RunFinished"))
"""Events that each session of a run has anew."""

BEGIN = "start "
"""How the names of steps begin with which a ticket gets a worker."""

ORDER = "order "
"""How the names of steps begin that somebody has ordered."""

_VARYING = ("seconds", "delay", "retry_in", "dependants", "rounds", "where")


def event_key(kind: str, origin: Origin, facts: Mapping[str, Any]) -> str:
    """Name an event by all that does not vary when the same happens again."""
    place = (origin.tier, origin.track, origin.ticket, origin.attempt, origin.task)
    told = [(name, facts[name]) for name in facts if name not in _VARYING]
    return repr((kind, place, told))
