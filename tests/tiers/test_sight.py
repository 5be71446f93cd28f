"""What tiers may see, and prompts of one's own."""

from pathlib import Path
from string import Template

import pytest

from mma_runtime.errors import ConfigurationError
from mma_runtime.tiers import Tier
from mma_runtime.tiers.sight import (
    OCCASIONS,
    SEES,
    Sort,
    check_template,
    read_prompt,
    show,
)


@pytest.mark.parametrize(
    ("tier", "hidden"),
    [
        (Tier.ORCHESTRATOR, {Sort.FILES, Sort.OVERVIEW, Sort.DIFF, Sort.OUTPUT}),
        (Tier.TECH_LEAD, {Sort.EPIC, Sort.OUTPUT, Sort.ATTEMPTS, Sort.FILES}),
        (Tier.WORKER, {Sort.EPIC, Sort.TRACK, Sort.SUMMARY, Sort.OVERVIEW}),
        (Tier.QA, set(Sort) - {Sort.OUTPUT, Sort.PLACE}),
    ],
)
def test_a_tier_never_sees_what_is_not_for_it(tier: Tier, hidden: set[Sort]) -> None:
    assert not SEES[tier] & hidden
    for occasion in OCCASIONS.values():
        if occasion.tier is tier:
            assert not set(occasion.slots.values()) & hidden


def test_a_prompt_is_not_filled_for_another_tier() -> None:
    with pytest.raises(ConfigurationError, match="not for 'worker'"):
        show("plan_epic", Template("$epic"), Tier.WORKER, {"epic": "secret"})


def test_a_prompt_takes_no_slot_that_is_not_its_own() -> None:
    with pytest.raises(ConfigurationError, match="must not be given 'output'"):
        show("review_ticket", Template("x"), Tier.TECH_LEAD, {"output": "a log"})


def test_a_prompt_with_a_hole_is_never_sent() -> None:
    with pytest.raises(KeyError, match="epic"):
        show("plan_epic", Template("$epic"), Tier.ORCHESTRATOR, {})


@pytest.mark.parametrize(
    ("occasion", "text", "problem"),
    [
        ("revue_ticket", "x", "no prompt 'revue_ticket'; did you mean `review_ticket`"),
        ("review_ticket", "$difff", "no slot 'difff'; did you mean `diff`"),
        ("review_ticket", "$output", "its slots are: \\$id"),
        ("give_hint", "costs $ 5", r"write `\$\$`"),
        ("conclude", "$x", "its slots are: none"),
    ],
)
def test_a_prompt_of_ones_own_that_does_not_fit_is_refused(
    occasion: str, text: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        check_template(occasion, text)


def test_a_prompt_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_prompt("qa", tmp_path / "none.md")

    (tmp_path / "bad.md").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_prompt("qa", tmp_path / "bad.md")
