"""What starting costs: imports, `mma --help` and the first run, beside what they need.

`python tests/benchmarks/imports.py`. Times are of a whole process in milliseconds, the
median of rounds in which the commands take turns: wall time, and CPU time for the first
run; "net" is without the bare interpreter. All modules are compiled before, into a
folder of their own: of installed packages they are, too.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROUNDS = 15
FIRST_RUN = Path(__file__).parents[1] / "first_run.py"

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


def python(*arguments: str) -> str:
    """Run Python with *arguments* and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=FIRST_RUN.parents[1],
    )
    return done.stdout


def measure() -> dict[str, float]:
    """Return each command's median, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            python(*arguments)
            times[name].append((time.perf_counter() - began) * 1000)

    return {name: statistics.median(taken) for name, taken in times.items()}


def first_run() -> tuple[float, Counter[str]]:
    """Return the CPU seconds of the first run, and how many modules of what it loads.

    The seconds are the median, of the whole process.
    """
    printed = [python(str(FIRST_RUN)).split() for _ in range(ROUNDS)]
    packages = Counter(name.split(".")[0] for name in printed[0][1:])
    return statistics.median(float(seconds) for seconds, *_ in printed), packages


def loaded(statement: str) -> list[str]:
    """Return which heavy modules *statement* loads."""
    code = f"{statement}\nimport sys\nprint(*set({HEAVY!r}) & sys.modules.keys())"
    return python("-c", code).split()


def compile_all(folder: str) -> None:
    """Compile what the commands load into *folder*, which all of them read."""
    os.environ["PYTHONPYCACHEPREFIX"] = folder
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for arguments in (*COMMANDS.values(), [str(FIRST_RUN)]):
        python(*arguments)


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as folder:
        compile_all(folder)
        _print_figures()


def _print_figures() -> None:
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

    seconds, packages = first_run()
    print(f"\nImport and first run: {seconds * 1000:.0f} ms of CPU  (at most 350)")
    most = ", ".join(f"{name} {count}" for name, count in packages.most_common(6))
    print(f"It loads {packages.total()} modules: {most}, …")

    print()
    for statement in ("import mma_runtime", "from mma_runtime import Runtime"):
        names = ", ".join(loaded(statement)) or "none"
        print(f"{statement}: of {', '.join(HEAVY)} it loads {names}")


if __name__ == "__main__":
    main()
