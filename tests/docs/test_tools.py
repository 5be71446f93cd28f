"""The documentation's table of tools is complete."""

import re
from pathlib import Path

from mma_runtime.tools import NATIVE_TOOLS

PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")


def test_every_native_tool_is_in_the_table() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(NATIVE_TOOLS)
