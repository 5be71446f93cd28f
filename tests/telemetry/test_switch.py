"""Telemetry is there for who asks for it, and for nobody else."""

import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

from mma_runtime.cli.tracing import CONTENT, telemetry_of
from mma_runtime.observing import ObservedRun
from mma_runtime.telemetry import Telemetry

ROOT = Path(__file__).parents[2]

RUN = """
import anyio
from mma_runtime import Runtime
from mma_runtime.testing import FunctionProvider
from tests.team import scenario

async def main():
    async with Runtime(providers=[FunctionProvider(lambda _: "done")]) as runtime:
        return await (await runtime.start(scenario())).outcome()

assert anyio.run(main).completed
"""

WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
"""


def python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.strip()


def test_runs_need_no_telemetry() -> None:
    assert python(f"{WITHOUT}{RUN}print('done')") == "done"


def test_who_asks_without_the_package_is_told_which_one() -> None:
    program = (
        f"{WITHOUT}"
        "from mma_runtime.errors import ConfigurationError\n"
        "try:\n"
        "    import mma_runtime.telemetry\n"
        "except ConfigurationError as error:\n"
        "    print(error)\n"
    )

    assert "pip install 'mma-runtime[otel]'" in python(program)


def test_the_extra_asks_for_the_api_alone() -> None:
    wanted = [
        one for one in requires("mma-runtime") or () if "otel" in one.partition(";")[2]
    ]

    assert [one.partition(">")[0].partition("<")[0] for one in wanted] == [
        "opentelemetry-api"
    ]


def test_the_command_line_traces_only_where_the_sdk_is_loaded() -> None:
    program = (
        "from mma_runtime.cli.tracing import telemetry_of\n"
        "print(telemetry_of({}))\n"
        "import opentelemetry.sdk\n"
        "print(type(telemetry_of({})).__name__)\n"
    )

    assert python(program).split() == ["None", "Telemetry"]


def test_content_is_asked_for_by_the_variable_that_others_heed_too() -> None:
    run = ObservedRun(
        id="r", name="n", resumed=False, content=True, scrub=lambda text: text
    )
    asked = {
        value: _tells_content(telemetry_of({CONTENT: value}), run)
        for value in ("true", " TRUE ", "false", "", "1")
    }

    assert asked == {
        "true": True,
        " TRUE ": True,
        "false": False,
        "": False,
        "1": False,
    }


def _tells_content(telemetry: object, run: ObservedRun) -> bool:
    assert isinstance(telemetry, Telemetry)
    return telemetry.observe(run).content
