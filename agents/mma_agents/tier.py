"""What the agents of all tiers share: prompts, a conversation, answers in JSON."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel

from mma_agents.prompts import prompt
from mma_runtime.errors import (
    AnswerUnusable,
    BudgetExhausted,
    ConfigurationError,
    PlanRejected,
    ProviderError,
    Refused,
)
from mma_runtime.events import AnswerRejected, HistoryCut, Origin
from mma_runtime.kernel import Actor, Restart
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Completion,
    Finish,
    Image,
    Text,
    user,
)
from mma_runtime.observing import around_agent
from mma_runtime.rounds.conversation import Conversation
from mma_runtime.tiers import Equipment, Tier
from mma_runtime.tiers.briefing import check_images
from mma_runtime.tiers.reading import read_answer
from mma_runtime.tiers.sight import SEES, Sort

TRIES = 3
"""How often a model may answer before its answer counts as unusable."""

ShapeT = TypeVar("ShapeT", bound=BaseModel)


class TierAgent(Actor):
    """Base of the tier agents; *tier* says which one, and so what it may see.

    What an agent is told goes through `prompt`, which shows nothing that its tier must
    not see. A crash is not repaired by a restart: the agent's memory would be gone, and
    its supervisor decides what to do about the ticket or track.

    Raises:
        ConfigurationError: A prompt of the scenario shows what the tier must not see.
    """

    restart: ClassVar[Restart] = "temporary"
    # Its supervisor asks it one thing after the other, and has thousands of its like.
    in_askers_task: ClassVar[bool] = True
    tier: ClassVar[Tier]

    def __init__(self, equipment: Equipment) -> None:
        self.equipment = equipment
        self.conversation: Conversation = Conversation(system=self._system())

    def prompt(self, occasion: str, **slots: str) -> str:
        """Fill the prompt for *occasion*, the scenario's own where it has one.

        Raises:
            ConfigurationError: The tier must not see what it would be shown.
            KeyError: A slot of the prompt has no value.
        """
        return prompt(occasion, self.tier, self.equipment.prompts, **slots)

    def origin(self, task: str, **where: Any) -> Origin:
        """Say where in the run this agent is while it works on *task*.

        *where* sets fields of the origin: `track`, `ticket`, `attempt`.
        """
        return replace(self.equipment.origin, task=task, **where)

    def observed(self, origin: Origin) -> AbstractContextManager[object]:
        """Return what surrounds the work on one task for those who look on."""
        model = self.equipment.model.address
        return around_agent(self.equipment.observer, origin, model)

    def check_images(self, images: tuple[Image, ...]) -> None:
        """Refuse images that the agent's model does not take; raises `Refused`."""
        model = self.equipment.model
        takes_images = model.provider.capabilities(model.name).images
        try:
            check_images(images, model.address, takes_images=takes_images)
        except ConfigurationError as error:
            raise Refused(str(error)) from error

    def _system(self) -> str:
        # Role, then rules: the same for every agent of the tier, so that all their
        # requests begin alike and a provider's cache is hit.
        role = self.prompt(self.tier.value)
        rules = self.equipment.rules
        if not rules or Sort.RULES not in SEES[self.tier]:
            return role

        return f"{role}\n\n## Rules of the project\n\n{rules}"


@contextmanager
def refusals() -> Generator[None]:
    """Turn errors of models and budgets into answers: `Refused`, with the cause."""
    try:
        yield
    except (ProviderError, AnswerUnusable, BudgetExhausted) as error:
        raise Refused(str(error)) from error


class PlanningAgent(TierAgent):
    """An agent that answers in JSON and remembers what it was asked and answered."""

    def __init__(self, equipment: Equipment) -> None:
        super().__init__(equipment)
        self._calls = Counter[Origin]()

    async def answer(
        self,
        shape: type[ShapeT],
        question: str,
        origin: Origin,
        check: Callable[[ShapeT], None] = lambda _: None,
        images: tuple[Image, ...] = (),
    ) -> ShapeT:
        """Ask the model *question* until it answers in *shape*, at most `TRIES` times.

        What is wrong with an answer goes back to the model; *check* raises
        `PlanRejected` for an answer that has the form but cannot be used. Cancellation
        ends the call; the conversation keeps the question.

        Raises:
            Refused: No answer could be used, a budget has no room, or the model could
                not be reached.
        """
        conversation = self.conversation
        conversation.say(question, images)
        if cut := conversation.fit(self.equipment.context_tokens):
            event = HistoryCut(origin=origin, turns=cut.turns, tokens=cut.tokens)
            self.equipment.emit(event)

        problem = ""
        with refusals(), self.observed(origin):
            for tries in range(1, TRIES + 1):
                reply, finish = await self._ask(shape, origin)
                kept = reply if reply.parts else AssistantTurn((Text("…"),))
                conversation.turns.append(kept)
                try:
                    found = parse(shape, reply.text, finish)
                    check(found)
                except PlanRejected as error:
                    problem = str(error)
                else:
                    return found

                self.equipment.emit(
                    AnswerRejected(origin=origin, problem=problem, tries=tries)
                )
                conversation.say(
                    f"That cannot be used: {problem}\n\nAnswer again, JSON only."
                )

            raise AnswerUnusable(origin.tier, TRIES, problem)

    async def _ask(
        self, shape: type[BaseModel], origin: Origin
    ) -> tuple[AssistantTurn, Finish]:
        self._calls[origin] += 1
        completion = await self.equipment.model.complete(
            request(
                self.equipment,
                self.conversation,
                origin,
                turn=self._calls[origin],
                shape=shape,
            )
        )
        return completion.turn, completion.finish


class OneShotAgent(TierAgent):
    """An agent that keeps nothing: no question knows of another."""

    def __init__(self, equipment: Equipment) -> None:
        super().__init__(equipment)
        self._calls = 0

    async def once(
        self, question: str, origin: Origin, shape: type[BaseModel] | None = None
    ) -> Completion:
        """Ask the model *question* and nothing else; cancellation ends the call.

        Raises what `Model.complete` raises: `ProviderError`, `BudgetExhausted`.
        """
        self._calls += 1
        conversation = Conversation(
            system=self.conversation.system, turns=[user(question)]
        )
        asked = request(
            self.equipment, conversation, origin, turn=self._calls, shape=shape
        )
        with self.observed(origin):
            return await self.equipment.model.complete(asked)


def request(
    equipment: Equipment,
    conversation: Conversation,
    origin: Origin,
    *,
    turn: int,
    shape: type[BaseModel] | None = None,
) -> ChatRequest:
    """Put what an agent asks without tools into a request."""
    sampling = equipment.sampling
    return ChatRequest(
        model=equipment.model.name,
        system=conversation.system,
        turns=tuple(conversation.turns),
        temperature=sampling.temperature,
        max_output_tokens=sampling.max_output_tokens,
        reasoning_effort=sampling.reasoning_effort,
        response_schema=_schema(shape) if shape is not None else None,
        origin=origin,
        turn=turn,
    )


@cache
def _schema(shape: type[BaseModel]) -> dict[str, Any]:
    # Building one takes a millisecond.
    return shape.model_json_schema()


def parse(shape: type[ShapeT], text: str, finish: Finish) -> ShapeT:
    """Read an answer in JSON, in a code block or not.

    Raises `PlanRejected` with what is wrong with it, in words for a model.
    """
    if finish is Finish.LENGTH:
        raise PlanRejected(["the answer was cut off at the output limit; be shorter"])

    return read_answer(shape.model_validate_json, text)
