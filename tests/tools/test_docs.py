"""The examples in the documentation of tools run, and its table is complete."""

import re
from pathlib import Path

import pytest

from mma_runtime.tools import NATIVE_TOOLS

PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs(example: str) -> None:
    names: dict[str, object] = {}

    exec(compile(example, "tools.md", "exec"), names)  # noqa: S102 - our own page

    assert len(names) > 1


def test_every_native_tool_is_in_the_table() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(NATIVE_TOOLS)
