"""When a worker goes in circles: the same failing call, or rounds that lead nowhere."""

import json
from collections.abc import Sequence

from mma_runtime.llm.chat import ToolCall, ToolResult

SAME_FAILURES = 3
"""How often one call may fail while nothing changes, whatever it prints."""

IDLE_ROUNDS = 3
"""How many rounds may pass that change nothing and learn nothing."""


class Circles:
    """Watches the rounds of one worker.

    A round is idle when it changes no file and every call in it was made before, or
    fails. Reading something new is work.
    """

    __slots__ = ("_failures", "_idle", "_made")

    def __init__(self) -> None:
        self._failures: dict[tuple[str, str], int] = {}
        self._made: set[tuple[str, str]] = set()
        self._idle = 0

    def after_round(
        self,
        calls: Sequence[ToolCall],
        results: Sequence[ToolResult],
        *,
        changed: bool,
    ) -> str:
        """Take a round in; return why the worker goes in circles, or nothing."""
        idle = True
        reason = ""
        for call, result in zip(calls, results, strict=True):
            made = (call.name, _arguments(call))
            if result.is_error:
                times = self._failures[made] = self._failures.get(made, 0) + 1
                if times >= SAME_FAILURES:
                    reason = f"the same call of {call.name!r} failed {times} times"
            elif made not in self._made:
                idle = False

            self._made.add(made)

        if changed:
            # What failed may succeed now, and what was read may be another text.
            self._made.clear()
            self._failures.clear()
            self._idle = 0
            return ""

        self._idle = self._idle + 1 if idle else 0
        if not reason and self._idle >= IDLE_ROUNDS:
            reason = f"{self._idle} rounds changed nothing and showed nothing new"

        return reason


def _arguments(call: ToolCall) -> str:
    if call.arguments is None:
        return call.raw

    return json.dumps(call.arguments, sort_keys=True, default=str)
