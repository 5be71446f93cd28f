"""One run of a scripted model in a process of its own.

Prints the CPU seconds that the process took until the run had ended, and the names of
the modules that it loaded. Without the testing kit, which loads trio; the model stands
for no other, so that no prices are loaded.
"""

import sys
import time

import anyio

from mma_providers.script import Script
from mma_providers.scripted import ScriptedProvider
from mma_runtime import Runtime, Scenario

SCENARIO = {
    "name": "first",
    "tiers": {"worker": {"model": "bench:m"}},
    "tickets": [{"id": "t", "description": "d"}],
}
SCRIPT = {"replies": [{"tier": "worker", "text": "done"}]}


async def main() -> None:
    """Run the one ticket."""
    provider = ScriptedProvider(Script.model_validate(SCRIPT), name="bench")
    async with Runtime(providers=[provider]) as runtime:
        run = await runtime.start(Scenario.model_validate(SCENARIO))
        outcome = await run.outcome()

    assert outcome.completed, outcome


if __name__ == "__main__":
    anyio.run(main)
    print(time.process_time(), *sys.modules)  # noqa: T201 - a program, it prints
