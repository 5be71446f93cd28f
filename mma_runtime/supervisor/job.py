"""What a run has to do and with whom; made by the runtime, read by the supervisor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from mma_runtime.costs import Ledger
from mma_runtime.events import Event
from mma_runtime.journal import Journal
from mma_runtime.kernel import Ref
from mma_runtime.model import Model
from mma_runtime.observing import RunObserver
from mma_runtime.plan import Ticket, Track
from mma_runtime.rounds import CONTEXT_TOKENS, MAX_TOOL_ROUNDS, PLAIN, Sampling
from mma_runtime.supervisor.board import Board
from mma_runtime.supervisor.once import Once
from mma_runtime.supervisor.questions import Questions
from mma_runtime.tiers import AgentClass, Check, Tier
from mma_runtime.tiers.briefing import NO_GROUND, Ground
from mma_runtime.tools.sandbox import SandboxMode
from mma_runtime.tools.tool import Tool
from mma_runtime.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSettings:
    """How one tier of a run is manned.

    *address* is `provider:model`, *fallbacks* are those after it. *tools* are the names
    or patterns of what workers have; `None` is all but what has to be named. *ladder*
    holds the models of later attempts at a ticket; *context_tokens* bounds a history.
    *check* looks at closing answers.
    """

    agent: AgentClass
    address: str
    fallbacks: tuple[str, ...] = ()
    max_rounds: int = MAX_TOOL_ROUNDS
    sampling: Sampling = PLAIN
    tools: tuple[str, ...] | None = None
    ladder: tuple[str, ...] = ()
    context_tokens: int = CONTEXT_TOKENS
    check: Check | None = None


def _unheard(event: Event) -> None:
    """Let an event of a job without a bus go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a run has to do and with whom.

    One of *epic*, *track* and *tickets* says where it starts. Tiers that are not in
    *tiers* have no agent: without a tech lead nothing is reviewed, without QA no hints
    are given. *open_model* makes a model from its address, with those of its fallbacks,
    and the aggregator's ref.
    *workers* is the most tickets in work at once, *attempts* the most workers for one
    ticket. *max_added_tickets* bounds what Tier 2 adds to one track after its plan.
    *folder* is where unfinished work is kept. *ground* is what all are told of the
    project, *prompts* are the scenario's own, *questions* what people are asked, *once*
    are the calls that must not happen twice. *sandbox* says how commands are walled in.
    The *journal* is off by default, and no
    *observer* looks on.
    """

    run: str
    tiers: Mapping[Tier, TierSettings]
    open_model: Callable[[tuple[str, ...], Ref], Model]
    emit: Callable[[Event], None]
    epic: str = ""
    track: Track | None = None
    tickets: tuple[Ticket, ...] = ()
    workspace: Workspace | None = None
    folder: Path | None = None
    tools: tuple[Tool, ...] = ()
    sandbox: SandboxMode = SandboxMode.AUTO
    workers: int = 4
    attempts: int = 3
    max_added_tickets: int = 0
    ground: Ground = NO_GROUND
    prompts: Mapping[str, Template] = field(default_factory=dict[str, Template])
    questions: Questions = field(default_factory=lambda: Questions(_unheard))
    board: Board = field(default_factory=Board)
    once: Once = field(default_factory=Once)
    ledger: Ledger = field(default_factory=Ledger)
    journal: Journal = field(default_factory=Journal)
    observer: RunObserver | None = None
