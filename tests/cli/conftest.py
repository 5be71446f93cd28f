"""A small project with a scripted team, for commands that really run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from mma_runtime.cli.main import cli

WRITE = {
    "turn": 1,
    "tool_calls": [
        {"name": "write_file", "arguments": {"path": "b.txt", "content": "two\n"}}
    ],
}
DONE = {"turn": 2, "text": "Wrote b.txt."}


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with a scenario, its script and the workspace beside them."""

    folder: Path

    @property
    def scenario(self) -> Path:
        return self.folder / "demo.yaml"

    @property
    def workspace(self) -> Path:
        return self.folder / "work"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def write(
        self, replies: Sequence[Mapping[str, Any]] = (WRITE, DONE), **keys: Any
    ) -> Path:
        """Write the scenario with one ticket, *keys* beside it, and its script."""
        scenario = {
            "tickets": [{"id": "a", "description": "Write b.txt."}],
            "tiers": {"worker": {"model": "scripted:worker"}},
            "workspace": {"path": "work"},
            "approvals": {"policy": {"run_command": "auto"}},
            "script": "demo.script.yaml",
        }
        merged = {
            key: value for key, value in (scenario | keys).items() if value is not None
        }
        self.scenario.write_text(yaml.safe_dump(merged), encoding="utf-8")
        script = {
            "stands_in_for": {"worker": "openai:gpt-4o-mini"},
            "replies": [{"tier": "worker", **reply} for reply in replies],
        }
        path = self.folder / "demo.script.yaml"
        path.write_text(yaml.safe_dump(script), encoding="utf-8")
        return self.scenario

    def mma(self, *args: str) -> Result:
        """Call `mma` in this process."""
        return CliRunner().invoke(cli, args, standalone_mode=False)

    def run(self, *args: str) -> Result:
        """Call `mma run` on the scenario."""
        return self.mma("run", str(self.scenario), "--home", str(self.home), *args)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MAX_TOOL_ROUNDS"):
        monkeypatch.delenv(name, raising=False)

    project = Project(tmp_path)
    project.workspace.mkdir()
    (project.workspace / "a.txt").write_text("one\n", encoding="utf-8")
    project.write()
    return project
