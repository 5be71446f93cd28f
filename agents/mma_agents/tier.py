"""What the agents of all tiers share: a conversation, and answers in a due form."""

import re
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mma_agents.prompts import prompt
from mma_runtime.errors import (
    AnswerUnusable,
    BudgetExhausted,
    PlanRejected,
    ProviderError,
    Refused,
)
from mma_runtime.events import AnswerRejected, Origin
from mma_runtime.kernel import Actor
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, Finish, Text, user
from mma_runtime.rounds import Conversation
from mma_runtime.tiers import Equipment

TRIES = 3
"""How often a model may answer before its answer counts as unusable."""

ShapeT = TypeVar("ShapeT", bound=BaseModel)

_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)


class TierAgent(Actor):
    """Base of the tier agents; *role* names the prompt that says what it is.

    A crash is not repaired by a restart: the agent's memory would be gone, and its
    supervisor decides what to do about the ticket or track.
    """

    restart = "temporary"
    role = ""

    def __init__(self, equipment: Equipment) -> None:
        self.equipment = equipment
        self.conversation = Conversation(system=prompt(self.role))

    def origin(self, task: str, **where: Any) -> Origin:
        """Say where in the run this agent is while it works on *task*.

        *where* sets fields of the origin: `track`, `ticket`, `attempt`.
        """
        return replace(self.equipment.origin, task=task, **where)


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
    ) -> ShapeT:
        """Ask the model *question* until it answers in *shape*, at most `TRIES` times.

        What is wrong with an answer goes back to the model; *check* raises
        `PlanRejected` for an answer that has the form but cannot be used. Raises
        `Refused` when no answer could be used or the model could not be reached.
        """
        turns = self.conversation.turns
        turns.append(user(question))
        problem = ""
        with refusals():
            for tries in range(1, TRIES + 1):
                reply, finish = await self._ask(shape, origin)
                turns.append(reply if reply.parts else AssistantTurn((Text("…"),)))
                try:
                    found = _parse(shape, reply.text, finish)
                    check(found)
                except PlanRejected as error:
                    problem = str(error)
                else:
                    return found

                self.equipment.emit(
                    AnswerRejected(origin=origin, problem=problem, tries=tries)
                )
                turns.append(
                    user(f"That cannot be used: {problem}\n\nAnswer again, JSON only.")
                )

            raise AnswerUnusable(origin.tier, TRIES, problem)

    async def _ask(
        self, shape: type[BaseModel], origin: Origin
    ) -> tuple[AssistantTurn, Finish]:
        self._calls[origin] += 1
        equipment = self.equipment
        completion = await equipment.model.complete(
            ChatRequest(
                model=equipment.model.name,
                system=self.conversation.system,
                turns=tuple(self.conversation.turns),
                temperature=equipment.sampling.temperature,
                max_output_tokens=equipment.sampling.max_output_tokens,
                reasoning_effort=equipment.sampling.reasoning_effort,
                response_schema=shape.model_json_schema(),
                origin=origin,
                turn=self._calls[origin],
            )
        )
        return completion.turn, completion.finish


def _parse(shape: type[ShapeT], text: str, finish: Finish) -> ShapeT:
    if finish is Finish.LENGTH:
        raise PlanRejected(["the answer was cut off at the output limit; be shorter"])

    if not text.strip():
        raise PlanRejected(["the reply was empty; JSON is due"])

    fenced = _FENCED.match(text)
    try:
        return shape.model_validate_json(fenced[1] if fenced else text)
    except ValidationError as error:
        raise PlanRejected(
            [
                ".".join(str(step) for step in detail["loc"])
                + (": " if detail["loc"] else "")
                + detail["msg"]
                for detail in error.errors(include_url=False, include_input=False)
            ]
        ) from error
