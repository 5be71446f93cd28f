"""The examples in the documentation do what their last line says."""

import re
from pathlib import Path
from subprocess import run
from sys import executable

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    "page", ["actors.md", "cancellation.md", "deadlocks.md", "supervision.md"]
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_example_prints_what_it_says(page: str, backend: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    match = re.search(
        r"```python\n(.*?anyio\.run\(main\))  # (.*?)\n```", text, re.DOTALL
    )
    assert match is not None
    program = match[1].replace("anyio.run(main)", f"anyio.run(main, {backend=})")

    done = run(
        [executable, "-X", "utf8", "-W", "error", "-c", program],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )

    assert done.stderr == ""
    assert ", ".join(done.stdout.splitlines()) == match[2]
