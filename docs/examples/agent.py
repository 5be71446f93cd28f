"""One agent with two tools.

    python agent.py "Have we enough tea and salt for ten orders of each?"

Needs a key for the model, or the address of a server without one (`OPENAI_BASE_URL`).
"""

import sys

import anyio

from mma_runtime import Agent, Runtime, tool
from mma_runtime.errors import ToolFailed

STOCK = {"tea": 3, "salt": 12}
QUESTION = "Have we enough tea and salt for ten orders of each?"


@tool(read_only=True)
async def in_stock(article: str) -> int:
    """Tell how many of an article are in stock."""
    if article not in STOCK:
        raise ToolFailed(
            f"there is no article {article!r}; there is {', '.join(STOCK)}"
        )

    return STOCK[article]


@tool
async def reorder(article: str, count: int) -> str:
    """Order more of an article.

    Args:
        article: Its name, in small letters.
        count: How many.
    """
    STOCK[article] = STOCK.get(article, 0) + count
    return f"{count} more of {article} are on their way"


async def main() -> None:
    keeper = Agent("openai:gpt-4o-mini", tools=[in_stock, reorder])
    question = sys.argv[1] if len(sys.argv) > 1 else QUESTION
    async with Runtime() as runtime:
        answer = await runtime.ask(keeper, question)

    print(answer.output)
    print(f"{answer.rounds} rounds, ${answer.costs.total.usd}")


anyio.run(main)
