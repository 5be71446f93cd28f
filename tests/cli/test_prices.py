"""`mma prices`: which price is used, and where it is from."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mma_runtime.cli.main import cli


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mma(*args: str) -> Result:
    return CliRunner().invoke(cli, ["prices", *args], standalone_mode=False)


def prices(*args: str) -> list[dict[str, Any]]:
    result = mma(*args, "--json")
    assert result.return_value == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["prices"]
    return found


def test_a_known_price_is_shown_with_its_source() -> None:
    (price,) = prices("gpt-4o-mini")

    assert price["model"] == "openai:gpt-4o-mini"
    assert (price["input"], price["cached"], price["output"]) == (
        "0.15",
        "0.075",
        "0.6",
    )
    assert price["source"].startswith("genai-prices ")


def test_a_price_by_length_has_a_line_for_each_step() -> None:
    result = mma("gemini-2.5-pro")

    assert result.return_value == 0
    _, base, above = [row.split() for row in result.stdout.splitlines()]
    assert base[:2] == ["gemini:gemini-2.5-pro", "1.25"]
    assert above[:3] == ["above", "200,000", "tokens"]


def test_the_files_prices_come_before_the_known_ones(folder: Path) -> None:
    (folder / "mma.toml").write_text(
        '[[prices]]\nmatch = "gpt-4o-mini"\ninput = 7\noutput = 8\n'
        '[[prices]]\nmatch = "gpt-4o"\ninput = 9\noutput = 9\n'
    )

    (mini,) = prices("gpt-4o-mini")
    (large,) = prices("gpt-4o")

    assert (mini["input"], mini["source"]) == ("7", "mma.toml, match 'gpt-4o-mini'")
    assert (large["input"], large["source"]) == ("9", "mma.toml, match 'gpt-4o'")


def test_a_scenarios_prices_come_before_all(folder: Path) -> None:
    (folder / "mma.toml").write_text(
        '[[prices]]\nmatch = "gpt"\ninput = 7\noutput = 8\n'
    )
    scenario = folder / "s.yaml"
    scenario.write_text(
        "tiers: {worker: {model: 'openai:gpt-4o'}}\n"
        "tickets: [{id: a, description: d}]\n"
        "prices: [{match: gpt-4o, input: 1, output: 2}]\n"
    )

    (price,) = prices("gpt-4o", "--scenario", str(scenario))

    assert (price["input"], price["source"]) == ("1", "the scenario, match 'gpt-4o'")


def test_without_a_model_all_that_are_known_are_listed() -> None:
    found = prices()

    models = {price["model"] for price in found}
    assert {"openai:gpt-4o", "anthropic:claude-haiku-4-5", "gemini:gemini-2.5-pro"} <= (
        models
    )


def test_a_price_that_nobody_knows_is_unknown_and_exits_with_2() -> None:
    result = mma("openai:no-such-model")

    assert result.return_value == 2
    assert "unknown" in result.stdout
    assert "nobody knows" in result.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[prices]]\nmatch = "("\ninput = 1\noutput = 1\n', "no regular expression"),
        ('[[prices]]\nmatch = "x"\ninput = -1\noutput = 1\n', "prices.0.input"),
        ('[[prices]]\nmatch = "x"\n', "prices.0.input"),
        ("[limits.openai]\nrequests = 5\n", "limits.openai.requests"),
        ("[[prices]\n", "mma.toml"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error(
    folder: Path, text: str, said: str
) -> None:
    (folder / "mma.toml").write_text(text)

    result = mma("gpt-4o")

    assert result.return_value == 2
    assert said in result.output


def test_an_address_without_a_provider_is_an_error() -> None:
    result = mma("whatever")

    assert result.return_value == 2
    assert "write PROVIDER:whatever" in result.output
