"""A plugin for pytest: `pytest scenarios/` runs each scenario in the folder as a test.

Loaded wherever pytest runs and mma-runtime is installed, so it imports pytest and the
standard library alone; the runtime is loaded when there is a scenario to run.
"""

import argparse
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

SUFFIXES = frozenset({".yaml", ".yml"})

MAX_BYTES = 1_000_000
"""A file that is larger is no scenario."""

_SCHEMA = re.compile(rb"^#.*\$schema=\S*scenario\.schema\.json", re.MULTILINE)
_TEAM = re.compile(rb"^(tiers|defaults)\s*:", re.MULTILINE)
_TASK = re.compile(rb"^(epic|track|tickets)\s*:", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `mma run` that make sense for many scenarios."""
    group = parser.getgroup("mma", "scenarios of mma-runtime")
    group.addoption(
        "--mma-model",
        action="append",
        default=[],
        type=_pair,
        metavar="TIER=PROVIDER:MODEL",
        help="the model of a tier, in every scenario",
    )
    group.addoption(
        "--mma-approve",
        action="store_true",
        help="answer yes to whatever a scenario asks; by default the answer is no, and"
        " scenarios in step mode are skipped",
    )
    group.addoption(
        "--mma-backend",
        choices=["asyncio", "trio"],
        default="asyncio",
        help="the event loop; asyncio by default",
    )
    group.addoption(
        "--mma-home",
        type=Path,
        metavar="FOLDER",
        help="record the runs and keep them there, for `mma show --home FOLDER`; by"
        " default nothing is kept",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, for `-m` and for strict markers."""
    config.addinivalue_line("markers", "mma_scenario: a scenario of mma-runtime")
    config.addinivalue_line(
        "markers", "mma_real: a scenario that asks real models, which may cost money"
    )


def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> pytest.Collector | None:
    """Take scenarios; a YAML file that was named by itself has to be one."""
    if file_path.suffix not in SUFFIXES:
        return None

    if not parent.session.isinitpath(file_path) and not is_scenario(file_path):
        return None

    module = import_module("mma_runtime.pytest_plugin.scenarios")
    found: pytest.Collector = module.ScenarioFile.from_parent(parent, path=file_path)
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the scenarios have cost, if there were any."""
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    facts = [dict(report.user_properties) for report in reports]
    costs = [fact for fact in facts if "mma_usd" in fact]
    if costs:
        billed = sum(float(str(cost["mma_usd"])) for cost in costs)
        calls = sum(int(str(cost["mma_calls"])) for cost in costs)
        unknown = sum(int(str(cost["mma_unknown_calls"])) for cost in costs)
        line = f"mma: {len(costs)} scenarios, {calls} model calls, ${billed:.4f} billed"
        if unknown:
            line += f", {unknown} calls of unknown price"

        terminalreporter.write_line(line)


@pytest.fixture(name="wire_server")
def _wire_server() -> Iterator[Any]:
    """A `ScriptedServer` on loopback that speaks the formats of the model providers."""
    with import_module("mma_runtime.testing.wire").wire_server() as server:
        yield server


def is_scenario(path: Path) -> bool:
    """Tell whether a file says of itself that it is a scenario; parses nothing.

    It names the scenarios' schema in a comment, or it has, at the beginning of lines,
    a key for the team and one for its task.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return False

        text = path.read_bytes()
    except OSError:
        return False

    return bool(_SCHEMA.search(text) or (_TEAM.search(text) and _TASK.search(text)))


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not TIER=PROVIDER:MODEL")

    return name.strip(), value.strip()
