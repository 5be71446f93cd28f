import json
import re
from pathlib import Path

from click.testing import CliRunner

from mma_runtime.cli.main import cli

PUBLISHED = Path(__file__).parents[2] / "docs" / "scenario.schema.json"


def test_the_schema_describes_scenarios_for_editors() -> None:
    result = CliRunner().invoke(cli, ["schema"])

    schema = json.loads(result.stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "max_tool_rounds" in schema["$defs"]["TierOptions"]["properties"]
    assert schema["additionalProperties"] is False


def test_the_published_schema_is_the_current_one() -> None:
    result = CliRunner().invoke(cli, ["schema"])

    current = PUBLISHED.read_text(encoding="utf-8")
    assert current == result.stdout, "run `mma schema > docs/scenario.schema.json`"


def test_the_page_for_people_is_the_current_one() -> None:
    result = CliRunner().invoke(cli, ["schema", "--markdown"])

    page = PUBLISHED.parent / "scenarios.md"
    current = page.read_text(encoding="utf-8")
    assert current == result.stdout, "run `mma schema --markdown > docs/scenarios.md`"
    assert "| `max_tool_rounds` | whole number |" in current
    assert "[TierOptions](#tieroptions)" in current


def test_no_cell_of_the_page_spells_a_word_out_in_letters() -> None:
    page = (PUBLISHED.parent / "scenarios.md").read_text(encoding="utf-8")

    assert "| `apply` | boolean or `branch` |" in page
    assert re.findall(r"`\w`, `\w`", page) == []
