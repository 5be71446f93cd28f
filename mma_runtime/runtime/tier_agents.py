"""Which class serves a tier: one that is given, an installed package's, or ours."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import signature

from mma_runtime.arguments import check_class, check_kind
from mma_runtime.errors import ArgumentInvalid, ConfigurationError
from mma_runtime.kernel import Actor
from mma_runtime.scenario.schema import tier_name
from mma_runtime.tiers import AgentClass, Tier

AGENTS = {
    Tier.ORCHESTRATOR: "mma_agents.orchestrator:Orchestrator",
    Tier.TECH_LEAD: "mma_agents.tech_lead:TechLead",
    Tier.WORKER: "mma_agents.worker:Worker",
    Tier.QA: "mma_agents.qa:QA",
}
"""Where each tier's agent is found; an entry point of its name goes before."""

ENTRY_POINTS = "mma.agents"


def checked_agents(given: Mapping[str, AgentClass]) -> dict[Tier, AgentClass]:
    """Return the classes of tier agents that are *given* by the names of tiers.

    Raises:
        ArgumentInvalid: Something among them is no class of tier agents.
        ConfigurationError: There is no tier of a name.
    """
    check_kind("agents", given, Mapping, "a table of tiers and classes")
    agents: dict[Tier, AgentClass] = {}
    for name, agent in given.items():
        tier = Tier(tier_name(name))
        _check_agent(f"agents[{name!r}]", agent, tier)
        agents[tier] = agent

    return agents


def load_agent(tier: Tier) -> AgentClass:
    """Load the class of *tier*'s agent, on first use.

    Raises:
        ConfigurationError: What is installed for the tier cannot be used.
    """
    points = installed_agents()
    if tier in points:
        agent = _installed_agent(tier, points[tier])
    else:
        module, _, name = AGENTS[tier].partition(":")
        agent = getattr(import_module(module), name)

    return agent


@cache
def installed_agents() -> Mapping[str, EntryPoint]:
    """Return the agents of installed packages, by the name of their tier.

    Looked up once: it reads a file of every installed package.
    """
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _installed_agent(tier: Tier, point: EntryPoint) -> AgentClass:
    about = f"the installed agent {point.value!r} of tier {tier.value!r}"
    try:
        agent: AgentClass = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{about} cannot be loaded: {error}") from error

    _check_agent(about, agent, tier)
    return agent


def _check_agent(argument: str, given: AgentClass, tier: Tier) -> None:
    wanted = "a class that extends `TierAgent`, or an actor made of one `Equipment`"
    check_class(argument, given, Actor, wanted)
    try:
        signature(given).bind(None)
    except TypeError as error:
        raise ArgumentInvalid(argument, given, wanted) from error

    own = getattr(given, "tier", tier)
    if own != tier:
        raise ArgumentInvalid(f"{argument}.tier", own, f"`Tier.{tier.name}`")
