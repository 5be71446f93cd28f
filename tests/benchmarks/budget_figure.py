"""Draws how a budget fills up, from three workers in virtual time.

Run it as `python -m tests.benchmarks.budget_figure > docs/budget.svg`.
"""

from collections.abc import Callable
from decimal import Decimal
from random import Random

import anyio

from mma_runtime.costs import CostAggregator, Ledger
from mma_runtime.costs.budget import Budget, Budgets
from mma_runtime.costs.reservations import WrapUp
from mma_runtime.errors import BudgetExhausted
from mma_runtime.events import Event, Origin
from mma_runtime.kernel import ActorSystem
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Completion,
    Finish,
    Text,
    user,
)
from mma_runtime.llm.pricing import PriceList
from mma_runtime.llm.usage import Usage
from mma_runtime.model import Model
from mma_runtime.model.route import Route
from mma_runtime.testing import FunctionProvider
from mma_runtime.testing.clock import virtual_backend

LIMIT = Decimal("0.50")
WIDTH, HEIGHT, LEFT, TOP = 640, 220, 50, 20
Sample = tuple[float, float, float, float]


async def samples() -> list[Sample]:
    """Return time, dollars spent, in flight and kept back, while a budget fills up."""
    draw = Random(3)  # noqa: S311 - the same in every run
    found: list[Sample] = []
    ledger = Ledger(Budgets(run=Budget(usd=LIMIT)))
    run = ledger.tree.run

    async def answer(request: ChatRequest) -> Completion:
        await anyio.sleep(draw.uniform(1, 8))
        most = request.max_output_tokens or 1_000
        return Completion(
            turn=AssistantTurn((Text("x"),)),
            finish=Finish.STOP,
            usage=Usage(input=600, output=min(most, draw.randrange(300, 1_500))),
            model="m",
        )

    def note(_event: Event | None = None) -> None:
        now = anyio.current_time()
        flying = run.held.usd - run.kept.usd
        spent, kept = float(run.spent.usd), float(run.kept.usd)
        found.append((now, spent, float(flying), kept))

    async with ActorSystem() as system:
        costs = await system.spawn("costs", CostAggregator, ledger, note)
        rates = PriceList().rates("openai", "gpt-4o")
        provider = FunctionProvider(answer)
        route = Route(provider, "m", costs=costs, emit=note, rates=rates)
        model = Model(route)

        async def work(name: str) -> None:
            request = ChatRequest(
                model="m",
                system="s" * 800,
                turns=(user("u" * 1_200),),
                origin=Origin(tier="worker", ticket=name),
            )
            wrap_up = WrapUp.KEEP
            while True:
                try:
                    await model.complete(request, wrap_up=wrap_up)
                except BudgetExhausted:
                    if wrap_up is WrapUp.USE:
                        return

                    wrap_up = WrapUp.USE
                else:
                    if wrap_up is WrapUp.USE:
                        return

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(work, f"t{number}")

    note()
    return found


def area(
    points: list[Sample], top: Callable[[Sample], float], x: Callable[[float], float]
) -> str:
    """Return the outline of what lies below *top*."""
    scale = HEIGHT / (float(LIMIT) * 1.1)
    path = [f"M{LEFT},{TOP + HEIGHT}"]
    y = float(TOP + HEIGHT)
    for point in points:
        path.append(f"L{x(point[0]):.1f},{y:.1f}")
        y = TOP + HEIGHT - top(point) * scale
        path.append(f"L{x(point[0]):.1f},{y:.1f}")

    path.append(f"L{x(points[-1][0]):.1f},{TOP + HEIGHT}Z")
    return "".join(path)


def main() -> None:
    """Print the picture."""
    backend, options = virtual_backend("asyncio")
    points = anyio.run(samples, backend=backend, backend_options=options)
    end = points[-1][0]

    def x(time: float) -> float:
        return LEFT + time / end * WIDTH

    limit = TOP + HEIGHT - HEIGHT / 1.1
    layers: tuple[tuple[str, str, Callable[[Sample], float]], ...] = (
        ("#f2c14e", "kept back for concluding turns", lambda p: p[1] + p[2] + p[3]),
        ("#8ab6d6", "reserved by calls in flight", lambda p: p[1] + p[2]),
        ("#2a6f97", "spent", lambda p: p[1]),
    )
    size = f"{LEFT + WIDTH + 20} {TOP + HEIGHT + 60}"
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}"'
        ' font-family="sans-serif" font-size="12">'
        '<rect width="100%" height="100%" fill="white"/>'
    )
    for number, (colour, name, top) in enumerate(layers):
        print(f'<path d="{area(points, top, x)}" fill="{colour}"/>')
        place = LEFT + number * 210
        print(
            f'<rect x="{place}" y="{TOP + HEIGHT + 32}" width="12" height="12"'
            f' fill="{colour}"/><text x="{place + 18}" y="{TOP + HEIGHT + 42}">{name}'
            "</text>"
        )
    print(
        f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{limit:.1f}" y2="{limit:.1f}"'
        ' stroke="#c1121f" stroke-width="2"/>'
        f'<text x="4" y="{limit + 4:.1f}">${LIMIT}</text>'
        f'<text x="{LEFT}" y="{TOP + HEIGHT + 16}">0 s</text>'
        f'<text x="{LEFT + WIDTH - 30}" y="{TOP + HEIGHT + 16}">{end:.0f} s</text>'
        "</svg>"
    )


if __name__ == "__main__":
    main()
