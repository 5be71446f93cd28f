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
_KEY = re.compile(rb"^([a-z_]+)[ \t]*:", re.MULTILINE)
_TEAM = frozenset((b"tiers", b"defaults"))
_TASK = frozenset((b"epic", b"track", b"tickets"))
# Seldom elsewhere: with one of these, one more of a scenario's keys is enough.
_OWN = frozenset((b"tiers", b"epic", b"tickets"))
_BESIDE = frozenset((b"approvals", b"budget", b"expect", b"script", b"workspace"))

# A team that is a list, tickets that are a table or a word: never so in a scenario.
_LIST = rb"(?=[ \t]*:[ \t]*(?:\[|(?:#.*)?\r?\n[ \t]*- ))"
_TABLE = rb"(?=[ \t]*:[ \t]*[{\w])"
_MISSHAPEN = re.compile(
    rb"^((?:tiers|defaults)" + _LIST + rb"|tickets" + _TABLE + rb")", re.MULTILINE
)


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
        line = f"mma: {_count(len(costs), 'scenario')}, {_count(calls, 'model call')}"
        line += f", ${billed:.4f} billed"
        if unknown:
            line += f", {_count(unknown, 'call')} of unknown price"

        terminalreporter.write_line(line)


@pytest.fixture(name="wire_server")
def _wire_server() -> Iterator[Any]:
    """A `ScriptedServer` on loopback that speaks the formats of the model providers."""
    with import_module("mma_runtime.testing.wire").wire_server() as server:
        yield server


def is_scenario(path: Path) -> bool:
    """Tell whether a file says of itself that it is a scenario; parses nothing.

    It names the scenarios' schema in a comment, or it has, at the beginning of lines,
    keys for the team and its task, or for one of them and something beside: where only
    one is misspelt, the test must not vanish. Where none of the keys has the shape
    that it has in scenarios, as `tiers: [gold, silver]`, the file is other people's.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return False

        text = path.read_bytes()
    except OSError:
        return False

    keys = frozenset(_KEY.findall(text))
    is_whole = bool(keys & _TEAM and keys & _TASK)
    is_alike = bool(keys & _OWN and keys & _BESIDE)
    if _SCHEMA.search(text) is not None:
        return True

    telling = (keys & (_TEAM | _TASK)) - frozenset(_MISSHAPEN.findall(text))
    return bool(telling) and (is_whole or is_alike)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not TIER=PROVIDER:MODEL")

    return name.strip(), value.strip()
