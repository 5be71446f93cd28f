"""What type checkers know of the embedding API; read by them, never run."""

from decimal import Decimal
from typing import assert_type

from pydantic import BaseModel, RootModel

import mma_runtime
from mma_agents import TierAgent
from mma_runtime import (
    Actor,
    Agent,
    Answer,
    Budget,
    CostReport,
    Event,
    Outcome,
    Ref,
    Run,
    RunState,
    Runtime,
    Scenario,
    Ticket,
    Tier,
    TierOptions,
    Tiers,
    tool,
)


class Forecast(BaseModel):
    rain: bool


class Counter(Actor):
    def __init__(self, start: int) -> None:
        self.total = start


class Reviewer(TierAgent):
    tier = Tier.TECH_LEAD


@tool
async def weather(city: str) -> str:
    return city


async def asking(runtime: Runtime) -> None:
    plain = Agent("openai:gpt-4o-mini", tools=[weather])
    assert_type(plain, Agent[str])
    assert_type(await runtime.ask(plain, "Rain?"), Answer[str])
    typed = Agent("openai:gpt-4o-mini", output=Forecast)
    answer = await runtime.ask(typed, "Rain?")
    assert_type(answer.output, Forecast)
    assert_type(answer.output.rain, bool)
    assert_type(answer.costs, CostReport)
    assert_type(await runtime.start_agent(typed, "Rain?"), Run)
    assert_type(Agent("openai:m", output=list[int]), Agent[list[int]])
    maybe = Agent("openai:m", output=RootModel[Forecast | None])
    assert_type((await runtime.ask(maybe, "Rain?")).output.root, Forecast | None)
    Agent()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Agent("openai:m", tools=weather)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await runtime.ask(plain)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def running(runtime: Runtime) -> None:
    built = Scenario(
        tiers=Tiers(worker=TierOptions(model="openai:gpt-4o-mini")),
        tickets=(Ticket(id="one", description="do it"),),
        budget=Budget(usd=Decimal(1)),
    )
    run = await runtime.start(built, models={"worker": "openai:gpt-4o"})
    assert_type(run, Run)
    async for event in run.events(replay=True):
        assert_type(event, Event)

    outcome = await run.outcome()
    assert_type(outcome, Outcome)
    assert_type(outcome.state, RunState)
    assert_type(await run.cancel(), Outcome)
    assert_type(await runtime.costs(), CostReport)
    run.approve("question", {"city": "Bergen"}, all_alike=True)
    run.approve()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await runtime.start(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def hosting() -> None:
    async with Runtime(agents={"tech_lead": Reviewer}) as runtime:
        assert_type(runtime, Runtime)
        assert_type(await runtime.spawn("counter", Counter, 3), Ref)
        await runtime.spawn("counter", Counter)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        await runtime.spawn("counter", int, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]

    Runtime(agents={"tech_lead": int})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


def naming() -> None:
    assert_type(mma_runtime.Runtime(), Runtime)
    mma_runtime.Runtim()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
