"""What each tier may see; decided here and nowhere else.

Everything that a tier is told fills a slot of an occasion, and each slot says of what
sort it is. A slot whose sort its tier must not see cannot exist: `OCCASIONS` is checked
when this module is loaded, and `show` checks every prompt that is filled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from string import Template

from mma_runtime.errors import ConfigurationError, did_you_mean
from mma_runtime.tiers.tiers import Tier


class Sort(StrEnum):
    """Of what sort a piece of context is."""

    EPIC = "epic"
    TRACK = "track"
    TICKET = "ticket"
    RULES = "rules"
    DOCS = "docs"
    IDS = "ids"
    MAP = "map"
    OVERVIEW = "overview"
    FILES = "files"
    DIFF = "diff"
    VERDICTS = "verdicts"
    SUMMARY = "summary"
    REMARKS = "remarks"
    ATTEMPTS = "attempts"
    OUTPUT = "output"
    PLACE = "place"


SEES: Mapping[Tier, frozenset[Sort]] = {
    # No source, no logs, no chatter of workers: names, documents and summaries.
    Tier.ORCHESTRATOR: frozenset(
        {Sort.EPIC, Sort.TRACK, Sort.RULES, Sort.DOCS, Sort.MAP, Sort.SUMMARY}
    ),
    # One track, curated code and diffs; whether commands passed, not what they wrote.
    Tier.TECH_LEAD: frozenset(
        {
            Sort.TRACK,
            Sort.TICKET,
            Sort.RULES,
            Sort.DOCS,
            Sort.IDS,
            Sort.MAP,
            Sort.OVERVIEW,
            Sort.DIFF,
            Sort.VERDICTS,
            Sort.REMARKS,
        }
    ),
    # One ticket; nothing of the epic, the track or other tickets.
    Tier.WORKER: frozenset(
        {
            Sort.TICKET,
            Sort.RULES,
            Sort.FILES,
            Sort.DIFF,
            Sort.REMARKS,
            Sort.ATTEMPTS,
            Sort.OUTPUT,
        }
    ),
    # One failure.
    Tier.QA: frozenset({Sort.OUTPUT, Sort.PLACE}),
}
"""What each tier may see; what is not named here it never sees."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a tier is told when: its slots by name, with what goes into each."""

    tier: Tier
    slots: Mapping[str, Sort]


OCCASIONS: Mapping[str, Occasion] = {
    "orchestrator": Occasion(Tier.ORCHESTRATOR, {}),
    "plan_epic": Occasion(
        Tier.ORCHESTRATOR, {"epic": Sort.EPIC, "map": Sort.MAP, "docs": Sort.DOCS}
    ),
    "accept_track": Occasion(
        Tier.ORCHESTRATOR,
        {
            "id": Sort.TRACK,
            "title": Sort.TRACK,
            "goal": Sort.TRACK,
            "acceptance": Sort.TRACK,
            "summary": Sort.SUMMARY,
        },
    ),
    "tech_lead": Occasion(Tier.TECH_LEAD, {}),
    "brief_track": Occasion(
        Tier.TECH_LEAD,
        {
            "docs": Sort.DOCS,
            "map": Sort.MAP,
            "view": Sort.OVERVIEW,
            "id": Sort.TRACK,
            "title": Sort.TRACK,
            "goal": Sort.TRACK,
            "severity": Sort.TRACK,
            "acceptance": Sort.TRACK,
            "modules": Sort.TRACK,
        },
    ),
    "plan_tickets": Occasion(Tier.TECH_LEAD, {"taken": Sort.IDS, "tools": Sort.IDS}),
    "rework_track": Occasion(
        Tier.TECH_LEAD,
        {"remarks": Sort.REMARKS, "taken": Sort.IDS, "room": Sort.IDS},
    ),
    "review_ticket": Occasion(
        Tier.TECH_LEAD,
        {
            "id": Sort.TICKET,
            "title": Sort.TICKET,
            "description": Sort.TICKET,
            "verdicts": Sort.VERDICTS,
            "diff": Sort.DIFF,
            "more": Sort.IDS,
        },
    ),
    "add_tickets": Occasion(Tier.TECH_LEAD, {"room": Sort.IDS}),
    "worker": Occasion(Tier.WORKER, {}),
    "do_ticket": Occasion(
        Tier.WORKER,
        {
            "files": Sort.FILES,
            "id": Sort.TICKET,
            "title": Sort.TICKET,
            "description": Sort.TICKET,
            "target_file": Sort.TICKET,
            "acceptance": Sort.TICKET,
            "attempts": Sort.ATTEMPTS,
        },
    ),
    "return_ticket": Occasion(Tier.WORKER, {"remarks": Sort.REMARKS}),
    "refresh": Occasion(Tier.WORKER, {"diff": Sort.DIFF}),
    "stuck": Occasion(Tier.WORKER, {"reason": Sort.ATTEMPTS}),
    "conclude": Occasion(Tier.WORKER, {}),
    "qa": Occasion(Tier.QA, {}),
    "give_hint": Occasion(
        Tier.QA,
        {
            "command": Sort.OUTPUT,
            "exit_code": Sort.OUTPUT,
            "error": Sort.OUTPUT,
            "place": Sort.PLACE,
        },
    ),
    "hint_test": Occasion(
        Tier.QA,
        {
            "command": Sort.OUTPUT,
            "error": Sort.OUTPUT,
            "test": Sort.PLACE,
            "function": Sort.PLACE,
        },
    ),
    "fix_lint": Occasion(
        Tier.QA, {"command": Sort.OUTPUT, "output": Sort.OUTPUT, "files": Sort.PLACE}
    ),
}
"""Every occasion on which a tier is told something; a tier's own name is its role."""


def show(
    occasion: str, template: Template, tier: Tier, slots: Mapping[str, str]
) -> str:
    """Fill *template* for *tier*.

    Raises:
        ConfigurationError: the occasion is another tier's, a slot is not the
            occasion's, or the template has a slot without a value: a prompt with a
            hole is never sent.
    """
    known = OCCASIONS[occasion]
    if tier is not known.tier:
        raise ConfigurationError(
            f"the prompt {occasion!r} is for the tier {known.tier.value!r},"
            f" not for {tier.value!r}"
        )

    foreign = [name for name in slots if name not in known.slots]
    if foreign:
        raise ConfigurationError(
            f"the prompt {occasion!r} must not be given {foreign[0]!r}"
        )

    return template.substitute(slots)


def check_template(occasion: str, text: str) -> Template:
    """Return *text* as a prompt for *occasion*.

    Raises:
        ConfigurationError: there is no such occasion, or the text has a slot that the
            occasion does not fill, or a stray `$`.
    """
    if occasion not in OCCASIONS:
        raise ConfigurationError(
            f"there is no prompt {occasion!r}{did_you_mean(occasion, OCCASIONS)}"
            f" (prompts are {', '.join(OCCASIONS)})"
        )

    template = Template(text.strip())
    if not template.is_valid():
        raise ConfigurationError(
            f"the prompt {occasion!r} has a `$` without a slot; write `$$` for the sign"
        )

    slots = OCCASIONS[occasion].slots
    for name in template.get_identifiers():
        if name not in slots:
            known = ", ".join(f"${slot}" for slot in slots) or "none"
            raise ConfigurationError(
                f"the prompt {occasion!r} has no slot {name!r}"
                f"{did_you_mean(name, slots)} (its slots are: {known})"
            )

    return template


def read_prompt(occasion: str, path: Path) -> Template:
    """Read a prompt of one's own; raises as `check_template`, or if it is missing."""
    try:
        return check_template(occasion, path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"the prompt {occasion!r} cannot be read: {reason}: {str(path)!r}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"the prompt {occasion!r} is not UTF-8: {str(path)!r}"
        ) from error


def _check_occasions() -> None:
    for name, occasion in OCCASIONS.items():
        hidden = set(occasion.slots.values()) - SEES[occasion.tier]
        if hidden:
            raise AssertionError(
                f"{name!r} would show {occasion.tier} {sorted(hidden)}"
            )


_check_occasions()
