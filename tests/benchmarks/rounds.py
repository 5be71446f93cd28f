"""What one tool round costs, beside loops that do nothing but the round.

`python tests/benchmarks/rounds.py`. A model in process asks for one async tool that
does nothing, round after round. Figures are CPU time of the whole process in
microseconds for one round, the median of samples that take turns. Ours is a whole run
of one ticket, its start and end shared out over the rounds, with events and priced cost
events and without a journal.
"""

import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).parents[2]))

from mma_runtime import Runtime, Scenario, tool
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Text,
    ToolCall,
)
from mma_runtime.llm.provider import Capabilities, ModelInfo
from mma_runtime.llm.usage import Usage

ROUNDS = 300
SAMPLES = 11
USAGE = Usage(input=1_000, output=50)
ARGUMENTS = '{"number": 1}'


class Caller:
    """A model that asks for one tool until the last round."""

    name = "bench"
    account = "bench"

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion, None]:
        """Yield one completion."""
        call = ToolCall(f"c{request.turn}", "nothing", json.loads(ARGUMENTS), ARGUMENTS)
        last = request.turn >= ROUNDS
        yield Completion(
            turn=AssistantTurn((Text("done") if last else call,)),
            finish=Finish.STOP if last else Finish.TOOL_CALLS,
            usage=USAGE,
            model="m",
        )

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        """Cost what gpt-4o-mini costs."""
        return "openai", "gpt-4o-mini", False

    def capabilities(self, model: str) -> Capabilities:
        """Take anything."""
        return Capabilities()

    async def models(self) -> tuple[ModelInfo, ...]:
        """List nothing."""
        return ()

    async def aclose(self) -> None:
        """Close nothing."""


@tool
async def nothing(number: int) -> str:
    """Do nothing."""
    return str(number)


async def bare_dicts() -> None:
    """A loop over dicts: no validation, no events, no bound but the count."""

    async def model(messages: list[dict[str, Any]]) -> dict[str, Any]:
        return {"role": "assistant", "calls": [{"id": "c", "arguments": ARGUMENTS}]}

    async def run(number: int) -> str:
        return str(number)

    messages: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    for _ in range(ROUNDS):
        reply = await model(messages)
        messages.append(reply)
        for call in reply["calls"]:
            result = await run(**json.loads(call["arguments"]))
            messages.append({"role": "tool", "id": call["id"], "content": result})


class Arguments(BaseModel):
    """What a lean loop validates."""

    number: int


async def lean() -> None:
    """A loop on anyio and pydantic: validated arguments, a task group, a checkpoint."""

    async def model(messages: list[dict[str, object]]) -> str:
        await anyio.lowlevel.checkpoint()
        return ARGUMENTS

    messages: list[dict[str, object]] = []
    for _ in range(ROUNDS):
        arguments = Arguments.model_validate_json(await model(messages))
        messages.append({"content": str(arguments.number)})


async def ours(runtime: Runtime) -> None:
    """One ticket with as many rounds, through the whole runtime."""
    scenario = Scenario.model_validate(
        {
            "name": "bench",
            "tiers": {"worker": {"model": "bench:m", "max_tool_rounds": ROUNDS + 1}},
            "tickets": [{"id": "one", "description": "d"}],
        }
    )
    run = await runtime.start(scenario)
    outcome = await run.outcome()
    assert outcome.tickets[0].rounds == ROUNDS
    assert outcome.costs.total.calls == ROUNDS


async def main() -> None:
    async with Runtime(providers=[Caller()], tools=[nothing]) as runtime:
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "bare dict loop": bare_dicts,
            "lean loop on anyio and pydantic": lean,
            "mma-runtime": lambda: ours(runtime),
        }
        taken: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(SAMPLES):
            for name, loop in loops.items():
                began = time.process_time()
                await loop()
                taken[name].append((time.process_time() - began) / ROUNDS * 1e6)

    medians = {name: statistics.median(samples) for name, samples in taken.items()}
    bare = medians["bare dict loop"]
    for name, median in medians.items():
        print(f"{name:34} {median:7.1f} µs of CPU a round  {median / bare:6.1f}×")

    print("goal: at most 120 µs")


if __name__ == "__main__":
    for backend in ("asyncio", "trio"):
        print(f"-- {backend}: {ROUNDS} rounds, median of {SAMPLES}")
        anyio.run(main, backend=backend)
