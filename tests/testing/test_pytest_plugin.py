"""`pytest` on a folder of scenarios, as a user calls it."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from mma_runtime.testing import Answer, wire_server

pytest_plugins = ["pytester"]

# Loaded here once; what is loaded within is forgotten after each test.
for module in (
    "mma_agents.worker",
    "mma_providers.openai",
    "mma_providers.scripted",
    "mma_runtime.pytest_plugin.scenarios",
    "genai_prices",
):
    import_module(module)

FOREIGN = """
name: deploy
on: push
jobs:
  tickets: {runs-on: here}
"""


@pytest.fixture(autouse=True)
def without_hypothesis(pytester: pytest.Pytester) -> None:
    """Its plugin takes seconds to load, and each test would load it anew."""
    pytester.makeini("[pytest]\naddopts = -p no:hypothesispytest")


@pytest.fixture(autouse=True)
def nobody_has_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for service in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.delenv(f"{service}_API_KEY", raising=False)
        monkeypatch.delenv(f"{service}_BASE_URL", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def write(
    pytester: pytest.Pytester,
    name: str = "demo",
    *,
    model: str = "scripted:worker",
    **keys: object,
) -> Path:
    """Write a scenario of one ticket without a workspace, and its script."""
    pytester.path.joinpath("demo.script.yaml").write_text(
        yaml.safe_dump(
            {
                "stands_in_for": {"worker": "openai:gpt-4o-mini"},
                "replies": [{"tier": "worker", "text": "yes"}],
            }
        )
    )
    scenario = {
        "name": name,
        "tiers": {"worker": {"model": model}},
        "tickets": [{"id": "a", "description": "Say yes."}],
        "script": "demo.script.yaml",
        **keys,
    }
    path = pytester.path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(scenario))
    return path


def test_each_scenario_is_a_test(pytester: pytest.Pytester) -> None:
    write(pytester, "first")
    write(pytester, "second")

    result = pytester.runpytest("-v")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*first.yaml::first PASSED*", "*second.yaml::second PASSED*"]
    )
    result.stdout.fnmatch_lines(["mma: 2 scenarios, 2 model calls, $0.0000 billed"])


def test_a_failure_shows_what_was_expected_and_what_was_seen(
    pytester: pytest.Pytester,
) -> None:
    (pytester.path / "work").mkdir()
    write(
        pytester,
        workspace={"path": "work"},
        expect={"files": [{"path": "b.txt", "contains": ["two"]}]},
    )

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*scenario demo*",
            "demo ended as failed: not as expected: file b.txt: it is missing",
            "  expect outcome completed: held",
            "  expect file b.txt: FAILED",
            "    it is missing",
            "  ticket a: completed, 1 rounds, 1 attempts",
            "  cost in all: 1 calls, $0.*",
            "*Captured mma call*",
            "ticket a: attempt 1 on scripted:worker",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_outcome_that_is_expected_passes_though_it_is_no_success(
    pytester: pytest.Pytester,
) -> None:
    write(pytester, budget={"calls": 1}, expect={"outcome": "over_budget"})
    write(pytester, "other", expect={"outcome": "bounded"})

    result = pytester.runpytest("-k", "other")

    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["  expect outcome bounded: FAILED"])


def test_bad_yaml_fails_with_its_line(pytester: pytest.Pytester) -> None:
    write(pytester, "good")
    broken = write(pytester, "broken")
    broken.write_text(broken.read_text() + "budget: [1\n")
    typo = write(pytester, "typo")
    typo.write_text(typo.read_text().replace("worker:\n", "wroker:\n"))

    result = pytester.runpytest()

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["*broken.yaml:*", "*typo.yaml:*did you mean `worker`*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(("key", "typo"), [("tiers", "tires"), ("tickets", "tikets")])
def test_a_scenario_does_not_vanish_for_one_misspelt_key(
    pytester: pytest.Pytester, key: str, typo: str
) -> None:
    path = write(pytester)
    path.write_text(path.read_text().replace(f"{key}:", f"{typo}:"))

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*demo.yaml:*{typo}: unknown key; *`{key}`*"])


def test_yaml_that_is_no_scenario_is_left_alone(pytester: pytest.Pytester) -> None:
    write(pytester)
    (pytester.path / "deploy.yml").write_text(FOREIGN)
    (pytester.path / "plan.yaml").write_text("tiers: [a]\ntickets: {max: 3}\n")
    (pytester.path / "list.yaml").write_text("tiers:\n  - a\nbudget: 3\n")
    (pytester.path / "broken.yaml").write_text("{[")
    (pytester.path / "latin.yaml").write_bytes(b"na\xefve: 1\n")

    result = pytester.runpytest("--collect-only", "-q")

    assert [line for line in result.outlines if "::" in line] == ["demo.yaml::demo"]


@pytest.mark.parametrize(
    "text",
    [
        "tiers: [a]\ntickets:\n  - id: x\n",
        "tiers:\n  worker: {}\ntickets: 3\n",
        "# $schema=scenario.schema.json\ntiers: [a]\ntickets: {}\n",
    ],
)
def test_a_scenario_does_not_vanish_for_one_key_of_another_shape(
    pytester: pytest.Pytester, text: str
) -> None:
    (pytester.path / "demo.yaml").write_text(text)

    pytester.runpytest().assert_outcomes(failed=1)


def test_a_yaml_file_that_is_named_has_to_be_a_scenario(
    pytester: pytest.Pytester,
) -> None:
    (pytester.path / "deploy.yml").write_text(FOREIGN)

    result = pytester.runpytest("deploy.yml")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*deploy.yml:*jobs*"])


def test_a_scenario_whose_key_is_missing_is_skipped_with_the_reason(
    pytester: pytest.Pytester,
) -> None:
    write(pytester, model="openai:gpt-4o-mini")

    result = pytester.runpytest("-rs")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*no API key for 'openai' (OPENAI_API_KEY)"])


def test_a_model_can_be_set_for_all_and_what_it_billed_is_said(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pytester)
    model = "--mma-model=worker=openai:gpt-4o-mini"
    with wire_server(Answer(text="yes", input_tokens=1_000_000)) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        result = pytester.runpytest(model, "-m", "mma_real", "--strict-markers")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["mma: 1 scenario, 1 model call, $0.1500 billed"])
    pytester.runpytest(model, "-m", "not mma_real").assert_outcomes(deselected=1)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_nothing_is_left_unless_a_home_is_given(
    pytester: pytest.Pytester, backend: str
) -> None:
    (pytester.path / "work").mkdir()
    write(pytester, workspace={"path": "work", "apply": True})
    before = sorted(pytester.path.rglob("*"))

    result = pytester.runpytest("-p", "no:cacheprovider", f"--mma-backend={backend}")

    result.assert_outcomes(passed=1)
    assert sorted(pytester.path.rglob("*")) == before
    pytester.runpytest("--mma-home", "kept").assert_outcomes(passed=1)
    assert len(list(pytester.path.glob("kept/runs/*/journal.db"))) == 1


def test_step_mode_is_skipped_unless_it_is_approved(pytester: pytest.Pytester) -> None:
    write(pytester, mode="step")

    pytester.runpytest().assert_outcomes(skipped=1)
    pytester.runpytest("--mma-approve").assert_outcomes(passed=1)


def test_what_a_scenario_asks_is_refused_at_once(pytester: pytest.Pytester) -> None:
    (pytester.path / "work").mkdir()
    write(pytester, workspace={"path": "work"})
    call = {"name": "run_command", "arguments": {"command": "touch x"}}
    (pytester.path / "demo.script.yaml").write_text(
        yaml.safe_dump(
            {
                "replies": [
                    {"tier": "worker", "turn": 1, "tool_calls": [call]},
                    {"tier": "worker", "turn": 2, "contains": "nobody", "text": "ok"},
                ]
            }
        )
    )

    pytester.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize("wrong", ["--mma-model=worker", "--mma-backend=curio"])
def test_wrong_options_are_refused(pytester: pytest.Pytester, wrong: str) -> None:
    result = pytester.runpytest(wrong)

    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_wire_server_is_a_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from mma_runtime.testing import Answer

        def test_it(wire_server):
            wire_server.say(Answer(text="yes"))
            assert wire_server.url.startswith("http://127.0.0.1:")
        """
    )

    pytester.runpytest().assert_outcomes(passed=1)


def test_the_plugin_is_found_and_costs_nothing_when_unused(tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text(FOREIGN)
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.hasplugin('mma')\n"
        "    loaded = [m for m in sys.modules if m.startswith('mma_')]\n"
        "    assert loaded == ['mma_runtime', 'mma_runtime.pytest_plugin']\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "mma" not in done.stdout
