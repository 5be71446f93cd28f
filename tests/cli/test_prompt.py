"""`mma prompt`: what a model would receive, without asking one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mma_runtime.cli.main import cli

QUICKSTART = Path(__file__).parents[2] / "scenarios" / "quickstart.yaml"
TICKETS = QUICKSTART.with_name("lint_and_tests.yaml")


def prompt(role: str, file: Path, *options: str) -> Result:
    command = ["prompt", role, str(file), *options]
    return CliRunner().invoke(cli, command, standalone_mode=False)


@pytest.mark.parametrize(
    ("role", "parts", "words"),
    [
        ("1", {"system", "Files of the project", "Request", "Task"}, "slugify"),
        ("tech_lead", {"system", "Code", "Task"}, "def title_case"),
        ("worker", {"system", "tools"}, "what Tier 2 writes"),
        ("tier4", {"system"}, "what a command prints"),
    ],
)
def test_each_tiers_prompt_is_shown_in_parts(
    role: str, parts: set[str], words: str
) -> None:
    result = prompt(role, QUICKSTART, "--json")

    shown = json.loads(result.stdout)["parts"]
    assert parts <= {part["part"] for part in shown}
    assert words in "".join(part["text"] for part in shown)
    assert all(part["tokens"] > 0 for part in shown)


def test_a_ticket_of_the_scenario_is_shown_as_it_is() -> None:
    result = prompt("worker", TICKETS)

    assert result.return_value == 0
    assert "─── Ticket value: The value of the stock" in result.stdout
    assert "PRICES = {" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("─── about ")


def test_a_scenario_that_does_not_get_to_a_tier_says_so() -> None:
    result = prompt("orchestrator", TICKETS)

    assert result.return_value == 2
    assert "does not get as far as the tier 'orchestrator'" in result.stderr


def test_an_unknown_role_is_named_with_the_near_miss() -> None:
    result = prompt("wroker", TICKETS)

    assert result.return_value == 2
    assert "`worker`" in result.stderr
