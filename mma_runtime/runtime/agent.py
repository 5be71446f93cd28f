"""A single agent with tools, for who needs no team."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, Generic

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from typing_extensions import TypeVar

from mma_runtime.arguments import check_kind, check_text, several
from mma_runtime.costs.report import CostReport
from mma_runtime.errors import AnswerMissing, ArgumentInvalid, PlanRejected
from mma_runtime.outcome import Outcome, RunState
from mma_runtime.plan import Ticket
from mma_runtime.scenario.schema import Scenario, TierOptions, Tiers
from mma_runtime.scenario.spending import Budget
from mma_runtime.tiers.reading import read_answer
from mma_runtime.tools.tool import Tool, checked_tools

OutputT = TypeVar("OutputT", default=str)

INSTRUCTIONS = "Answer what you are asked, with your tools where they help."
NO_BUDGET = Budget()

_ON_JSON = """Answer with JSON that this schema describes, and nothing else:

{schema}"""


class Agent(Generic[OutputT]):
    """A model with instructions and tools; ask it by `Runtime.ask`.

    *model* is `provider:model`, or several, tried in order when one is not available.
    *output* is the type of its answers: a pydantic model, a dataclass, or whatever
    pydantic knows; the model is told its JSON schema, and what does not fit goes back
    to it twice, within *max_tool_rounds*. Without *output*, or with `str`, an answer is
    text.

    *max_tool_rounds* bounds the model calls of one question, `MAX_TOOL_ROUNDS` (10) by
    default. *budget* is for one question, in US dollars, tokens, calls, seconds.
    *temperature* (from 0 to 2), *max_output_tokens* (of one reply) and
    *reasoning_effort* are the provider's where they are left out. *name* is that of its
    runs.

    It holds no state and may be asked many times at once; no question knows of another.

    Raises:
        ArgumentInvalid: Something given is of the wrong kind or out of its bounds.
        ConfigurationError: Two tools have the same name.
    """

    def __init__(
        self,
        model: str | Sequence[str],
        *,
        instructions: str = INSTRUCTIONS,
        tools: Sequence[Tool] = (),
        output: type[OutputT] | None = None,
        budget: Budget = NO_BUDGET,
        max_tool_rounds: int | None = None,
        temperature: float | None = None,
        max_output_tokens: int | None = None,
        reasoning_effort: str | None = None,
        name: str = "agent",
    ) -> None:
        check_text("instructions", instructions)
        check_text("name", name)
        check_kind("budget", budget, Budget, "a `Budget`")
        self.tools: tuple[Tool, ...] = checked_tools(tools)
        self.instructions = instructions
        # Text is what a model says anyway; as JSON it would have to be quoted.
        self._output = None if output is str else output
        self._name = name
        self._budget = budget
        self._adapter = _adapter_of(output)
        self._schema = ""
        if self._output is not None:
            self._schema = json.dumps(self._adapter.json_schema()).replace("$", "$$")

        try:
            self._options = TierOptions(
                model=_models(model),
                max_tool_rounds=max_tool_rounds,
                temperature=temperature,
                max_output_tokens=max_output_tokens,
                reasoning_effort=reasoning_effort,
                attempts=1,
            )
        except ValidationError as error:
            raise _refusal(error) from error

    def __repr__(self) -> str:
        return f"<agent {self._name!r} on {self._options.model}>"

    def scenario(self, question: str) -> Scenario:
        """Return the scenario of one question: one ticket for one worker.

        Raises:
            ArgumentInvalid: The question is no text.
        """
        check_text("question", question)
        return Scenario(
            name=self._name,
            tiers=Tiers(worker=self._options),
            budget=self._budget,
            tickets=(Ticket(id="question", description=question),),
        )

    @property
    def prompts(self) -> dict[str, Template]:
        """What its worker is told in place of what a worker of a team is told."""
        question = "$description"
        if self._output is not None:
            question += "\n\n" + _ON_JSON.format(schema=self._schema)

        return {
            "worker": Template(self.instructions.strip().replace("$", "$$")),
            "do_ticket": Template(question),
        }

    def check(self, answer: str) -> None:
        """Raise `PlanRejected`, in words for the model, if *answer* does not fit."""
        self.read(answer)

    def read(self, answer: str) -> OutputT:
        """Return *answer* as what it is to be; raises as `check`."""
        if self._output is None:
            return self._adapter.validate_python(answer)

        return read_answer(self._adapter.validate_json, answer)


def _adapter_of(output: type[OutputT] | None) -> TypeAdapter[OutputT]:
    form: Any = str if output is None else output
    try:
        return TypeAdapter(form)
    except PydanticUserError as error:
        wanted = "a type that pydantic knows: a model, a dataclass, `list[int]`, …"
        raise ArgumentInvalid("output", output, wanted) from error


def _models(given: str | Sequence[str]) -> str | tuple[str, ...]:
    wanted = "`provider:model`, as in 'openai:gpt-4o-mini', or several of them"
    models = (given,) if isinstance(given, str) else several("model", given, wanted)
    for one in models or ("",):
        check_text("model", one, wanted)
        if not one.strip():
            raise ArgumentInvalid("model", one, wanted)

    return given if isinstance(given, str) else models


def _refusal(error: ValidationError) -> ArgumentInvalid:
    """Return the first of pydantic's complaints as ours."""
    first = error.errors(include_url=False)[0]
    wanted = first["msg"].removeprefix("Input should be ")
    return ArgumentInvalid(str(first["loc"][0]), first["input"], wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[OutputT]):
    """What an agent answered, and how its run ended.

    *rounds* counts the model calls that it took.
    """

    output: OutputT
    rounds: int
    outcome: Outcome

    @property
    def costs(self) -> CostReport:
        """What it cost."""
        return self.outcome.costs


def answer_of(
    agent: Agent[OutputT], outcome: Outcome, failure: BaseException | None
) -> Answer[OutputT]:
    """Return the answer in *outcome*; raises `AnswerMissing` where there is none.

    *failure* is what kept the agent from one, if anything did.
    """
    (ticket,) = outcome.tickets
    if not outcome.completed:
        raise _missing(outcome, ticket.reason or outcome.reason) from failure

    try:
        output = agent.read(ticket.answer)
    except PlanRejected as error:
        # A worker of somebody else's need not have looked at its own answer.
        raise _missing(outcome, f"the answer does not fit: {error}") from error

    return Answer(output=output, rounds=ticket.rounds, outcome=outcome)


def _missing(outcome: Outcome, reason: str) -> AnswerMissing:
    (ticket,) = outcome.tickets
    state = RunState.FAILED if outcome.completed else outcome.state
    return AnswerMissing(
        run=outcome.run,
        state=state.value,
        reason=reason,
        partial=ticket.answer,
        usd=outcome.costs.total.usd,
        unknown_calls=outcome.costs.total.unknown_calls,
    )
