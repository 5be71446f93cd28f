# %% [markdown]
# # What each tier has cost, over the time of a run
#
# Runs as a program (`python cost_over_time.py`), and cell by cell in an editor that
# knows `# %%`. Needs `matplotlib`.

# %%
import sys
from collections import defaultdict
from decimal import Decimal

import anyio
import matplotlib as mpl
from matplotlib import pyplot as plt

from mma_runtime import Outcome, Runtime
from mma_runtime.events import Event, ModelCallFinished

SCENARIO = sys.argv[1] if len(sys.argv) > 1 else "scenarios/quickstart.yaml"
mpl.use("svg")


# %% Run it, and keep what happened.
async def watch() -> tuple[list[Event], Outcome]:
    async with Runtime() as runtime:
        run = await runtime.start(SCENARIO)
        events = [event async for event in run.events()]
        return events, await run.outcome()


events, outcome = anyio.run(watch)
print(f"{outcome.name}: {outcome.state}, ${outcome.costs.total.usd}")

# %% Add up, tier by tier. What a call has cost may be unknown: that is no zero.
began = events[0].time
curves: dict[str, list[tuple[float, Decimal]]] = defaultdict(lambda: [(0, Decimal(0))])
for event in events:
    if isinstance(event, ModelCallFinished) and event.usd is not None:
        curve = curves[event.origin.tier]
        curve.append((event.time - began, curve[-1][1] + event.usd))

for tier, curve in curves.items():
    print(f"{tier:>13}  {len(curve) - 1:>3} calls  ${curve[-1][1]}")

# %% Draw it.
figure, axes = plt.subplots(figsize=(8, 4))
for tier, curve in curves.items():
    steps = [*curve, (events[-1].time - began, curve[-1][1])]
    seconds, dollars = [at for at, _ in steps], [float(usd) for _, usd in steps]
    axes.step(seconds, dollars, where="post", label=tier)

axes.set(xlabel="seconds", ylabel="US dollars", title=outcome.name)
axes.legend()
figure.savefig("costs.svg")
print("costs.svg")
