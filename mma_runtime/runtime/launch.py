"""From a scenario, a team and its outfit to a run that can begin."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from mma_runtime.bus import Bus
from mma_runtime.costs import Ledger
from mma_runtime.errors import ConfigurationError
from mma_runtime.events import Origin
from mma_runtime.governor import Governor
from mma_runtime.journal import Past
from mma_runtime.observing import RunObserver
from mma_runtime.plan import Ticket, command_lines
from mma_runtime.recording import Session
from mma_runtime.registry import Registry
from mma_runtime.runtime.outfit import Outfit
from mma_runtime.runtime.run import Run
from mma_runtime.runtime.staffing import Team
from mma_runtime.scenario.project import Apply
from mma_runtime.scenario.schema import Scenario, TierOptions
from mma_runtime.supervisor.board import Board
from mma_runtime.supervisor.job import Job
from mma_runtime.supervisor.once import Once
from mma_runtime.supervisor.question import NoAnswer
from mma_runtime.supervisor.questions import Questions
from mma_runtime.tiers import Tier
from mma_runtime.tiers.briefing import NO_GROUND, Ground, check_images, read_ground
from mma_runtime.tiers.sight import read_prompt
from mma_runtime.tools.policy import DEFAULT_POLICY, Policy
from mma_runtime.tools.tool import Tool
from mma_runtime.workspace import Workspace


async def make_run(
    session: Session,
    team: Team,
    outfit: Outfit,
    registry: Registry,
    *,
    governor: Governor,
    observer: RunObserver | None,
    apply: Apply | None,
    home: Path,
) -> Run:
    """Make the run of *session*; nothing of it has begun.

    *home* is where runs are kept. *observer* looks on. *apply* says what becomes of
    its changes, `None` that the scenario does.

    Raises:
        ConfigurationError: Images are for models that take none.
        WorkspaceError: A branch is wanted that there cannot be.
    """
    scenario, workspace, journal = (
        session.scenario,
        session.workspace,
        session.journal,
    )
    apply = _wanted(scenario, workspace, apply)
    board = Board()
    sinks = (journal.record,) if journal.is_on else ()
    if observer is not None:
        sinks = (*sinks, observer.note)

    bus = Bus(board.firewall.note, *sinks, origin=Origin(run=session.run))
    emit = bus.emit
    journal.emit = emit
    ground = NO_GROUND
    if workspace is not None:
        beside = registry.extended(folders=[workspace.source])
        workspace.hidden = beside.key_files
        ground = await read_ground(workspace.files, scenario.rules, scenario.context)
        _check_images(ground, team)

    outfit.servers.note(journal, session.run)
    worker = scenario.tier("worker")
    questions = Questions(
        emit,
        policy=_policy(scenario, outfit.own),
        is_stepped=scenario.mode == "step",
        seconds=scenario.approvals.seconds,
        on_no_answer=NoAnswer(scenario.approvals.on_no_answer),
        journal=journal,
    )
    once = Once(scenario.once, journal, questions)
    once.mark(command_lines(scenario.expect.commands, once=True))
    job = Job(
        run=session.run,
        tiers=outfit.tiers(team.tiers),
        open_model=partial(team.open_model, emit, governor, observer),
        emit=emit,
        epic=scenario.epic or "",
        track=scenario.track,
        tickets=outfit.tickets(_addressed(scenario, registry)),
        workspace=workspace,
        folder=workspace.folder if workspace else None,
        tools=outfit.tools,
        sandbox=outfit.sandbox,
        workers=worker.count or len(scenario.tickets or ()) or 1,
        attempts=worker.attempts,
        max_added_tickets=scenario.tier("tech_lead").max_added_tickets,
        ledger=Ledger(team.budgets),
        journal=journal,
        ground=ground,
        prompts={
            **{
                occasion: read_prompt(occasion, path)
                for occasion, path in scenario.prompts.items()
            },
            **outfit.prompts,
        },
        questions=questions,
        once=once,
        board=board,
        observer=observer,
    )
    if journal.past is not None and not journal.strict:
        _count_past(job, journal.past)

    return Run(
        job,
        team,
        scenario,
        bus,
        apply=apply,
        outfit=outfit,
        home=home if session.is_resumable else None,
    )


def handed_over(scenario: Scenario, apply: Apply | None) -> Scenario:
    """Return *scenario* with what becomes of its changes; it is recorded with it.

    Raises:
        ConfigurationError: They are to be a branch, and there is no workspace.
    """
    if apply is None or scenario.workspace is None:
        if apply == "branch":
            raise ConfigurationError("there is no workspace to make a branch of")

        return scenario

    workspace = scenario.workspace.model_copy(update={"apply": apply})
    return scenario.model_copy(update={"workspace": workspace})


def _count_past(job: Job, past: Past) -> None:
    """Count what the run has spent before, and how long it took."""
    for event in past.costs:
        job.ledger.add(event)

    job.ledger.tree.took = past.seconds


def _wanted(
    scenario: Scenario, workspace: Workspace | None, apply: Apply | None
) -> Apply:
    """Return what becomes of the changes; refuse a branch that there cannot be."""
    if apply is None:
        apply = scenario.workspace is not None and scenario.workspace.apply

    if apply == "branch" and workspace is not None:
        workspace.demand_branch()

    return apply


def _policy(scenario: Scenario, tools: Iterable[Tool]) -> Policy:
    """Put the scenario's rules, a tier's own first, before those that always hold.

    The host's own *tools* run unless the scenario says otherwise: who gives a tool to
    its agents wants it to be used.
    """
    policy = DEFAULT_POLICY
    if own := {tool.name: "auto" for tool in tools}:
        policy = Policy.of(own).over(policy)

    if scenario.approvals.policy:
        policy = Policy.of(scenario.approvals.policy).over(policy)

    for tier in Tier:
        options: TierOptions = getattr(scenario.tiers, tier.value)
        if options.policy:
            policy = Policy.of(options.policy, tier=tier.value).over(policy)

    return policy


def _check_images(ground: Ground, team: Team) -> None:
    """Refuse images for planning tiers whose models take none, before any call."""
    for tier in (Tier.ORCHESTRATOR, Tier.TECH_LEAD):
        settings = team.tiers.get(tier)
        if settings is not None:
            name, _, model = settings.address.partition(":")
            takes_images = team.providers[name].capabilities(model).images
            check_images(ground.images, settings.address, takes_images=takes_images)


def _addressed(scenario: Scenario, registry: Registry) -> tuple[Ticket, ...]:
    """Return the scenario's tickets with their models' full addresses."""
    return tuple(
        ticket
        if ticket.model is None
        else ticket.model_copy(
            update={"model": str(registry.parse_address(ticket.model))}
        )
        for ticket in scenario.tickets or ()
    )
