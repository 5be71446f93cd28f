"""A single agent with tools: its answer, its type, its costs, and what goes wrong."""

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

import anyio
import pytest
from pydantic import BaseModel

from mma_agents import TierAgent
from mma_runtime import Agent, Budget, RunState, Runtime, Tier, handles, tool
from mma_runtime.errors import (
    AnswerMissing,
    AuthenticationFailed,
    ConfigurationError,
    ModelNotFound,
    PlanRejected,
    ProviderFacts,
    ToolFailed,
)
from mma_runtime.events import ActorCrashed, AnswerRejected, ToolCallFinished
from mma_runtime.llm.chat import ChatRequest, ToolTurn, UserTurn
from mma_runtime.recording.forking import ForkPoint
from mma_runtime.testing import FunctionProvider
from mma_runtime.tiers import DoTicket, TicketReport
from tests.team import Said, project, scenario, team, use

FACTS = ProviderFacts(provider="function", model="m")


class Forecast(BaseModel):
    city: str
    rain: bool


@dataclass
class Sum:
    value: int


@tool
async def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


def says(*replies: Said | Exception) -> FunctionProvider:
    """Return a model that gives *replies* one after the other."""
    left = list(replies)

    def answer(_request: ChatRequest) -> Said:
        said = left.pop(0)
        if isinstance(said, Exception):
            raise said

        return said

    return FunctionProvider(answer)


def asked(request: ChatRequest) -> str:
    first = request.turns[0]
    assert isinstance(first, UserTurn)
    return "".join(getattr(part, "text", "") for part in first.parts)


async def test_an_agent_uses_its_tools_and_answers_in_text(tmp_path: Path) -> None:
    model = says(use("weather", city="Bergen"), "It rains.")
    agent = Agent("function:m", tools=[weather], instructions="You cost $5.")
    async with Runtime(home=tmp_path / "home", providers=[model]) as runtime:
        answer = await runtime.ask(agent, "Rain in ${city}?")
        spent = await runtime.costs()

    assert answer.output == "It rains."
    assert answer.rounds == answer.costs.total.calls == spent.total.calls == 2
    assert model.requests[0].system == "You cost $5."
    assert asked(model.requests[0]) == "Rain in ${city}?"
    assert [spec.name for spec in model.requests[0].tools] == ["weather"]
    results = model.requests[1].turns[-1]
    assert isinstance(results, ToolTurn)
    assert "rain in Bergen" in str(results.results[0].content)
    assert not (tmp_path / "home").exists()


async def test_an_answer_has_the_type_that_it_is_asked_for(tmp_path: Path) -> None:
    model = says('```json\n{"city": "Bergen", "rain": true}\n```', '{"value": 4}')
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        forecast = await runtime.ask(Agent("function:m", output=Forecast), "Rain?")
        total = await runtime.ask(Agent("function:m", output=Sum), "2 + 2?")

    assert forecast.output == Forecast(city="Bergen", rain=True)
    assert total.output == Sum(4)
    assert '"rain": {"title": "Rain"' in asked(model.requests[0])


async def test_an_answer_that_does_not_fit_goes_back_with_what_is_wrong(
    tmp_path: Path,
) -> None:
    model = says("It rains.", '{"city": "Bergen"}', '{"city": "B", "rain": false}')
    agent = Agent("function:m", output=Forecast)
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        run = await runtime.start_agent(agent, "Rain?")
        events = [event async for event in run.events()]
        outcome = await run.outcome()

    problems = [e.problem for e in events if isinstance(e, AnswerRejected)]
    assert "Invalid JSON" in problems[0]
    assert problems[1] == "rain: Field required"
    assert agent.read(outcome.tickets[0].answer) == Forecast(city="B", rain=False)
    assert outcome.tickets[0].rounds == 3


async def test_an_answer_that_never_fits_is_missing(tmp_path: Path) -> None:
    model = says("no", "no", "no")
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        with pytest.raises(AnswerMissing, match="Invalid JSON") as caught:
            await runtime.ask(Agent("function:m", output=Forecast), "Rain?")

    assert caught.value.state == RunState.FAILED
    assert len(model.requests) == 3


async def test_rounds_bound_an_agent_and_its_partial_answer_is_kept(
    tmp_path: Path,
) -> None:
    model = says(use("weather", city="a"), "so far: rain", use("weather", city="b"))
    agent = Agent("function:m", tools=[weather], max_tool_rounds=1)
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        with pytest.raises(AnswerMissing) as caught:
            await runtime.ask(agent, "Rain?")

    assert caught.value.state == RunState.BOUNDED
    assert "last of 1 tool rounds" in caught.value.reason


@pytest.mark.parametrize(("bound", "calls"), [(1, 1), (2, 2), (3, 3), (9, 3)])
async def test_answers_that_are_sent_back_count_within_the_bound_of_an_agent(
    bound: int, calls: int, tmp_path: Path
) -> None:
    model = FunctionProvider(lambda _: "no number")
    agent = Agent("function:m", output=int, max_tool_rounds=bound)
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        with pytest.raises(AnswerMissing) as caught:
            await runtime.ask(agent, "How many?")

    assert len(model.requests) == calls
    assert f"{calls}" in caught.value.reason


async def test_a_budget_bounds_an_agent_before_the_call(tmp_path: Path) -> None:
    model = says("never")
    agent = Agent("function:m", budget=Budget(tokens=5))
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        with pytest.raises(AnswerMissing) as caught:
            await runtime.ask(agent, "Rain?")

    assert caught.value.state == RunState.OVER_BUDGET
    assert model.requests == []
    assert caught.value.usd == Decimal(0)


async def test_a_provider_that_fails_is_named(tmp_path: Path) -> None:
    model = says(AuthenticationFailed("no such key", FACTS))
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        with pytest.raises(AnswerMissing, match="no such key") as caught:
            await runtime.ask(Agent("function:m"), "Rain?")

    assert caught.value.state == RunState.PROVIDER_FAILED


async def test_an_unknown_provider_is_said_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    async with Runtime(home=tmp_path, environment={}) as runtime:
        with pytest.raises(ConfigurationError, match="did you mean `openai`"):
            await runtime.ask(Agent("opanai:gpt-4o-mini"), "Rain?")


async def test_a_cancelled_question_ends_its_run_and_what_it_spent_is_known(
    tmp_path: Path,
) -> None:
    begun = anyio.Event()

    async def never(_request: ChatRequest) -> Said:
        begun.set()
        await anyio.sleep_forever()
        return "never"

    model = FunctionProvider(never)
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(runtime.ask, Agent("function:m"), "Rain?")
                await begun.wait()
                group.cancel_scope.cancel()

            spent = await runtime.costs()

    assert spent.total.unknown_calls == 1
    assert spent.total.calls == 1


async def test_many_questions_at_once_know_nothing_of_each_other(
    tmp_path: Path,
) -> None:
    model = FunctionProvider(lambda request: f"echo: {asked(request)}")
    agent = Agent("function:m")
    answers: dict[int, str] = {}

    async def ask(number: int) -> None:
        answers[number] = (await runtime.ask(agent, f"question {number}")).output

    async with (
        Runtime(home=tmp_path, providers=[model]) as runtime,
        anyio.create_task_group() as group,
    ):
        for number in range(20):
            group.start_soon(ask, number)

    assert answers == {number: f"echo: question {number}" for number in range(20)}


async def test_the_next_model_answers_when_the_first_is_not_to_be_had(
    tmp_path: Path,
) -> None:
    def answer(request: ChatRequest) -> Said:
        if request.model == "first":
            raise ModelNotFound("no", FACTS)

        return request.model

    model = FunctionProvider(answer)
    agent = Agent(["function:first", "function:second"])
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        answered = await runtime.ask(agent, "who?")

    assert answered.output == "second"


async def test_the_tools_of_the_runtime_are_for_teams_and_not_for_agents(
    tmp_path: Path,
) -> None:
    model = says("no tools")
    async with Runtime(home=tmp_path, providers=[model], tools=[weather]) as runtime:
        run = await runtime.start_agent(Agent("function:m"), "Rain?")
        events = [event async for event in run.events()]

    assert model.requests[0].tools == ()
    assert not [event for event in events if isinstance(event, ToolCallFinished)]


@pytest.mark.parametrize("again", ["resume", "replay", "fork"])
async def test_a_recorded_question_is_not_gone_on_with_as_if_a_team_had_it(
    tmp_path: Path, again: str
) -> None:
    model = says("no tools")
    async with Runtime(home=tmp_path, providers=[model], journal=True) as runtime:
        run = await runtime.start_agent(Agent("function:m", tools=[weather]), "Rain?")
        await run.outcome()
        ways = {
            "resume": partial(runtime.resume, run.id),
            "replay": partial(runtime.replay, run.id, tmp_path / "scratch"),
            "fork": partial(runtime.fork, run.id, ForkPoint(event=1)),
        }
        with pytest.raises(ConfigurationError, match=r"single agent's.*`Runtime\.ask`"):
            await ways[again]()

    assert len(model.requests) == 1


def test_an_agent_shows_its_model_and_refuses_impossible_bounds() -> None:
    assert repr(Agent("openai:gpt-4o-mini")) == "<agent 'agent' on openai:gpt-4o-mini>"
    with pytest.raises(ValueError, match="greater than 0"):
        Agent("openai:gpt-4o-mini", max_tool_rounds=0)


async def test_text_may_be_asked_for_by_its_type(tmp_path: Path) -> None:
    model = says("plain words")
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        answer = await runtime.ask(Agent("function:m", output=str), "Rain?")

    assert answer.output == "plain words"
    assert "JSON" not in asked(model.requests[0])


class Careless(TierAgent):
    """A worker that does not look at its own answer."""

    tier = Tier.WORKER

    @handles
    async def work(self, _request: DoTicket) -> TicketReport:
        return TicketReport(answer="no JSON", rounds=1)


class Faulty(TierAgent):
    """A worker with a bug."""

    tier = Tier.WORKER

    @handles
    async def work(self, _request: DoTicket) -> TicketReport:
        raise KeyError("my bug")


async def test_an_answer_that_a_worker_of_ones_own_did_not_check_is_missing(
    tmp_path: Path,
) -> None:
    async with Runtime(
        home=tmp_path, providers=[says()], agents={"worker": Careless}
    ) as runtime:
        with pytest.raises(AnswerMissing, match="does not fit: Invalid JSON") as caught:
            await runtime.ask(Agent("function:m", output=Forecast), "Rain?")

    assert caught.value.state == RunState.FAILED
    assert caught.value.partial == "no JSON"
    assert isinstance(caught.value.__cause__, PlanRejected)


async def test_a_bug_is_the_cause_of_a_missing_answer_and_its_place_is_told(
    tmp_path: Path,
) -> None:
    async with Runtime(
        home=tmp_path, providers=[says()], agents={"worker": Faulty}
    ) as runtime:
        run = await runtime.start_agent(Agent("function:m"), "Rain?")
        crashed = [e async for e in run.events() if isinstance(e, ActorCrashed)]
        with pytest.raises(AnswerMissing) as caught:
            await runtime.ask(Agent("function:m"), "Rain?")

    assert [event.origin.run for event in crashed] == [run.id]
    assert f"{__file__}:" in crashed[0].where[-1]
    assert crashed[0].where[-1].endswith(" in work")
    assert isinstance(caught.value.__cause__, KeyError)


async def test_the_error_of_a_provider_is_the_cause_of_a_missing_answer(
    tmp_path: Path,
) -> None:
    error = AuthenticationFailed("no such key", FACTS)
    async with Runtime(home=tmp_path, providers=[says(error)]) as runtime:
        with pytest.raises(AnswerMissing) as caught:
            await runtime.ask(Agent("function:m"), "Rain?")

    assert caught.value.__cause__ is error


@tool
async def broken() -> str:
    """Fail."""
    raise KeyError("a tool's bug")


@tool
async def declining() -> str:
    """Say no."""
    raise ToolFailed("not today")


async def test_the_place_of_a_tools_bug_is_told_and_none_of_a_tools_no(
    tmp_path: Path,
) -> None:
    model = says(use("broken"), use("declining"), "done")
    agent = Agent("function:m", tools=[broken, declining])
    async with Runtime(home=tmp_path, providers=[model]) as runtime:
        run = await runtime.start_agent(agent, "Rain?")
        bug, no = [e async for e in run.events() if isinstance(e, ToolCallFinished)]

    assert bug.where[-1].endswith(" in broken")
    assert no.is_error
    assert no.where == ()


def test_two_tools_of_one_name_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="two tools are named 'weather'"):
        Agent("function:m", tools=[weather, weather])

    with pytest.raises(ConfigurationError, match="two tools are named 'weather'"):
        Runtime(tools=[weather, weather])


async def test_a_tool_with_a_native_ones_name_is_refused_at_the_start(
    tmp_path: Path,
) -> None:
    @tool(name="read_file")
    async def mine(path: str) -> str:
        """Read it my way."""
        return path

    folder = str(project(tmp_path / "p", a__txt="a"))
    async with Runtime(
        home=tmp_path / "home", providers=[team()], tools=[mine]
    ) as runtime:
        with pytest.raises(ConfigurationError, match="'read_file': yours and"):
            await runtime.start(scenario(workspace={"path": folder}))

        run = await runtime.start(scenario())
        assert (await run.outcome()).completed
