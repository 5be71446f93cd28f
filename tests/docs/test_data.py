"""Every block of YAML, TOML and JSON in the documentation is what it claims to be."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from mma_providers.script import Script
from mma_runtime.registry import Registry
from mma_runtime.scenario.load import loads
from mma_runtime.scenario.settings import NO_SETTINGS, load_settings
from tests.docs.blocks import ROOT, Block, blocks, save_files

LANGUAGES = {"python", "yaml", "toml", "json", "console", "text", ""}
"""What is without a language, or `text`, is a picture or a program's output."""

WHOLE: dict[str, Any] = {
    "tiers": {"worker": {"model": "openai:gpt-4o-mini"}},
    "tickets": [{"id": "one", "description": "Say yes."}],
}

SETTINGS = {"prices", "limits", "providers", "sandbox", "mcp_servers"}
"""The keys of `mma.toml`."""

HOST_TOOLS = ("send_mail",)
"""Tools that the pages suppose to be given to the runtime."""

GROUPS = {"mma.providers", "mma.agents"}
"""Entry points that other packages may add to."""


def _in(*languages: str) -> list[Block]:
    return [block for block in blocks() if block.language in languages]


def _merged(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Return *whole* with what *part* says, table by table."""
    merged = {**whole, **part}
    for key in part.keys() & whole.keys():
        if isinstance(whole[key], dict):
            merged[key] = _merged(part[key], whole[key])

    return merged


def test_no_block_is_in_a_language_that_nobody_checks() -> None:
    unknown = [block for block in blocks() if block.language not in LANGUAGES]

    assert unknown == []


@pytest.mark.parametrize("block", _in("yaml"), ids=str)
def test_yaml_is_a_scenario_a_part_of_one_or_a_script(
    block: Block, tmp_path: Path
) -> None:
    data = yaml.safe_load(block.text)
    if "replies" in data:
        assert Script.model_validate(data).replies
        return

    (tmp_path / "project").mkdir()
    save_files(block.page, tmp_path)
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    text = block.text
    if not data.keys() & {"epic", "track", "tickets"}:
        text = yaml.safe_dump(_merged(data, WHOLE))

    scenario = loads(
        text, file=str(block), folder=tmp_path, environ={}, tools=HOST_TOOLS
    )

    assert scenario.version == 1


@pytest.mark.parametrize("block", _in("toml"), ids=str)
def test_toml_is_settings_credentials_or_a_part_of_pyproject(
    block: Block, tmp_path: Path
) -> None:
    data = tomllib.loads(block.text)
    if "project" in data:
        assert data["project"].keys() <= {"entry-points", "dependencies"}
        assert data["project"].get("entry-points", {}).keys() <= GROUPS
    elif data.keys() <= SETTINGS:
        (tmp_path / "mma.toml").write_text(block.text, encoding="utf-8")
        settings = load_settings([tmp_path])
        registry = Registry(folders=[tmp_path])
        assert settings != NO_SETTINGS or data["providers"]
        assert set(data.get("providers", ())) <= set(registry.names)
    elif "pytest" in data or "tool" in data:
        assert "pytest" in data.get("tool", data)
    else:
        path = tmp_path / "credentials.toml"
        path.write_text(block.text, encoding="utf-8")
        path.chmod(0o600)
        registry = Registry(environment={}, folders=[tmp_path])
        for name, table in data.items():
            found = registry.credentials_for(name)
            assert found.api_key is not None
            assert found.api_key.get_secret_value() == table["api_key"]


@pytest.mark.parametrize("block", _in("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    assert json.loads(block.text)
