"""What happens to a run as a whole."""

from dataclasses import dataclass, field

from mma_runtime.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run began. *models* maps each tier to its `provider:model`.

    *scripted* are the tiers whose replies are given; *priced_as* tells as which model
    each of them is priced. *sandbox* says what stands around commands, `bubblewrap` or
    `limits only`, and is empty where none can be run. *mcp_servers* counts their tools.
    """

    name: str
    models: dict[str, str]
    scripted: tuple[str, ...]
    max_tool_rounds: int
    priced_as: dict[str, str] = field(default_factory=dict[str, str])
    sandbox: str = ""
    mcp_servers: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEndsSoon(Event):
    """A model of the run ends within 60 days, or has ended; *day* is an ISO date."""

    model: str
    day: str
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPaused(Event):
    """No further ticket starts until the run is resumed; those at work go on."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed(Event):
    """Tickets start again; *reason* is that of whoever resumed the run, or empty."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationChecked(Event):
    """One line of the scenario's `expect` was checked."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesApplied(Event):
    """The run's changes were written to the user's folder."""

    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchPublished(Event):
    """The run's changes are a branch of the user's git repository."""

    branch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run ended; *state* is the outcome's, *reason* is for people."""

    state: str
    reason: str
