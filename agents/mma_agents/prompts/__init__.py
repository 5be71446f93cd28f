"""What the tiers are told: one Markdown file for each role and occasion.

A role's file is its system prompt; the others are user turns. Slots are written
`$name`; which ones a prompt has, and what its tier may see, is in
`mma_runtime.tiers.sight`. A slot that may be empty brings its own heading.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Template

from mma_runtime.tiers import Tier
from mma_runtime.tiers.sight import check_template, show


@cache
def template(occasion: str) -> Template:
    """Return the prompt that comes with the package; a scenario may bring its own."""
    text = files(__name__).joinpath(f"{occasion}.md").read_text(encoding="utf-8")
    return check_template(occasion, text)


def prompt(
    occasion: str, tier: Tier, own: Mapping[str, Template], /, **slots: str
) -> str:
    """Fill the prompt for *occasion* from *own*, or from the package.

    Raises `ConfigurationError` when *tier* must not see what it would be shown, and
    `KeyError` when a slot has no value: a prompt with a hole is never sent.
    """
    found = own.get(occasion) or template(occasion)
    if not slots:
        return _without_slots(found)

    return show(occasion, found, tier, slots).strip()


@cache
def _without_slots(found: Template) -> str:
    # Each worker is told its role and its conclusion: the same words, filled once.
    return found.substitute().strip()


def section(heading: str, text: str) -> str:
    """Return *text* under a heading, or nothing when there is no text."""
    return f"## {heading}\n\n{text.strip()}\n\n" if text.strip() else ""


def fenced(text: str, language: str = "") -> str:
    """Return *text* as a code block, whatever is in it."""
    fence = "```"
    while fence in text:
        fence += "`"

    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
