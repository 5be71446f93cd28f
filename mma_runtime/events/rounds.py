"""What happens between an agent and what its model is shown."""

from dataclasses import dataclass

from mma_runtime.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStarted(Event):
    """Tool round *round* of at most *max_rounds* begins (both count from 1)."""

    round: int
    max_rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConclusionAsked(Event):
    """The model gets no more tools and is to conclude; *reason* says why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRejected(Event):
    """A tier's answer was not in the form that is due and went back with *problem*."""

    problem: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryCut(Event):
    """The oldest *turns* turns, about *tokens* tokens, were left out of a history."""

    turns: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCut(Event):
    """Of a tool's output or a file, *characters* characters were not shown.

    *what* names the tool or the file.
    """

    what: str
    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRefreshed(Event):
    """Files in an agent's context have changed; it was shown *characters* of diff."""

    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStuck(Event):
    """A worker goes in circles; it is told once, then its attempt ends (*told*)."""

    reason: str
    told: bool
