"""Skeletons of a real package: how much shorter they are, and how fast they come.

Run it as `python tests/benchmarks/views.py [PACKAGE ...]`, by default over packages of
more than a hundred files that are installed here anyway. Tokens are estimated as
everywhere in the runtime, by characters; time is CPU time, the median of five.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import process_time

from mma_runtime.llm.tokens import estimate_tokens
from mma_runtime.workspace import Views

PACKAGES = ("hypothesis", "pydantic", "rich", "trio", "openai")

REPEATS = 5


def main(packages: tuple[str, ...]) -> None:
    """Measure each of *packages*; a copy of every file is in memory before."""
    print(f"{'package':<12}{'files':>7}{'MB':>7}{'tokens':>9}{'MB/s':>7}{'again':>9}")
    for name in packages:
        spec = find_spec(name)
        folders = spec.submodule_search_locations if spec else None
        if not folders:
            print(f"{name:<12} is not installed here")
            continue

        files = [
            (path.name, path.read_bytes()) for path in Path(folders[0]).rglob("*.py")
        ]
        size = sum(len(content) for _, content in files) / 1e6
        tokens = sum(
            estimate_tokens(content.decode(errors="replace")) for _, content in files
        )
        runs = [measure(files) for _ in range(REPEATS)]
        share = runs[0][2] / tokens
        first = size / median(run[0] for run in runs)
        again = size / median(run[1] for run in runs)
        print(
            f"{name:<12}{len(files):>7}{size:>7.2f}{share:>9.1%}{first:>7.1f}"
            f"{again:>9.1f}"
        )

    print(
        "tokens: of the skeletons, of those of the sources; MB/s: of source per second"
        " of CPU; again: the same with the results remembered"
    )


def measure(files: list[tuple[str, bytes]]) -> tuple[float, float, int]:
    """Return the seconds for all, for all once more, and the skeletons' tokens."""
    views = Views(capacity=len(files))
    began = process_time()
    shown = [views.skeleton(name, content).text for name, content in files]
    made = process_time()
    for name, content in files:
        views.skeleton(name, content)

    ended = process_time()
    return made - began, ended - made, sum(map(estimate_tokens, shown))


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or PACKAGES)
