"""What the tiers are told: one Markdown file for each role and occasion.

Slots are written `$name`. A role's file is its system prompt; the others are user
turns.
"""

from functools import cache
from importlib.resources import files
from string import Template


@cache
def _template(name: str) -> Template:
    text = files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
    return Template(text.strip())


def prompt(name: str, **slots: str) -> str:
    """Fill the slots of the prompt *name*.

    Raises `KeyError` when a slot has no value: a prompt with a hole is never sent.
    """
    return _template(name).substitute(slots)
