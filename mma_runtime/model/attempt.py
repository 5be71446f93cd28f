"""A model call and its attempts: what is sent and reserved, what has come of it."""

import time
from collections.abc import Callable
from dataclasses import replace
from math import inf

from mma_runtime.costs.reservations import Reservation, WrapUp
from mma_runtime.errors import ProviderError, ScriptUnmatched
from mma_runtime.events import Origin
from mma_runtime.governor.queueing import LONG_WAIT
from mma_runtime.llm.chat import ChatRequest, Chunk, ToolCallDelta
from mma_runtime.llm.tokens import estimate_request, estimate_tokens
from mma_runtime.llm.usage import NO_USAGE, Usage

OnChunk = Callable[[Chunk], None]


class Call:
    """One call on its way, over all its attempts.

    *since* is when it first failed, in the event loop's time: it then goes before those
    that came later. 0 is not yet. *deadline* is when its budgets' time is up, in the
    same time, as far as its last attempt has learnt it. *patience* is how long a rest
    of an account it waits for, in seconds.
    """

    __slots__ = (
        "attempts",
        "deadline",
        "on_chunk",
        "patience",
        "request",
        "since",
        "wrap_up",
    )

    def __init__(
        self, request: ChatRequest, on_chunk: OnChunk | None, wrap_up: WrapUp
    ) -> None:
        self.request: ChatRequest = request
        self.on_chunk: OnChunk | None = on_chunk
        self.wrap_up: WrapUp = wrap_up
        # How many attempts there were, at all models.
        self.attempts: int = 0
        self.since: float = 0.0
        self.deadline: float = inf
        self.patience: float = LONG_WAIT


class Attempt:
    """One attempt on its way, and what has come of it.

    *thinks* tells that there may be output that nobody sees. `told` is what the
    provider has said so far of what it bills. `has_left` is whether its permit has been
    given back, `is_counted` whether its cost has been told or its reservation released.
    """

    __slots__ = (
        "began",
        "call",
        "has_left",
        "is_counted",
        "number",
        "received",
        "request",
        "thinks",
        "told",
        "wish",
    )

    def __init__(
        self, request: ChatRequest, number: int, wish: Reservation, *, thinks: bool
    ) -> None:
        self.request: ChatRequest = request
        self.number: int = number
        self.wish: Reservation = wish
        self.thinks: bool = thinks
        self.told: Usage = NO_USAGE
        self.call: str = call_name(request.origin, request.turn, number)
        self.received: list[str] = []
        self.began: float = time.monotonic()
        self.has_left: bool = False
        self.is_counted: bool = False

    def take(self, chunk: Chunk) -> None:
        """Keep the text of *chunk*, to estimate what an unfinished answer costs."""
        if isinstance(chunk, ToolCallDelta):
            self.received.append(chunk.fragment)
        else:
            self.received.append(chunk.text)

    def estimate(self, said: str) -> Usage:
        """Count what the provider has not told ourselves; never above what is held.

        Thoughts that nobody saw count for all the output that was allowed.
        """
        told, wish = self.told, self.wish
        most = wish.wanted if wish.output is None else wish.output
        output = most if self.thinks else min(estimate_tokens(said), most)
        return replace(
            told,
            input=told.input or min(estimate_request(self.request), wish.tokens),
            output=told.output or output,
        )


def call_name(origin: Origin, turn: int, attempt: int) -> str:
    """Name one attempt of a call."""
    return f"{origin.call(turn)}.{attempt}"


def was_turned_away(error: BaseException) -> bool:
    """Whether the provider did not take the attempt that ended with *error*."""
    # An HTTP error before the first chunk: the provider did no work and bills none.
    if not isinstance(error, ProviderError) or error.facts.in_stream:
        return False

    facts = error.facts
    return (
        facts.status is not None or not facts.sent or isinstance(error, ScriptUnmatched)
    )
