import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from click import UsageError

from mma_runtime.runtime import Runtime
from tests.cli.conftest import DONE, WRITE, Project


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_run_prints_its_result_to_stdout_and_all_else_to_stderr(
    project: Project, backend: str
) -> None:
    result = project.run("--backend", backend)

    assert result.return_value == 0, result.stderr
    outcome, changed, patch, sandbox = result.stdout.splitlines()
    assert outcome.startswith("completed: 1 ticket")
    tree = Path(changed.removeprefix("changed files: "))
    assert (tree / "b.txt").read_text() == "two\n"
    assert Path(patch.removeprefix("as a patch:    ")).is_file()
    assert sandbox.removeprefix("sandbox:       ") in ("bubblewrap", "limits only")
    assert (
        "worker  scripted:worker  (scripted, priced as openai:gpt-4o-mini)"
        in result.stderr
    )
    assert "ticket a: completed (2 rounds, 1 attempt)" in result.stderr
    assert "nothing was billed" in result.stderr
    assert "b.txt  added" in result.stderr
    assert "\x1b" not in result.stderr


def test_the_users_folder_changes_only_when_that_is_asked_for(project: Project) -> None:
    project.run()
    assert not (project.workspace / "b.txt").exists()

    result = project.run("--apply")

    assert (project.workspace / "b.txt").read_text() == "two\n"
    assert f"1 file changed in {project.workspace}" in result.stdout


def test_the_command_line_can_forbid_what_the_scenario_applies(
    project: Project,
) -> None:
    project.write(workspace={"path": "work", "apply": True})

    assert project.run("--no-apply").return_value == 0
    assert not (project.workspace / "b.txt").exists()


def test_json_is_one_object_with_the_exit_code(project: Project) -> None:
    result = project.run("--json")

    record = json.loads(result.stdout)
    assert (record["state"], record["exit_code"]) == ("completed", 0)
    assert record["changes"][0]["path"] == "b.txt"
    assert record["costs"]["total"]["calls"] == 2
    assert record["costs"]["total"]["usd"] == record["costs"]["total"]["unpaid_usd"]
    assert "changed files:" in result.stderr


def test_jsonl_is_the_whole_stream_of_events(project: Project) -> None:
    records = events_of(project.run("--jsonl").stdout)

    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert records[0]["kind"] == "run_started"
    assert records[-1]["kind"] == "run_finished"
    finished = next(one for one in records if one["kind"] == "ticket_finished")
    assert (finished["ticket"], finished["state"]) == ("a", "completed")


def test_json_and_jsonl_exclude_each_other(project: Project) -> None:
    result = project.run("--json", "--jsonl")

    assert isinstance(result.exception, UsageError)


def test_options_may_stand_before_the_command(project: Project) -> None:
    home = str(project.home)

    result = project.mma("--json", "--home", home, "run", str(project.scenario))

    assert json.loads(result.stdout)["state"] == "completed"


def test_a_picture_of_the_end_needs_nothing_from_afar(
    project: Project, tmp_path: Path
) -> None:
    picture = tmp_path / "end.svg"

    result = project.run("--svg", str(picture))

    text = picture.read_text(encoding="utf-8").replace("&#160;", " ")
    assert result.return_value == 0
    assert "ticket a: completed" in text
    assert "nothing was billed" in text
    assert "completed: 1 ticket" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_picture_without_a_folder_is_refused_before_anything_runs(
    project: Project, tmp_path: Path
) -> None:
    result = project.run("--svg", str(tmp_path / "gone" / "end.svg"))

    assert isinstance(result.exception, UsageError)
    assert not project.home.exists()


def may_not_write(_path: object, mode: int) -> bool:
    return not mode & os.W_OK


def test_a_picture_for_a_folder_without_access_is_refused_before_anything_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", may_not_write)

    result = project.run("--svg", str(project.folder / "end.svg"))

    assert isinstance(result.exception, UsageError)
    assert "cannot be written to" in str(result.exception)
    assert not project.home.exists()


def test_a_picture_that_cannot_be_written_does_not_hide_the_result(
    project: Project,
) -> None:
    # A link to nowhere: its folder is there, and it cannot be opened.
    picture = project.folder / "end.svg"
    picture.symlink_to(project.folder / "gone" / "end.svg")

    result = project.run("--svg", str(picture))

    assert result.return_value == 1
    assert result.stdout.startswith("completed: ")
    assert "mma: the picture could not be written: " in result.stderr


# --- how runs end -------------------------------------------------------------


def test_a_failed_expectation_is_exit_code_1(project: Project) -> None:
    project.write(expect={"files": ["c.txt"]})

    result = project.run()

    assert result.return_value == 1
    assert "file c.txt" in result.stdout
    assert "expected file c.txt: NO: it is missing" in result.stderr


def test_a_budget_that_is_used_up_is_exit_code_3(project: Project) -> None:
    result = project.run("--budget", "0.0000001")

    assert result.return_value == 3
    assert result.stdout.startswith("over_budget: ")
    assert not (project.workspace / "b.txt").exists()


def test_running_out_of_tool_rounds_is_exit_code_4(project: Project) -> None:
    again = {"tool_calls": [{"name": "list_directory", "raw": "{}"}]}
    project.write(
        [again],
        tiers={"worker": {"model": "scripted:worker", "max_tool_rounds": 2}},
    )

    result = project.run()

    assert result.return_value == 4
    assert result.stdout.startswith("bounded: ")


def test_a_reply_that_the_script_lacks_is_exit_code_6(project: Project) -> None:
    project.write([WRITE])

    result = project.run()

    assert result.return_value == 6
    assert "the script has no reply for this request" in result.stdout


def test_a_missing_key_is_told_before_anything_runs(project: Project) -> None:
    result = project.run("--model", "tier3=openai:gpt-4o-mini")

    assert result.return_value == 6
    assert result.stdout == ""
    assert "mma: no API key for 'openai'" in result.stderr
    assert "OPENAI_API_KEY" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_invalid_scenario_is_exit_code_2_with_every_problem(
    project: Project,
) -> None:
    project.write(budgt={}, defaults={"temperature": 9})

    result = project.run()

    assert result.return_value == 2
    assert result.stdout == ""
    assert "did you mean `budget`?" in result.stderr
    assert "defaults.temperature" in result.stderr
    assert f"mma: 2 problems in {project.scenario}; nothing was run" in result.stderr


def test_an_invalid_scenario_is_an_object_with_json(project: Project) -> None:
    project.write(budgt={})

    record = json.loads(project.run("--json").stdout)

    assert record["exit_code"] == 2
    assert record["error"]["problems"][0]["path"] == "budgt"


def test_a_missing_file_is_exit_code_2(project: Project) -> None:
    result = project.mma("run", str(project.folder / "gone.yaml"))

    assert result.return_value == 2
    assert "gone.yaml: cannot be read: no such file" in result.stderr


def test_a_tier_without_a_model_is_exit_code_2(project: Project) -> None:
    project.write(tiers={})

    result = project.run()

    assert result.return_value == 2
    assert "tier 'worker' has no model" in result.stderr


def test_a_home_that_cannot_be_made_is_exit_code_2(project: Project) -> None:
    home = str(project.workspace / "a.txt" / "home")

    result = project.mma("run", str(project.scenario), "--home", home)

    assert result.return_value == 2
    assert result.stderr.startswith("mma: ")
    assert "Traceback" not in result.stderr


def test_a_home_that_cannot_be_written_is_named_with_what_to_do(
    project: Project,
) -> None:
    # A link to nowhere, in whose place no folder can be made.
    project.home.symlink_to(project.folder / "gone" / "home")
    home = str(project.home)

    result = project.run()

    assert f"runs cannot be kept in the folder {home!r}: " in result.stderr
    assert "`--journal FOLDER`" in result.stderr


def test_a_run_that_is_not_recorded_needs_no_home(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "access", may_not_write)

    result = project.run("--no-journal")

    assert result.return_value == 0, result.stderr
    (made,) = tmp_path.glob("mma-*/home")
    assert f"mma: what the run makes is kept in {made}\n" in result.stderr
    (tree,) = made.glob("runs/*/tree")
    assert (tree / "b.txt").read_text() == "two\n"
    assert f"changed files: {tree}" in result.stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--model", "worker"],
        ["--model", "wroker=openai:x"],
        ["--input", "topic"],
        ["--budget", "lots"],
        ["--budget", "-1"],
        ["--budget", "inf"],
        ["--backend", "curio"],
    ],
)
def test_a_malformed_option_is_a_usage_error(
    project: Project, options: list[str]
) -> None:
    result = project.run(*options)

    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2


def test_inputs_reach_the_scenario(project: Project) -> None:
    project.write(inputs={"who": {"required": True}}, name="for-${who}")

    assert project.run().return_value == 2
    assert "run 2" in project.run("--input", "who=me").stderr
    assert ": for-me" in project.run("--input", "who=me").stderr


def test_a_signal_before_the_run_began_ends_it_with_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*args: object, **keywords: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        await anyio.sleep_forever()

    monkeypatch.setattr(Runtime, "start", interrupted)

    result = project.run()

    assert result.return_value == 143
    assert result.stdout == ""
    assert result.stderr == (
        "mma: stopping; again to leave at once\nmma: interrupted before the run began\n"
    )


def test_the_answers_are_the_result_of_a_run_without_files(project: Project) -> None:
    project.write([{"text": "Forty-two."}], workspace=None)

    result = project.run()

    assert result.return_value == 0, result.stderr
    assert result.stdout.endswith("a: Forty-two.\n")


def test_a_script_that_is_none_is_told_with_its_place(project: Project) -> None:
    project.write([WRITE, DONE | {"tiir": "x"}])

    result = project.run()

    assert result.return_value == 2
    assert "demo.script.yaml" in result.stderr
