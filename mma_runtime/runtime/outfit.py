"""What the workers of a run are given besides a model: tools, servers, and walls."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from string import Template

from mma_runtime.errors import ConfigurationError
from mma_runtime.journal import Journal
from mma_runtime.plan import Ticket
from mma_runtime.runtime.tool_servers import (
    NO_SERVERS,
    Spawn,
    ToolServers,
    open_servers,
    recorded_servers,
)
from mma_runtime.scenario.schema import Scenario
from mma_runtime.scenario.settings import Settings
from mma_runtime.scenario.tooling import Look, mcp_servers, sandbox_mode
from mma_runtime.supervisor.job import TierSettings
from mma_runtime.tiers import Check, Tier
from mma_runtime.tools.choice import given, pattern_problem
from mma_runtime.tools.native import NATIVE_TOOLS
from mma_runtime.tools.sandbox import SandboxMode, find_confinement
from mma_runtime.tools.tool import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outfit:
    """What the workers of one run are given.

    *own* are the host's tools. *sandbox* says how commands are walled in, *confinement*
    what that comes to on this machine; it is empty where no command can be run.
    *prompts* go before those of the scenario, *answer_check* looks at closing
    answers.
    """

    own: tuple[Tool, ...] = ()
    servers: ToolServers = NO_SERVERS
    sandbox: SandboxMode = SandboxMode.AUTO
    confinement: str = ""
    prompts: Mapping[str, Template] = field(default_factory=dict[str, Template])
    answer_check: Check | None = None

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools beside the native ones."""
        return (*self.own, *self.servers.tools)

    def tiers(self, tiers: Mapping[Tier, TierSettings]) -> dict[Tier, TierSettings]:
        """Return *tiers* with the workers' check and the names of their tools."""
        worker = tiers[Tier.WORKER]
        tools = given(worker.tools, self._names)
        return {
            **tiers,
            Tier.WORKER: replace(worker, tools=tools, check=self.answer_check),
        }

    def tickets(self, tickets: Iterable[Ticket]) -> tuple[Ticket, ...]:
        """Return *tickets* with the names of their own tools."""
        return tuple(
            ticket
            if ticket.tools is None
            else ticket.model_copy(update={"tools": given(ticket.tools, self._names)})
            for ticket in tickets
        )

    def check(self, scenario: Scenario) -> None:
        """Raise if workers are to have tools that there are not, or two of one name.

        Raises:
            ConfigurationError: They are; names the first.
        """
        for tool in self.tools if scenario.workspace is not None else ():
            if tool.name in NATIVE_TOOLS:
                raise ConfigurationError(
                    f"two tools are named {tool.name!r}: yours and the native one;"
                    " give yours another by `@tool(name=…)`"
                )

        wanted = {"tiers.worker": scenario.tier("worker").tools}
        wanted |= {f"ticket {one.id!r}": one.tools for one in scenario.tickets or ()}
        for whose, patterns in wanted.items():
            for pattern in patterns or ():
                if problem := pattern_problem(pattern, self._names):
                    raise ConfigurationError(f"{whose}: {problem}")

    @property
    def _names(self) -> tuple[str, ...]:
        return (*NATIVE_TOOLS, *(tool.name for tool in self.tools))


async def equip(
    scenario: Scenario,
    settings: Settings,
    own: Iterable[Tool],
    *,
    run: str,
    spawn: Spawn,
    look: Look,
) -> Outfit:
    """Find out how commands are walled in, and start the servers that *run* needs.

    *look* finds the values of environment variables. Cancellation ends what was
    started.

    Raises:
        ConfigurationError: The sandbox is to be strict and there is no bubblewrap, a
            server cannot be used, a variable has no value, or workers are to have
            tools that there are not.
    """
    mode = sandbox_mode(scenario, settings)
    confinement = ""
    if scenario.workspace is not None:
        confinement = (await find_confinement(mode)).name

    servers = await open_servers(spawn, run, mcp_servers(scenario, settings, look))
    outfit = Outfit(
        own=tuple(own), servers=servers, sandbox=mode, confinement=confinement
    )
    try:
        outfit.check(scenario)
    except ConfigurationError:
        await servers.aclose()
        raise

    return outfit


def replayed(journal: Journal, own: Iterable[Tool]) -> Outfit:
    """Return what the workers of a recorded run had; starts and finds nothing."""
    return Outfit(own=tuple(own), servers=recorded_servers(journal))
