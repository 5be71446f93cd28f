"""How a run ended: one typed outcome, whatever happened."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from mma_runtime.costs.escalation import Escalation
from mma_runtime.costs.report import CostReport
from mma_runtime.firewall import NO_FIREWALL, Firewall
from mma_runtime.workspace import FileStat


class RunState(StrEnum):
    """How a run ended.

    `PAUSED` means that there was no room to go on or to record it, or that nobody
    answered a question; it goes on when it is resumed.
    `BOUNDED` means that a ticket used up its tool rounds: its partial work is kept.
    `PROVIDER_FAILED` means that a model provider could not be used (key, connection,
    model), after the retries.
    """

    COMPLETED = "completed"
    FAILED = "failed"
    OVER_BUDGET = "over_budget"
    BOUNDED = "bounded"
    PROVIDER_FAILED = "provider_failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"


class TicketState(StrEnum):
    """Where a ticket stands.

    `STUCK` means that its last worker went in circles. `SKIPPED` counts as done for
    what depends on it.
    """

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    BOUNDED = "bounded"
    OVER_BUDGET = "over_budget"
    STUCK = "stuck"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


class TrackState(StrEnum):
    """Where a track stands."""

    RUNNING = "running"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNMERGED = "unmerged"
"""The folder, in a run's, of patches that were made and not merged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketOutcome:
    """How a ticket ended.

    *rounds* counts model calls of its workers, *attempts* the workers it took. *answer*
    is the last worker's closing text, partial where the state is `bounded`. *models*
    are those of the attempts, in order: where they differ, the ticket climbed its
    ladder.
    """

    id: str
    title: str
    track: str
    state: TicketState
    reason: str = ""
    rounds: int = 0
    attempts: int = 0
    answer: str = ""
    files: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOutcome:
    """How a track ended, in its orchestrator's words."""

    id: str
    title: str
    state: TrackState
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One line of the scenario's `expect`, checked."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended, what it made and what it cost.

    *folder* is the run's folder; in it, *tree* holds the project with all accepted
    changes and *patch* the changes alone. They are `None` for a scenario without a
    workspace. *applied* tells that the changes are in the user's folder too, *branch*
    names the branch of the user's git repository that they are, if any. *sandbox* says
    what stood around commands: `bubblewrap`, `limits only`, or nothing where none could
    be run. *seconds* is wall time. *to_go_on_usd* is about what it would have cost to
    go on, in US dollars, where a budget has stopped the run and that can be told;
    *resume_command* does so with a larger budget, and after a pause or a cancellation
    as it is; it is empty where the run cannot be resumed.
    *firewall* tells how much of what the lower tiers produced was kept from the upper
    ones.
    """

    run: str
    name: str
    state: RunState
    reason: str
    seconds: float
    tracks: tuple[TrackOutcome, ...]
    tickets: tuple[TicketOutcome, ...]
    costs: CostReport
    expectations: tuple[Expectation, ...] = ()
    changes: tuple[FileStat, ...] = ()
    folder: Path | None = None
    tree: Path | None = None
    patch: Path | None = None
    applied: bool = False
    branch: str = ""
    sandbox: str = ""
    to_go_on_usd: Decimal | None = None
    resume_command: str = ""
    firewall: Firewall = NO_FIREWALL
    escalations: tuple[Escalation, ...] = ()

    @property
    def unmerged(self) -> Path | None:
        """The folder of the patches that tickets have made and nobody took over."""
        folder = None if self.folder is None else self.folder / UNMERGED
        return folder if folder is not None and folder.is_dir() else None

    @property
    def completed(self) -> bool:
        """Whether all was done and every expectation held."""
        return self.state is RunState.COMPLETED
