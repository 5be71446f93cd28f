"""Every prompt as it is sent, held against a golden file.

After a change that is meant: `GOLDEN=write pytest tests/agents/test_prompts.py`.
"""

import os
from importlib.resources import files
from pathlib import Path
from string import Template

import pytest

from mma_agents.prompts import fenced, prompt, section
from mma_runtime.tiers import Tier
from mma_runtime.tiers.sight import OCCASIONS

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("occasion", OCCASIONS)
def test_a_prompt_is_as_its_golden_file_shows(occasion: str) -> None:
    known = OCCASIONS[occasion]
    slots = {name: f"‹{name}›" for name in known.slots}

    shown = prompt(occasion, known.tier, {}, **slots) + "\n"

    file = GOLDEN / f"{occasion}.md"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(shown, encoding="utf-8")

    assert shown == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("occasion", OCCASIONS)
def test_a_prompt_uses_every_slot_of_its_occasion(occasion: str) -> None:
    known = OCCASIONS[occasion]
    slots = {name: f"‹{name}›" for name in known.slots}

    shown = prompt(occasion, known.tier, {}, **slots)

    assert [name for name in slots if f"‹{name}›" not in shown] == []


def test_there_is_no_prompt_without_an_occasion() -> None:
    names = {file.name for file in files("mma_agents.prompts").iterdir()}

    assert {name for name in names if name.endswith(".md")} == {
        f"{occasion}.md" for occasion in OCCASIONS
    }


def test_no_prompt_is_long_winded_or_polite() -> None:
    for occasion in OCCASIONS:
        text = (GOLDEN / f"{occasion}.md").read_text(encoding="utf-8")
        words = text.lower().split()

        assert len(words) < 260, occasion
        assert not {"please", "thanks", "thank", "sorry"} & set(words), occasion


def test_a_scenarios_own_prompt_goes_before() -> None:
    own = {"stuck": Template("Stop: $reason")}

    assert prompt("stuck", Tier.WORKER, own, reason="x") == "Stop: x"
    assert "circles: x" in prompt("stuck", Tier.WORKER, {}, reason="x")


def test_an_empty_section_has_no_heading() -> None:
    assert section("Documents", " \n") == ""
    assert section("Documents", "text\n") == "## Documents\n\ntext\n\n"


def test_a_code_block_holds_whatever_is_in_it() -> None:
    assert fenced("a\n", "py") == "```py\na\n```"
    assert fenced("```\nx\n```").startswith("````\n```")
