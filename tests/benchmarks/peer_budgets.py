"""The same shared budget with pydantic-ai; needs the group `bench`."""

import anyio
from pydantic_ai import Agent, UsageLimits
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage, RunUsage


async def calls_of(workers: int) -> int:
    """Return how many calls *workers* make that share a limit of 5,500 tokens."""
    calls = 0

    async def slowly(_messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
        nonlocal calls
        calls += 1
        await anyio.sleep(0.01)
        return ModelResponse(
            parts=[TextPart("x")],
            usage=RequestUsage(input_tokens=1_000, output_tokens=100),
        )

    agent = Agent(FunctionModel(slowly))
    shared = RunUsage()
    limits = UsageLimits(total_tokens_limit=5_500)

    async def work() -> None:
        try:
            await agent.run("go", usage=shared, usage_limits=limits)
        except UsageLimitExceeded:
            return

    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(work)

    return calls
