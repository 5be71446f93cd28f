import json
import shutil
from typing import Any

import pytest

from tests.cli.conftest import Project

TIERS = ("worker", "qa")


def test_a_valid_scenario_is_summed_up(project: Project) -> None:
    project.write(name="demo", budget={"usd": "0.5", "tokens": 1000, "seconds": 60})

    result = project.mma("check", str(project.scenario))

    assert result.return_value == 0
    assert result.stdout.splitlines() == [
        f"ok: {project.scenario} (demo)",
        "  begins with  1 ticket, ready for workers",
        f"  workspace    {project.workspace}; changes are kept apart",
        "  budget       $0.5000, 1,000 tokens, 60 s",
        "  sandbox      bubblewrap"
        if shutil.which("bwrap")
        else "  sandbox      limits only",
        "  worker  scripted:worker  scripted, nothing is billed",
    ]


def test_keys_are_looked_for_and_never_shown(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("check", str(project.scenario), "--model", "worker=openai:gpt-4o-mini")

    missing = project.mma(*args)
    assert missing.return_value == 0
    assert "real model, KEY MISSING: set OPENAI_API_KEY\n" in missing.stdout

    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    found = project.mma(*args)
    assert "real model, key from OPENAI_API_KEY" in found.stdout
    assert "sk-very-secret" not in found.output + project.mma(*args, "--json").output


def test_the_files_that_may_hold_keys_are_told_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    models = ["openai:gpt-4o-mini", "anthropic:claude-sonnet-5"]
    project.write(
        tiers={name: {"model": one} for name, one in zip(TIERS, models, strict=True)}
    )

    result = project.mma("check", str(project.scenario))

    assert result.stdout.count("KEY MISSING") == 2
    assert result.stdout.count(str(project.folder / ".env")) == 1
    assert "  keys were looked for in the environment, " in result.stdout


def test_a_key_that_cannot_be_sent_is_told_by_its_place_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret…")
    args = (str(project.scenario), "--model", "worker=openai:gpt-4o-mini")

    checked, run = project.mma("check", *args), project.mma("run", *args)

    assert (checked.return_value, run.return_value) == (0, 6)
    assert "KEY UNUSABLE: the API key for 'openai' from OPENAI_API_KEY" in (
        checked.stdout
    )
    assert "from OPENAI_API_KEY holds characters that no key has" in run.stderr
    assert "sk-secret" not in checked.output + run.output


def test_an_address_that_is_none_is_refused_by_its_place_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("OPENAI_BASE_URL", "sk-secret")
    args = (str(project.scenario), "--model", "worker=openai:gpt-4o-mini")

    for result in (project.mma("check", *args), project.mma("run", *args)):
        assert result.return_value == 2
        assert "for 'openai' from OPENAI_BASE_URL is no http(s)" in result.stderr
        assert "sk-secret" not in result.output


def test_the_server_of_a_model_is_shown_without_passwords(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://ada:secret@127.0.0.1:1/v1")
    args = ("check", str(project.scenario), "--model", "worker=ollama:qwen3")

    result = project.mma(*args)

    assert "real model, no key, at http://127.0.0.1:1/v1\n" in result.stdout


def test_all_problems_are_told_at_once(project: Project) -> None:
    project.write(budgt={}, version=3)

    result = project.mma("check", str(project.scenario))

    assert result.return_value == 2
    assert result.stdout == ""
    assert "2 problems" in result.stderr


def test_the_script_is_checked_too(project: Project) -> None:
    project.write([{"turn": 0}])

    result = project.mma("check", str(project.scenario))

    assert result.return_value == 2
    assert "demo.script.yaml" in result.stderr


def test_a_tier_without_a_model_is_a_problem(project: Project) -> None:
    project.write(tiers={})

    result = project.mma("check", str(project.scenario))

    assert result.return_value == 2
    assert f"{project.scenario}:8:1: tiers.worker: tier 'worker' has no model" in (
        result.stderr
    )


def test_nothing_is_run(project: Project) -> None:
    project.mma("check", str(project.scenario))

    assert not project.home.exists()
    assert [path.name for path in project.workspace.iterdir()] == ["a.txt"]


def test_json_is_one_object(project: Project) -> None:
    record = json.loads(project.mma("check", "--json", str(project.scenario)).stdout)

    assert record["ok"]
    assert record["tickets"] == ["a"]
    assert record["tiers"]["worker"]["scripted"]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"tickets": None, "epic": "All."}, "an epic, planned by the orchestrator"),
        (
            {"tickets": None, "track": {"id": "t", "goal": "g"}},
            "the track 't', planned by the tech lead",
        ),
    ],
)
def test_the_summary_says_where_a_run_begins(
    project: Project, keys: dict[str, Any], line: str
) -> None:
    project.write(**keys, defaults={"model": "scripted:all"}, workspace=None)

    result = project.mma("check", str(project.scenario))

    assert f"  begins with  {line}" in result.stdout, result.stderr
    assert "  workspace    none, so there are no file tools" in result.stdout
    assert "  budget       none" in result.stdout
