"""Log records on stderr, for people and for programs."""

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner
from rich.console import Console

from mma_runtime.cli.live import Display
from mma_runtime.cli.logs import configure_logs
from mma_runtime.cli.main import cli
from mma_runtime.cli.options import LogChoice
from mma_runtime.events import RunPaused
from tests.cli.conftest import Project

SECRET = "sk-secret-of-the-command-line"  # noqa: S105 - nobody's


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def names(text: str) -> list[str]:
    return [record["event"] for record in records(text)]


def test_json_records_are_all_that_stderr_gets(project: Project) -> None:
    result = project.run("--log-format", "json")

    assert result.return_value == 0
    found = records(result.stderr)
    assert list(found[0])[:4] == ["timestamp", "level", "event", "run"]
    assert found[0]["event"] == "run_started"
    assert found[-1]["event"] == "run_finished"
    assert result.stdout.startswith("completed: 1 ticket")


@pytest.mark.parametrize("option", ["--json", "--jsonl"])
def test_records_leave_stdout_to_the_result(project: Project, option: str) -> None:
    result = project.run(option, "--log-format", "json", "--log-level", "warning")

    assert result.stderr == ""
    assert json.loads(
        result.stdout if option == "--json" else result.stdout.splitlines()[-1]
    )


def test_records_for_people_stand_in_for_the_narration(project: Project) -> None:
    result = project.run("--log-level", "info")

    assert "[info     ] ticket_finished" in result.stderr
    assert "ticket a: completed (2 rounds, 1 attempt)" not in result.stderr
    assert "nothing was billed" in result.stderr
    assert "\x1b" not in result.stderr


def test_content_is_told_at_debug_alone(project: Project) -> None:
    quiet = project.run("--log-format", "json")
    loud = project.run("--log-format", "json", "--log-level", "debug")

    assert "Write b.txt." not in quiet.stderr
    assert "model_request" in names(loud.stderr)
    assert "Write b.txt." in loud.stderr


def test_no_secret_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    project.write(tickets=[{"id": "a", "description": f"Write {SECRET} to b.txt."}])

    result = project.run("--log-format", "json", "--log-level", "debug")

    assert "[secret]" in result.stderr
    assert SECRET not in result.stderr


def test_runs_that_go_on_are_logged_too(project: Project) -> None:
    project.write(budget={"calls": 1})
    project.run()
    home = ("--home", str(project.home), "--log-format", "json")

    resumed = CliRunner().invoke(cli, ["resume", "last", *home])
    replayed = CliRunner().invoke(cli, ["replay", "last", *home])

    assert "run_finished" in names(resumed.stderr)
    assert "run_finished" in names(replayed.stderr)


def test_nothing_is_logged_unless_it_is_asked_for(project: Project) -> None:
    project.run()

    assert not structlog.is_configured()


BROKEN = {
    "yaml": ("scenario_invalid", "tickets: [", 2),
    "key": ("scenario_invalid", "tires: {}\ntickets: []", 2),
    "missing": ("scenario_invalid", None, 2),
    "credentials": (
        "credentials_missing",
        (
            "tiers: {worker: {model: 'openai:gpt-4o-mini'}}\n"
            "tickets: [{id: a, description: x}]"
        ),
        6,
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("output", ["", "--json", "--jsonl"])
def test_what_keeps_a_run_from_starting_is_one_record_too(
    project: Project, output: str, broken: str
) -> None:
    kind, text, code = BROKEN[broken]
    if text is None:
        project.scenario.unlink(missing_ok=True)
    else:
        project.scenario.write_text(text)

    result = project.run("--log-format", "json", *([output] if output else []))

    assert result.return_value == code
    (record,) = records(result.stderr)
    assert (record["event"], record["level"]) == ("run_not_started", "error")
    assert (record["error"]["kind"], record["exit_code"]) == (kind, code)
    lines = result.stdout.splitlines()
    assert len(lines) == 1 if output == "--jsonl" else bool(lines) is bool(output)
    if output:
        assert json.loads(result.stdout) == {
            "error": record["error"],
            "exit_code": record["exit_code"],
        }


@pytest.mark.parametrize("command", ["resume", "replay", "fork"])
def test_a_run_that_there_is_not_is_one_record_too(
    project: Project, command: str
) -> None:
    options = ["--at", "1"] if command == "fork" else []
    home = ["--home", str(project.home)]

    result = project.mma(command, "nobody", *options, *home, "--log-format", "json")

    (record,) = records(result.stderr)
    assert record["error"]["kind"] == "run_unknown"
    assert result.return_value == record["exit_code"] == 2


def test_what_a_fork_is_compared_with_is_a_record_too(project: Project) -> None:
    project.run()

    home = ["--home", str(project.home)]
    result = project.mma("fork", "last", "--at", "1", *home, "--log-format", "json")

    assert names(result.stderr)[-1] == "fork_compared"


def test_what_keeps_a_run_from_being_saved_is_a_record_too(project: Project) -> None:
    home = ["--home", str(project.home), "--log-format", "json"]
    taken = str(project.scenario)

    result = project.mma("record", str(project.scenario), "--script", taken, *home)

    assert result.return_value == 2
    assert records(result.stderr)[-1]["event"] == "run_not_started"


def test_for_people_it_is_words(project: Project) -> None:
    project.scenario.write_text("tickets: [")

    result = project.run("--log-format", "console")

    assert "nothing was run" in result.stderr
    assert "run_not_started" not in result.stderr


@pytest.mark.parametrize(
    "options", [("--log-format", "xml"), ("--log-level", "loud"), ("--log-level",)]
)
def test_a_choice_that_there_is_not_is_a_usage_error(
    project: Project, options: tuple[str, ...]
) -> None:
    result = CliRunner().invoke(cli, ["run", str(project.scenario), *options])

    assert result.exit_code == 2


def display() -> tuple[Display, StringIO]:
    stream = StringIO()
    return Display(Console(file=stream, width=200)), stream


def test_records_go_through_the_display_so_that_its_region_stays_whole() -> None:
    shown, stream = display()
    configure_logs(LogChoice("console", logging.INFO), shown)

    structlog.get_logger("mma_runtime").warning("careful", ticket="[red]a[/red]")
    structlog.get_logger("mma_runtime").debug("unseen")
    shown.add(RunPaused(reason="r"))

    assert "careful" in stream.getvalue()
    assert "ticket=[red]a[/red]" in stream.getvalue()
    assert "unseen" not in stream.getvalue()
    assert len(shown.transcript) == 1


def test_beside_json_the_display_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    shown, stream = display()
    configure_logs(LogChoice("json", logging.ERROR), shown)

    shown.say("the table at the end")
    try:
        Path("/nowhere/at/all").read_text()
    except OSError:
        structlog.get_logger("mma_runtime").exception("broken")

    assert stream.getvalue() == ""
    (record,) = records(capsys.readouterr().err)
    assert record["exception"][0]["exc_type"] == "FileNotFoundError"
