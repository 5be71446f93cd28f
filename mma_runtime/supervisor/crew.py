"""How a run's tier agents are made: each with its model, its tools and its bounds."""

from collections.abc import Awaitable, Callable

from mma_runtime.costs import Close, Settled
from mma_runtime.errors import ActorFailed, ActorStopped, CommandFailed, Refused
from mma_runtime.events import Origin
from mma_runtime.kernel import Actor, Ref
from mma_runtime.model import Model
from mma_runtime.model.recorded import RecordedModel
from mma_runtime.rounds.known_files import KnownFiles
from mma_runtime.supervisor.job import Job, TierSettings
from mma_runtime.tiers import Equipment, Tier
from mma_runtime.tools.toolbox import NO_TOOLS, Toolbox

UNUSABLE = (Refused, ActorFailed, ActorStopped)
"""What an ask raises when an agent could not do its work."""


ANSWER_TOKENS = 4_000
"""The room that a history leaves for an answer without a limit."""


class Crew:
    """Makes tier agents as children of *parent*, the run's supervisor."""

    def __init__(self, job: Job, parent: Actor, costs: Ref) -> None:
        self._job = job
        self._parent = parent
        self._costs = costs
        self._is_limited = job.ledger.budgets.is_limited
        self._models: dict[tuple[str, ...], Model] = {}
        self._hired: dict[Ref, Origin] = {}

    async def hire(
        self,
        tier: Tier,
        *,
        origin: Origin | None = None,
        track: str = "",
        address: str | None = None,
        toolbox: Toolbox = NO_TOOLS,
        hint: Callable[[CommandFailed], Awaitable[str]] | None = None,
        known: KnownFiles | None = None,
    ) -> Ref:
        """Spawn an agent of *tier* on its settings, or on the model *address*.

        Its name tells its track, or its ticket and attempt: they are those of *origin*,
        where it has one. It works until `release`.
        """
        settings = self._job.tiers[tier]
        addresses = (address,) if address else (settings.address, *settings.fallbacks)
        model = self.model(*addresses)
        equipment = Equipment(
            origin=origin or Origin(run=self._job.run, tier=tier.value, track=track),
            model=model,
            emit=self._job.emit,
            toolbox=toolbox,
            max_rounds=settings.max_rounds,
            sampling=settings.sampling,
            context_tokens=_context(settings, model),
            prompts=self._job.prompts,
            rules=self._job.ground.rules,
            hint=hint,
            known=known,
            check=settings.check,
            observer=self._job.observer,
        )
        agent = await self._parent.spawn(
            equipment.origin.agent, settings.agent, equipment
        )
        self._hired[agent] = equipment.origin
        return agent

    def release(self, agent: Ref) -> None:
        """Stop an agent whose work is done; does not wait."""
        origin = self._hired.pop(agent, None)
        if origin is not None and self._is_limited:
            # What its ticket kept back for a conclusion is free again.
            self._costs.tell(Close(origin))

        agent.stop()

    async def dismiss(self) -> None:
        """Stop all agents and wait until what they spent is in the ledger.

        They are cancelled when they do not end within their grace.
        """
        for agent in self._hired:
            agent.stop()

        for agent in self._hired:
            await agent.join()

        self._hired.clear()
        await self._costs.ask(Settled())

    def model(self, *addresses: str) -> Model:
        """Return the model at the first of *addresses*, the others being fallbacks.

        There is one for the whole run.
        """
        model = self._models.get(addresses)
        if model is None:
            model = self._job.open_model(addresses, self._costs)
            ledger = self._job.ledger
            if ledger.tree.is_open:
                for route in model.routes:
                    route.write_to(ledger)

            if self._job.journal.is_on:
                model = RecordedModel(model, self._job.journal)

            self._models[addresses] = model

        return model


def _context(settings: TierSettings, model: Model) -> int:
    """Return how long a history may be: as set, or what the model takes if less."""
    fits = model.provider.capabilities(model.name).context
    if fits is None:
        return settings.context_tokens

    answer = settings.sampling.max_output_tokens or ANSWER_TOKENS
    # Our estimate of tokens is rough, and tools and system prompt come on top.
    return min(settings.context_tokens, max(int(fits * 0.8) - answer, fits // 2))
