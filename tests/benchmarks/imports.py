"""What starting costs: imports and `mma --help`, each beside what it needs anyway.

`python tests/benchmarks/imports.py`. Times are wall time of a whole process in
milliseconds, the median of rounds in which the commands take turns; "net" is without
the bare interpreter.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15

USED = """
import anyio.to_thread, anyio.abc, yaml
from pydantic import BaseModel
class Model(BaseModel):
    number: int
"""
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import anyio, pydantic": ["-c", "import anyio, pydantic"],
    "import mma_runtime": ["-c", "import mma_runtime"],
    "from mma_runtime import Runtime": ["-c", "from mma_runtime import Runtime"],
    "import click": ["-c", "import click"],
    "mma --help": ["-m", "mma_runtime", "--help"],
    # What `import anyio, pydantic` leaves for first use, and what Runtime uses.
    "anyio, pydantic, used": [
        "-c",
        USED,
    ],
}
RATIOS = [
    ("import mma_runtime", "import anyio, pydantic", 2.5),
    ("from mma_runtime import Runtime", "import anyio, pydantic", None),
    ("from mma_runtime import Runtime", "anyio, pydantic, used", None),
    ("mma --help", "import click", 2.5),
]
HEAVY = ("openai", "anthropic", "google.genai", "trio", "rich", "genai_prices")


def measure() -> dict[str, float]:
    """Return each command's median, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments], check=True, capture_output=True
            )
            times[name].append((time.perf_counter() - began) * 1000)

    return {name: statistics.median(taken) for name, taken in times.items()}


def loaded(statement: str) -> list[str]:
    """Return which heavy modules *statement* loads."""
    code = f"{statement}\nimport sys\nprint(*set({HEAVY!r}) & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def main() -> None:
    medians = measure()
    bare = medians["python -c pass"]
    print(f"{'command':34} {'wall ms':>8} {'net ms':>8}   (median of {ROUNDS})")
    for name, median in medians.items():
        print(f"{name:34} {median:8.1f} {median - bare:8.1f}")

    print()
    for name, reference, limit in RATIOS:
        ratio = medians[name] / medians[reference]
        goal = f"  (at most {limit})" if limit else ""
        print(f"{name} / {reference}: {ratio:.2f}×{goal}")

    print()
    for statement in ("import mma_runtime", "from mma_runtime import Runtime"):
        names = ", ".join(loaded(statement)) or "none"
        print(f"{statement}: of {', '.join(HEAVY)} it loads {names}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
