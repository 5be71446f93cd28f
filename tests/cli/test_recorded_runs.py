"""What `mma` does with runs that were recorded."""

import json
import os
import shlex
import sqlite3
import sys
from contextlib import closing
from errno import ENOSPC, EROFS
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from click import UsageError

from mma_runtime.cli.show import KINDS
from mma_runtime.journal import Entry, JournalReader
from mma_runtime.journal.summary import summarise
from mma_runtime.journal.writer import JournalWriter, open_file
from mma_runtime.recording import JOURNAL, exporting, find_run, run_folders
from mma_runtime.runtime import Runtime
from mma_runtime.runtime.run import Run
from tests.cli.conftest import DONE, Project
from tests.cli.ptys import Terminal, environ


def runs_of(project: Project) -> list[dict[str, object]]:
    result = project.mma("runs", "--json", "--home", str(project.home))
    found: list[dict[str, object]] = json.loads(result.stdout)["runs"]
    return found


def test_runs_lists_what_was_recorded(project: Project) -> None:
    project.run()

    (run,) = runs_of(project)
    assert (run["state"], run["tickets"], run["completed"]) == ("completed", 1, 1)
    table = project.mma("runs", "--home", str(project.home)).stdout
    assert "completed" in table
    assert str(run["run"]) in table


@pytest.mark.parametrize("columns", [40, 50, 60, 80, 100])
def test_runs_cuts_names_to_fit_a_terminal_and_never_money(
    project: Project, columns: int
) -> None:
    project.write(name="a long name " * 500)
    project.run()
    args = [sys.executable, "-m", "mma_runtime", "runs", "--home", str(project.home)]

    terminal = Terminal(args, environ(COLUMNS=str(columns)))
    shown = terminal.read()
    terminal.wait()

    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= columns
    assert lines[0].endswith("US$")
    assert all(line.endswith("0.0001") for line in lines[1:])
    assert lines[1].startswith(str(runs_of(project)[0]["run"]))
    assert ("began" in lines[0]) == (columns >= 80)


def test_runs_cuts_a_name_where_no_terminal_does(project: Project) -> None:
    project.write(name="x" * 5_000)
    project.run()

    listed = project.mma("runs", "--home", str(project.home)).stdout

    assert max(map(len, listed.splitlines())) < 120


@pytest.mark.parametrize("command", [("runs",), ("show",), ("show", "--all")])
def test_no_name_of_a_recorded_run_steers_the_terminal(
    project: Project, command: tuple[str, ...]
) -> None:
    project.write(name="a\x1b[2Jb\x9b31m")
    project.run()

    shown = project.mma(*command, "--home", str(project.home)).stdout

    assert "a [2Jb 31m" in shown
    assert "\x1b" not in shown
    assert "\x9b" not in shown


def test_runs_says_when_there_is_none(project: Project) -> None:
    result = project.mma("runs", "--home", str(project.home))

    assert result.stdout.startswith("no run was recorded in")


def test_a_run_can_go_unrecorded(project: Project) -> None:
    project.run("--no-journal")

    assert runs_of(project) == []


def test_a_journal_that_cannot_be_read_is_listed_as_damaged(project: Project) -> None:
    project.run()
    (folder,) = run_folders(project.home)
    (folder / JOURNAL).write_bytes(b"no journal")

    assert [run["state"] for run in runs_of(project)] == ["damaged"]


@pytest.mark.parametrize("birth", [b"", None])
def test_a_run_that_was_killed_before_it_began_is_told_as_such(
    project: Project, birth: bytes | None
) -> None:
    folder = project.home / "runs" / "20260101-000000-abc123"
    folder.mkdir(parents=True)
    if birth is None:
        opened = open_file(folder / JOURNAL, folder.name)
        opened.db.close()
        opened.lock.release()
    else:
        (folder / JOURNAL).write_bytes(birth)

    home = ("--home", str(project.home))
    assert [run["state"] for run in runs_of(project)] == ["never began"]
    assert "never began" in project.mma("runs", *home).stdout
    assert "never began, 0 of 0 tickets" in project.mma("show", *home).stdout
    for command in ("resume", "replay"):
        refused = project.mma(command, *home)
        assert refused.return_value == 2
        assert "cut off before it began" in refused.stderr

    pruned = project.mma("prune", "--days", "0", *home)
    assert "1 run removed" in pruned.stdout
    assert runs_of(project) == []


def _damage(path: Path, what: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(what)
        db.commit()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM content WHERE number = 5",
        "DELETE FROM batch WHERE last = (SELECT last FROM batch LIMIT 5, 1)",
        "UPDATE batch SET stored = x'00' WHERE last = (SELECT max(last) FROM batch)",
    ],
)
def test_resume_keeps_what_holds_of_a_damaged_journal_and_says_what_is_lost(
    project: Project, damage: str
) -> None:
    project.run()
    (folder,) = run_folders(project.home)
    _damage(folder / JOURNAL, damage)

    resumed = project.mma("resume", "--home", str(project.home))

    assert resumed.return_value == 0, resumed.stderr
    assert "mma: the journal was damaged (" in resumed.stderr
    assert "records are kept" in resumed.stderr
    assert list(folder.glob(f"{JOURNAL}.damaged-1"))
    assert [run["state"] for run in runs_of(project)] == ["completed"]
    again = project.mma("resume", "--home", str(project.home))
    assert (again.return_value, "damaged" in again.stderr) == (0, False)


def test_show_tells_the_beginning_of_a_damaged_journal_and_where_it_ends(
    project: Project,
) -> None:
    project.run()
    (folder,) = run_folders(project.home)
    _damage(
        folder / JOURNAL,
        "DELETE FROM batch WHERE last = (SELECT last FROM batch LIMIT 3, 1)",
    )

    shown = project.mma("show", "--home", str(project.home))

    assert shown.return_value == 2
    assert "RunStarted" in shown.stdout
    assert "RunFinished" not in shown.stdout
    assert "is missing; `mma resume` keeps what still holds" in shown.stderr


def test_a_journal_of_a_newer_version_is_refused_by_all_commands(
    project: Project,
) -> None:
    project.run()
    (folder,) = run_folders(project.home)
    _damage(folder / JOURNAL, "PRAGMA user_version = 99")

    assert [run["state"] for run in runs_of(project)] == ["too new"]
    for command in ("show", "resume", "replay"):
        refused = project.mma(command, "--home", str(project.home))
        assert refused.return_value == 2
        assert "use a newer mma-runtime" in refused.stderr


def test_show_tells_what_happened_and_what_it_cost(project: Project) -> None:
    project.run()

    shown = project.mma("show", "--home", str(project.home), "--diffs").stdout

    assert "TicketPlanned" in shown
    assert "+two" in shown
    assert "completed, 1 of 1 tickets completed, 2 calls" in shown.splitlines()[-1]
    (by_tier,) = (row for row in shown.splitlines() if row.startswith("worker "))
    (by_ticket,) = (row for row in shown.splitlines() if row.startswith("a  "))
    assert by_tier.split()[1:3] == ["scripted:worker", "2"]
    assert by_ticket.split()[1] == "2"


def test_show_of_one_ticket_tells_what_that_ticket_cost(project: Project) -> None:
    project.run()
    home = ("--home", str(project.home))

    one = project.mma("show", *home, "--ticket", "a").stdout

    assert "scripted:worker" in one
    assert "Costs by ticket" not in one


@pytest.mark.parametrize(
    ("ticket", "hint"), [("write", "; did you mean `writer`?"), ("qq", "")]
)
def test_show_refuses_a_ticket_that_the_run_does_not_have(
    project: Project, ticket: str, hint: str
) -> None:
    project.write(tickets=[{"id": "writer", "description": "Write b.txt."}])
    project.run()

    result = project.mma("show", "--home", str(project.home), "--ticket", ticket)

    assert result.return_value == 2
    assert f"there is no ticket {ticket!r}{hint}" in result.stderr
    assert result.stdout == ""


def test_what_a_recorded_run_cost_is_what_its_report_said(project: Project) -> None:
    total = json.loads(project.run("--json").stdout)["costs"]["total"]

    summary = summarise(find_run(project.home, "last") / JOURNAL)

    spent = summary.costs.total
    assert (spent.calls, str(spent.usd)) == (total["calls"], total["usd"])
    assert spent.usage.input == total["usage"]["input"]
    assert spent.unpaid_usd == spent.usd


def test_a_call_whose_end_nobody_knows_is_counted_before_and_after_a_resume(
    project: Project,
) -> None:
    project.run()
    home = ("--home", str(project.home))
    lines = project.mma("show", *home, "--all", "--json").stdout.splitlines()
    sent = next(one for one in map(json.loads, lines) if one["kind"] == "intent")
    _cut(project, sent["record"])

    killed = runs_of(project)[0]
    shown = project.mma("show", *home).stdout.splitlines()[-1]
    resumed = json.loads(project.mma("resume", *home, "--json").stdout)
    after = runs_of(project)[0]

    assert (killed["state"], killed["calls"]) == ("interrupted", 1)
    assert killed["unknown_calls"] == 1
    assert "1 calls, " in shown
    assert "unknown" in shown
    assert resumed["costs"]["total"]["calls"] == after["calls"] == 3
    assert resumed["costs"]["total"]["unknown_calls"] == after["unknown_calls"] == 1


def test_a_fork_is_not_charged_for_a_call_of_the_other_run(project: Project) -> None:
    project.run()
    home = ("--home", str(project.home))
    lines = project.mma("show", *home, "--all", "--json").stdout.splitlines()
    sent = next(one for one in map(json.loads, lines) if one["kind"] == "intent")

    at = str(sent["record"])
    forked = project.mma("fork", "last", "--at", at, *home, "--json")

    total = json.loads(forked.stdout)["costs"]["total"]
    assert (total["calls"], total["unknown_calls"]) == (2, 0)


@pytest.mark.parametrize(
    ("said", "state"),
    [("again", "completed"), ("happened", "completed"), ("fail", "failed")],
)
def test_what_is_said_of_calls_that_may_have_happened_can_be_said_at_once(
    project: Project, said: str, state: str
) -> None:
    begun = _cut_off_a_call(project)
    home = ("--home", str(project.home))

    fork = project.mma("fork", "last", "--at", begun, *home, "--json", "--once", said)
    (run, _) = (folder.name for folder in run_folders(project.home))
    resumed = project.mma("resume", run, *home, "--json", "--once", said)

    for result in (fork, resumed):
        outcome = json.loads(result.stdout)
        made = [change["path"] for change in outcome["changes"]]
        assert outcome["state"] == state
        assert made == (["b.txt"] if said == "again" else [])


def test_what_is_said_at_once_is_one_of_three_words(project: Project) -> None:
    _cut_off_a_call(project)

    wrong = project.mma("resume", "--once", "perhaps", "--home", str(project.home))

    assert "'perhaps' is none of again, happened, fail" in str(wrong.exception)


def _cut_off_a_call(project: Project) -> str:
    """Leave a run that was killed in a call that is to happen once; say where."""
    call = {"name": "run_command", "arguments": {"command": "touch b.txt"}}
    project.write(
        [{"turn": 1, "tool_calls": [call]}, DONE], once={"run_command": ["touch *"]}
    )
    project.run()
    home = ("--home", str(project.home))
    lines = project.mma("show", *home, "--all", "--json").stdout.splitlines()
    begun = next(one for one in map(json.loads, lines) if one["kind"] == "once")
    _cut(project, begun["record"])
    return str(begun["record"])


def _cut(project: Project, last: int) -> None:
    """Leave of the only run what a kill after record *last* leaves."""
    (folder,) = run_folders(project.home)
    with JournalReader(folder / JOURNAL) as reader:
        entries = [
            Entry(
                kind=record.kind,
                origin=record.origin,
                call=record.call,
                facts=record.facts,
                contents={
                    name: reader.content(number)
                    for name, number in record.contents.items()
                },
            )
            for record in reader.records()
            if record.seq <= last
        ]

    for file in folder.glob(f"{JOURNAL}*"):
        file.unlink()

    async def write() -> None:
        writer = await JournalWriter.open(folder / JOURNAL, run=folder.name)
        await writer.append(*entries)
        await writer.aclose()

    anyio.run(write)


def test_show_can_follow_a_run_that_has_ended(project: Project) -> None:
    project.run()

    shown = project.mma("show", "--home", str(project.home), "--follow").stdout

    assert "RunFinished" in shown


def test_show_prints_the_lines_that_the_run_has_printed_and_where_to_fork(
    project: Project,
) -> None:
    printed = project.run("--jsonl").stdout.splitlines()
    assert len(printed) > 10
    (folder,) = run_folders(project.home)
    with JournalReader(folder / JOURNAL) as reader:
        numbers = [r.seq for r in reader.records() if r.kind in KINDS]

    shown = project.mma("show", "--home", str(project.home), "--json").stdout

    lines = [json.loads(line) for line in shown.splitlines()]
    assert [line.pop("record") for line in lines] == numbers
    assert lines == [json.loads(line) for line in printed]


def test_show_prints_the_records_of_one_ticket_as_json(project: Project) -> None:
    project.run()

    shown = project.mma(
        "show", "--home", str(project.home), "--json", "--all", "--ticket", "a"
    )

    records = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {record["ticket"] for record in records} == {"a"}
    assert {"intent", "reply", "tools", "merge", "ticket_planned"} <= {
        record["kind"] for record in records
    }


def test_replay_is_free_and_the_same(project: Project) -> None:
    project.run()
    (project.folder / "demo.script.yaml").unlink()

    result = project.mma("replay", "--home", str(project.home), "--json")

    found = json.loads(result.stdout)
    assert result.return_value == 0, result.stderr
    assert (found["state"], found["difference"]) == ("completed", "")


def test_replay_and_fork_tell_of_a_killed_run_in_the_words_of_runs(
    project: Project,
) -> None:
    project.run()
    home = ("--home", str(project.home))
    lines = project.mma("show", *home, "--all", "--json").stdout.splitlines()
    last = next(one for one in map(json.loads, lines) if one["kind"] == "tools")
    _cut(project, last["record"])
    (listed,) = runs_of(project)

    replayed = project.mma("replay", *home)
    forked = project.mma("fork", "last", "--at", str(last["record"]), *home)

    assert listed["state"] == "interrupted"
    assert replayed.return_value == 0, replayed.stdout
    assert ": the same, interrupted; 2 replies and results came" in replayed.stdout
    assert "outcome: interrupted before, completed now" in forked.stderr


def _reworded(name: str, *_where: object, **_values: str) -> str:
    return f"other words for {name}"


def test_replay_fails_with_the_first_difference(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run()
    (project.workspace / "a.txt").write_text("changed since\n", encoding="utf-8")
    assert project.mma("replay", "--home", str(project.home)).return_value == 0

    monkeypatch.setattr("mma_agents.tier.prompt", _reworded)
    result = project.mma("replay", "--home", str(project.home))

    assert result.return_value == 1
    assert "not the same: the request of call 'ticket/a/1.1'" in result.stdout


def test_resume_of_a_finished_run_is_that_run(project: Project) -> None:
    project.run()

    result = project.mma("resume", "--home", str(project.home), "--json")

    assert result.return_value == 0, result.stderr
    assert json.loads(result.stdout)["costs"]["total"]["calls"] == 2
    assert len(runs_of(project)) == 1


def test_fork_is_a_run_of_its_own_and_compared(project: Project) -> None:
    project.run()

    result = project.mma(
        "fork", "last", "--at", "ticket=a", "--home", str(project.home)
    )

    assert result.return_value == 0, result.stderr
    assert "records reused" in result.stderr
    assert "outcome: completed before, completed now" in result.stderr
    assert "before, <$0.0001 now, +$0.0000" in result.stderr
    assert len(runs_of(project)) == 2


@pytest.mark.parametrize("point", ["soon", "ticket="])
def test_fork_says_what_a_point_is(project: Project, point: str) -> None:
    project.run()

    result = project.mma("fork", "last", "--at", point, "--home", str(project.home))

    assert "neither an event's number nor ticket=ID" in str(result.exception)


def test_export_makes_a_scenario_that_plays_the_same_run(project: Project) -> None:
    project.run()
    exported = project.folder / "exported.yaml"

    result = project.mma(
        "export", "last", "--script", str(exported), "--home", str(project.home)
    )
    again = project.mma("run", str(exported), "--home", str(project.home), "--json")

    script = project.folder / "exported.script.yaml"
    assert result.stdout == f"2 replies written to {script}; try `mma run {exported}`\n"
    assert again.return_value == 0, again.stderr
    assert len({one["usd"] for one in runs_of(project)}) == 1
    assert json.loads(again.stdout)["tickets"][0]["files"] == ["b.txt"]


def test_what_a_scenario_says_is_exported_as_it_is_meant(project: Project) -> None:
    project.write(
        tickets=[{"id": "a", "description": "Keep $${HOME} as it is.", "step": True}],
        tiers={"worker": {"model": ["scripted:worker"], "escalate": ["scripted:x"]}},
        workspace={"path": "work", "apply": True},
        approvals={"seconds": 0.05},
    )
    project.run()
    (project.folder / "deep").mkdir()
    exported = project.folder / "deep" / "exported.yaml"

    result = project.mma(
        "export", "last", "--script", str(exported), "--home", str(project.home)
    )

    # Nobody answered, so that nothing was said that could be exported.
    assert result.return_value == 2
    assert "no reply that could be exported" in result.stderr

    project.write(
        tickets=[{"id": "a", "description": "Keep $${HOME} as it is."}],
        tiers={"worker": {"model": ["scripted:worker"], "escalate": ["scripted:x"]}},
        workspace={"path": "work", "apply": True},
    )
    project.run()
    home = str(project.home)
    project.mma("export", "last", "--script", str(exported), "--journal", home)
    found = yaml.safe_load(exported.read_text(encoding="utf-8"))
    assert found["tickets"][0]["description"] == "Keep $${HOME} as it is."
    assert found["workspace"] == {"path": "../work"}
    assert found["tiers"]["worker"] == {
        "model": "scripted:worker",
        "escalate": ["scripted:x"],
    }


def test_record_runs_a_scenario_and_exports_it(project: Project) -> None:
    exported = project.folder / "exported.yaml"

    result = project.mma(
        *("record", str(project.scenario), "--script", str(exported)),
        *("--home", str(project.home)),
    )

    assert result.return_value == 0, result.stderr
    assert "2 replies written to" in result.stdout
    assert project.mma("check", str(exported)).return_value == 0


def test_record_saves_its_own_run_beside_another_that_began_meanwhile(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Runtime.start

    async def after_another(self: Runtime, *args: Any, **options: Any) -> Run:
        mine = await start(self, *args, **options)
        other = await start(self, *args, **options)
        await other.outcome()
        return mine

    monkeypatch.setattr(Runtime, "start", after_another)
    exported = project.folder / "exported.yaml"

    result = project.mma(
        *("record", str(project.scenario), "--script", str(exported)),
        *("--home", str(project.home)),
    )

    assert len(runs_of(project)) == 2
    assert result.return_value == 0, result.stderr
    assert result.stdout.count("replies written to") == 1


@pytest.mark.parametrize("name", ["own.yaml", "own.script.yaml"])
@pytest.mark.parametrize("command", ["export", "record"])
def test_what_is_saved_replaces_nothing_unless_that_is_asked_for(
    project: Project, command: str, name: str
) -> None:
    project.run()
    own = project.folder / name
    own.write_text("precious\n", encoding="utf-8")
    what = str(project.scenario) if command == "record" else "last"
    saved = ("--script", str(project.folder / "own.yaml"), "--home", str(project.home))

    refused = project.mma(command, what, *saved)

    assert refused.return_value == 2
    assert f"'{own}' is there already; `--force` replaces it" in refused.stderr
    assert own.read_text(encoding="utf-8") == "precious\n"
    assert len(runs_of(project)) == 1

    replaced = project.mma(command, what, *saved, "--force")
    assert replaced.return_value == 0, replaced.stderr
    assert project.mma("check", str(project.folder / "own.yaml")).return_value == 0


def test_record_refuses_before_the_run_what_it_could_not_save(
    project: Project,
) -> None:
    nowhere = str(project.folder / "gone" / "x.yaml")

    result = project.mma(
        *("record", str(project.scenario), "--script", nowhere),
        *("--home", str(project.home)),
    )

    assert isinstance(result.exception, UsageError)
    assert "for --script" in str(result.exception)
    assert runs_of(project) == []


def test_a_run_that_cannot_be_saved_at_its_end_says_how_it_can_be(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = project.folder / "saved.yaml"

    def full(path: Path, _content: bytes) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC), str(path))

    monkeypatch.setattr(exporting, "replace_file", full)

    result = project.mma(
        *("record", str(project.scenario), "--script", str(saved)),
        *("--home", str(project.home)),
    )

    (run,) = runs_of(project)
    assert result.return_value == 0
    assert "could not be written: No space left on device" in result.stderr
    assert f"mma export {run['run']} --home {project.home} --script FILE" in (
        result.stderr
    )
    assert not saved.exists()


def test_record_says_what_it_needs(project: Project) -> None:
    result = project.mma("record", str(project.scenario))

    assert "script" in str(result.exception)


def test_prune_removes_by_age_and_by_size(project: Project) -> None:
    for _ in range(3):
        project.run()

    first, *_ = run_folders(project.home)
    os.utime(first / JOURNAL, (1, 1))
    home = ("--home", str(project.home))

    dry = project.mma("prune", "--days", "1", "--dry-run", *home)
    assert "1 run would be removed" in dry.stdout
    assert len(runs_of(project)) == 3

    assert "1 run removed" in project.mma("prune", "--days", "1", *home).stdout
    assert not first.exists()
    assert "2 runs removed" in project.mma("prune", "--days", "0", *home).stdout


def test_a_run_is_as_old_as_what_was_written_last(project: Project) -> None:
    project.run()
    (folder,) = run_folders(project.home)
    log = folder / f"{JOURNAL}-wal"
    log.write_bytes(b"written, and not in the file yet")
    os.utime(folder / JOURNAL, (1, 1))
    aged = ("prune", "--days", "1", "--dry-run", "--home", str(project.home))

    assert "0 runs would be removed" in project.mma(*aged).stdout

    os.utime(log, (1, 1))
    assert "1 run would be removed" in project.mma(*aged).stdout


def test_the_folder_of_recorded_runs_is_named_by_journal(project: Project) -> None:
    place = str(project.folder / "elsewhere")

    ran = project.mma("run", str(project.scenario), "--journal", place)
    shown = project.mma("show", "--journal", place)

    assert ran.return_value == 0
    assert "completed" in shown.stdout
    assert len(list(run_folders(Path(place)))) == 1


def test_resume_adds_to_the_limit_that_ended_the_run(project: Project) -> None:
    project.write(budget={"calls": 1})
    assert project.run().return_value == 3
    home = ("--home", str(project.home))

    nothing = project.mma("resume", "--budget", "+0.50", *home)
    assert nothing.return_value == 2
    assert "no limit in usd" in nothing.stderr
    assert "calls 1" in nothing.stderr

    more = project.mma("resume", "--budget", "calls=+5", *home)
    assert more.return_value == 0, more.stderr


def test_what_is_added_to_a_limit_is_written_with_its_sign(project: Project) -> None:
    project.run()

    result = project.mma("resume", "--budget", "5", "--home", str(project.home))

    assert isinstance(result.exception, UsageError)
    assert "write '+5'" in str(result.exception)


def test_a_completed_run_is_left_as_it_is_when_it_is_resumed(project: Project) -> None:
    project.run()
    (folder,) = run_folders(project.home)
    before = (folder / JOURNAL).read_bytes()

    result = project.mma("resume", "--home", str(project.home))

    assert result.return_value == 0
    told = f"{folder.name} was completed already: there is nothing to do\n"
    assert result.stdout == told
    assert result.stderr == ""
    assert (folder / JOURNAL).read_bytes() == before


def test_what_a_completed_run_made_can_still_be_handed_over(project: Project) -> None:
    project.run()

    result = project.mma("resume", "--apply", "--home", str(project.home))

    assert result.return_value == 0, result.stderr
    assert (project.workspace / "b.txt").read_text() == "two\n"


@pytest.mark.parametrize("amount", ["calls=+1.5", "euros=+3", "usd=", "-1", "+x"])
def test_what_cannot_be_added_is_told(project: Project, amount: str) -> None:
    project.run()

    result = project.mma("resume", "--budget", amount, "--home", str(project.home))

    assert type(result.exception).__name__ == "BadParameter"


@pytest.mark.parametrize("number", ["-1", "nan", "inf", "1e300", "a week"])
@pytest.mark.parametrize("option", ["--days", "--megabytes"])
def test_prune_refuses_what_is_no_number(
    project: Project, option: str, number: str
) -> None:
    project.run()

    result = project.mma("prune", option, number, "--home", str(project.home))

    assert f"{number!r} is not a number from 0" in str(result.exception)
    assert len(runs_of(project)) == 1


def test_prune_tells_what_it_cannot_remove(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run()

    def refuse(_folder: Path) -> None:
        raise OSError(EROFS, "Read-only file system")

    monkeypatch.setattr("mma_runtime.recording.pruning.remove_tree", refuse)
    result = project.mma("prune", "--days", "0", "--home", str(project.home))

    assert result.return_value == 2
    assert "Read-only file system" in result.stderr
    assert "removed" not in result.stdout


def test_prune_wants_to_know_which(project: Project) -> None:
    result = project.mma("prune", "--home", str(project.home))

    assert "Say which runs" in str(result.exception)


@pytest.mark.parametrize(
    "command", [["show"], ["resume"], ["replay"], ["fork", "x", "--at", "1"]]
)
def test_a_run_that_is_not_there_is_told(
    project: Project, command: list[str], tmp_path: Path
) -> None:
    result = project.mma(*command, "--home", str(tmp_path / "nowhere"))

    assert result.return_value == 2
    assert "mma: no run was recorded in" in result.stderr


def test_the_command_at_a_spent_budget_goes_on_to_the_end(project: Project) -> None:
    project.write(budget={"calls": 1})

    stopped = json.loads(project.run("--json").stdout)
    words = project.run().stdout

    command = stopped["resume_command"]
    assert stopped["state"] == "over_budget"
    assert command.startswith(f"mma resume {stopped['run']} --budget calls=+2 --home ")
    assert "to go on:      mma resume " in words
    again = project.mma(*shlex.split(command)[1:], "--json")
    outcome = json.loads(again.stdout)
    assert (outcome["state"], outcome["resume_command"]) == ("completed", "")


def test_what_was_not_recorded_cannot_be_gone_on_with(project: Project) -> None:
    project.write(budget={"calls": 1})

    result = project.run("--no-journal", "--json")

    assert json.loads(result.stdout)["resume_command"] == ""
