"""Runs that are recorded: resumed, replayed, forked, and paused when they cannot be."""

import json
import subprocess
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from mma_runtime import Run, RunState, Runtime, Scenario
from mma_runtime.errors import (
    AuthenticationFailed,
    ConfigurationError,
    JournalInUse,
    JournalUnreadable,
    ProviderFacts,
    RunUnknown,
    WorkspaceError,
)
from mma_runtime.events import TicketFinished
from mma_runtime.journal import JournalReader
from mma_runtime.journal.writer import JournalWriter
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, ToolTurn
from mma_runtime.outcome import Outcome, TicketState
from mma_runtime.recording import (
    JOURNAL,
    find_run,
    recorded_start,
    run_folders,
    secrets_of,
)
from mma_runtime.recording.changes import Changes
from mma_runtime.recording.forking import ForkPoint
from mma_runtime.testing import FunctionProvider
from tests.team import (
    Answer,
    Said,
    accepted,
    project,
    scenario,
    team,
    tickets,
    use,
)

PLAN = tickets(one=[], two=["one"], three=[])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / ".mma"


def write_own_file(request: ChatRequest) -> Said:
    """Write a file named for the ticket, then be done."""
    if isinstance(request.turns[-1], ToolTurn):
        return "done"

    name = request.origin.ticket
    return use("write_file", path=f"{name}.txt", content=f"{name}\n")


def a_track(folder: Path) -> Scenario:
    """Return a scenario whose lead plans three tickets on a small project."""
    work = project(folder / "work", a__txt="a\n")
    track = {"id": "files", "goal": "three files"}
    return scenario(track=track, workspace={"path": work})


def a_team(**answers: Answer | Said) -> FunctionProvider:
    return team(**{"plan_track": PLAN, "ticket": write_own_file, **answers})


async def play(
    home: Path,
    provider: FunctionProvider,
    begin: Callable[[Runtime], Awaitable[Run]],
    *,
    content: bool = True,
) -> tuple[Run, Outcome]:
    """Begin a run, wait for its end, and return both."""
    async with Runtime(
        home=home,
        providers=[provider],
        journal=True,
        environment={},
        capture_content=content,
    ) as runtime:
        run = await begin(runtime)
        return run, await run.outcome()


def files_of(outcome: Outcome) -> dict[str, str]:
    assert outcome.tree is not None
    return {path.name: path.read_text() for path in outcome.tree.glob("*.txt")}


ALL_FILES = {"a.txt": "a\n", "one.txt": "one\n", "two.txt": "two\n"} | {
    "three.txt": "three\n"
}


async def test_a_finished_run_that_is_resumed_pays_for_nothing(
    tmp_path: Path, home: Path
) -> None:
    given = a_track(tmp_path)
    _, first = await play(home, a_team(), lambda runtime: runtime.start(given))
    provider = a_team()

    run, again = await play(home, provider, lambda runtime: runtime.resume("last"))

    assert provider.requests == []
    assert run.id == first.run
    assert again.state is RunState.COMPLETED
    assert again.costs.total == first.costs.total
    assert files_of(again) == files_of(first) == ALL_FILES


async def cut_off(home: Path, given: Scenario) -> FunctionProvider:
    """Cancel a run while it works on ticket two; return whom it asked."""
    reached = anyio.Event()

    async def stuck(request: ChatRequest) -> Said:
        if request.origin.task == "plan":
            return PLAN

        if request.origin.task == "review":
            return accepted()

        if request.origin.ticket == "two":
            reached.set()
            await anyio.sleep_forever()

        return write_own_file(request)

    provider = FunctionProvider(stuck)
    async with Runtime(home=home, providers=[provider], journal=True) as runtime:
        run = await runtime.start(given)
        await reached.wait()
        outcome = await run.cancel()
        assert outcome.state is RunState.CANCELLED

    return provider


def asked(provider: FunctionProvider) -> set[tuple[str, str, int]]:
    return {(r.origin.task, r.origin.ticket, r.turn) for r in provider.requests}


async def test_a_run_that_was_cancelled_goes_on_where_it_was(
    tmp_path: Path, home: Path
) -> None:
    before = await cut_off(home, a_track(tmp_path))
    provider = a_team()

    run, outcome = await play(home, provider, lambda runtime: runtime.resume("last"))

    assert outcome.state is RunState.COMPLETED
    assert files_of(outcome) == ALL_FILES
    assert ("ticket", "two", 1) in asked(provider) & asked(before)
    # What was under way when it was cancelled, and nothing that had been answered.
    assert len(asked(provider) & asked(before)) <= 2
    assert outcome.costs.total.calls == len(before.requests) + len(provider.requests)
    assert run.reused > 0


async def test_a_run_that_was_cut_off_is_replayed_as_far_as_it_came(
    tmp_path: Path, home: Path
) -> None:
    await cut_off(home, a_track(tmp_path))
    provider = a_team()

    run, outcome = await play(
        home, provider, lambda runtime: runtime.replay("last", tmp_path / "scratch")
    )

    assert provider.requests == []
    assert run.difference == ""
    assert outcome.state is RunState.CANCELLED


async def test_a_resumed_run_tells_all_its_events_again(
    tmp_path: Path, home: Path
) -> None:
    given = a_track(tmp_path)
    await play(home, a_team(), lambda runtime: runtime.start(given))
    async with Runtime(home=home, providers=[a_team()], journal=True) as runtime:
        run = await runtime.resume("last")
        events = [event async for event in run.events()]

    finished = [e.origin.ticket for e in events if isinstance(e, TicketFinished)]
    assert sorted(finished) == ["one", "three", "two"]


async def test_what_a_provider_refused_is_asked_again(
    tmp_path: Path, home: Path
) -> None:
    given = a_track(tmp_path)

    def no_key(request: ChatRequest) -> Said:
        if request.origin.ticket == "two":
            raise AuthenticationFailed("bad key", ProviderFacts(provider="function"))

        return write_own_file(request)

    provider = a_team(ticket=no_key)
    _, failed = await play(home, provider, lambda runtime: runtime.start(given))
    assert failed.state is RunState.PROVIDER_FAILED
    again = a_team()

    _, outcome = await play(home, again, lambda runtime: runtime.resume("last"))

    assert outcome.state is RunState.COMPLETED
    assert files_of(outcome) == ALL_FILES
    assert {r.origin.ticket for r in again.requests if r.origin.ticket} == {"two"}


async def test_a_bounded_ticket_goes_on_with_more_rounds(
    tmp_path: Path, home: Path
) -> None:
    work = project(tmp_path / "work", a__txt="a\n")
    given = scenario(
        workspace={"path": work},
        tiers={"worker": {"model": "function:m", "max_tool_rounds": 2}},
    )

    def slow(request: ChatRequest) -> Said:
        return write_own_file(request) if request.turn == 3 else use("list_directory")

    _, bounded = await play(home, team(ticket=slow), lambda r: r.start(given))
    assert bounded.state is RunState.BOUNDED
    again = team(ticket=lambda r: "done" if r.turn == 4 else slow(r))

    _, outcome = await play(
        home, again, lambda runtime: runtime.resume("last", Changes(rounds=2))
    )

    assert outcome.state is RunState.COMPLETED
    # The first round is used again, the one that had to conclude is not.
    assert [r.turn for r in again.requests] == [2, 3]


async def test_a_replay_asks_nobody_and_is_the_same(tmp_path: Path, home: Path) -> None:
    given = a_track(tmp_path)
    _, first = await play(home, a_team(), lambda runtime: runtime.start(given))
    provider = a_team()

    run, again = await play(
        home, provider, lambda runtime: runtime.replay("last", tmp_path / "scratch")
    )

    assert provider.requests == []
    assert run.difference == ""
    assert again.state is first.state
    assert files_of(again) == files_of(first)


def _reworded(name: str, *_where: object, **_values: str) -> str:
    return f"other words for {name}"


async def test_a_replay_tells_the_first_difference(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = a_track(tmp_path)
    await play(home, a_team(), lambda runtime: runtime.start(given))
    monkeypatch.setattr("mma_agents.tier.prompt", _reworded)

    run, _ = await play(
        home, a_team(), lambda runtime: runtime.replay("last", tmp_path / "scratch")
    )

    assert "the request of call 'plan/files/1.1'" in run.difference


async def test_a_fork_redoes_a_ticket_and_what_depends_on_it(
    tmp_path: Path, home: Path
) -> None:
    given = a_track(tmp_path)
    first, _ = await play(home, a_team(), lambda runtime: runtime.start(given))

    def louder(request: ChatRequest) -> Said:
        said = write_own_file(request)
        if isinstance(said, AssistantTurn) and said.tool_calls:
            name = request.origin.ticket
            return use("write_file", path=f"{name}.txt", content=f"{name.upper()}\n")

        return said

    provider = a_team(ticket=louder)
    run, outcome = await play(
        home, provider, lambda r: r.fork(first.id, ForkPoint(ticket="one"))
    )

    assert run.id != first.id
    assert outcome.state is RunState.COMPLETED
    assert files_of(outcome) == {
        "a.txt": "a\n",
        "one.txt": "ONE\n",
        "two.txt": "TWO\n",
        "three.txt": "three\n",
    }
    assert {r.origin.ticket for r in provider.requests} <= {"one", "two", ""}


async def test_a_fork_of_a_git_project_has_a_branch_of_its_own(
    tmp_path: Path, home: Path
) -> None:
    work = project(tmp_path / "work", a__txt="a\n")
    for words in ("init -q -b main", "add .", "commit -q -m first"):
        git(work, *words.split())

    given = scenario(
        track={"id": "files", "goal": "three files"}, workspace={"path": work}
    )
    first, _ = await play(home, a_team(), lambda runtime: runtime.start(given))

    run, outcome = await play(
        home,
        a_team(),
        lambda runtime: runtime.fork(
            first.id, ForkPoint(ticket="three"), apply="branch"
        ),
    )
    again, resumed = await play(
        home, a_team(), lambda runtime: runtime.resume(run.id, apply=False)
    )

    assert outcome.branch == f"mma/{run.id}"
    assert files_of(resumed) == files_of(outcome) == ALL_FILES
    assert again.id == run.id
    log = git(work, "log", "--format=%s", outcome.branch).splitlines()
    assert sorted(log) == ["first", "one", "three", "two"]
    assert git(work, "branch", "--list", f"mma/{first.id}") == ""


@pytest.mark.parametrize("point", [ForkPoint(event=99_999), ForkPoint(ticket="on")])
async def test_a_fork_needs_a_point_that_there_is(
    tmp_path: Path, home: Path, point: ForkPoint
) -> None:
    given = a_track(tmp_path)
    await play(home, a_team(), lambda runtime: runtime.start(given))

    with pytest.raises(ConfigurationError, match="there is no"):
        await play(home, a_team(), lambda runtime: runtime.fork("last", point))

    assert len(list(run_folders(home))) == 1


async def test_a_full_disk_pauses_the_run_and_it_goes_on_later(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = a_track(tmp_path)
    writes = 0
    insert = JournalWriter._insert  # pyright: ignore[reportPrivateUsage] - made to fail

    def full(self: JournalWriter, batch: object) -> None:
        nonlocal writes
        writes += 1
        if writes > 8:
            raise OSError("database or disk is full")

        insert(self, batch)  # type: ignore[arg-type] # passed on as it came

    with monkeypatch.context() as patched:
        patched.setattr(JournalWriter, "_insert", full)
        _, paused = await play(home, a_team(), lambda runtime: runtime.start(given))

    assert paused.state is RunState.PAUSED
    assert "disk is full" in paused.reason
    assert "resume the run" in paused.reason

    _, outcome = await play(home, a_team(), lambda runtime: runtime.resume("last"))
    assert outcome.state is RunState.COMPLETED
    assert files_of(outcome) == ALL_FILES


async def test_two_cannot_be_at_work_on_one_run(tmp_path: Path, home: Path) -> None:
    given = scenario(workspace={"path": project(tmp_path / "work", a__txt="a\n")})
    reached = anyio.Event()

    async def stuck(_request: ChatRequest) -> Said:
        reached.set()
        await anyio.sleep_forever()
        return "never"

    provider = FunctionProvider(stuck)
    async with Runtime(home=home, providers=[provider], journal=True) as runtime:
        run = await runtime.start(given)
        await reached.wait()
        with pytest.raises(JournalInUse, match="process"):
            await runtime.resume(run.id)

        await run.cancel()


def git(folder: Path, *arguments: str) -> str:
    words = ("git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t")
    done = subprocess.run(
        [*words, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def told_in(path: Path) -> str:
    """Return all that a journal holds, in words."""
    with JournalReader(path) as reader:
        return "\n".join(
            f"{record.kind} {record.call} {record.facts}"
            + "".join(
                reader.content(number).decode(errors="replace")
                for number in record.contents.values()
            )
            for record in reader.records()
        )


@pytest.mark.parametrize("where", ["runtime", "scenario", "mma.toml"])
async def test_without_content_a_run_can_only_be_looked_at(
    tmp_path: Path, home: Path, where: str
) -> None:
    given = a_track(tmp_path)
    if where == "scenario":
        given = given.model_copy(update={"capture_content": False})

    if where == "mma.toml":
        (tmp_path / "mma.toml").write_text("capture_content = false\n")

    said = accepted("half a word")
    team = a_team(review=lambda r: said if r.turn == 2 else accepted())
    _, outcome = await play(
        home, team, lambda runtime: runtime.start(given), content=where != "runtime"
    )

    assert outcome.state is RunState.COMPLETED
    ways: list[Callable[[Runtime], Awaitable[Run]]] = [
        lambda runtime: runtime.resume("last"),
        lambda runtime: runtime.replay("last", tmp_path / "scratch"),
        lambda runtime: runtime.fork("last", ForkPoint(ticket="one")),
    ]
    for again in ways:
        with pytest.raises(JournalUnreadable, match="capture_content: false"):
            await play(home, a_team(), again)

    told = told_in(find_run(home, "last") / JOURNAL)
    assert "TicketFinished" in told
    assert "half a word" not in told
    assert "one.txt" not in told
    assert "do it" not in told


async def test_keys_do_not_reach_the_journal(tmp_path: Path, home: Path) -> None:
    keys = {
        "OPENAI_API_KEY": "sk-of-the-environment-0123",
        "GEMINI_API_KEY": "sk-of-a-dotenv-file-4567",
        "anthropic": 'sk-"of-a-table"-8901',
    }
    (tmp_path / ".env").write_text(f"GEMINI_API_KEY={keys['GEMINI_API_KEY']}\n")
    table = tmp_path / "credentials.toml"
    table.write_text(f"[anthropic]\napi_key = '{keys['anthropic']}'\n")
    table.chmod(0o600)
    work = project(tmp_path / "work", secret__env="\n".join(keys.values()))
    given = scenario(
        workspace={"path": work},
        tickets=[
            {
                "id": "one",
                "description": f"Use {keys['OPENAI_API_KEY']}.",
                "acceptance": ["cat secret.env"],
            }
        ],
    )

    def reads(request: ChatRequest) -> Said:
        if request.turn == 1:
            return use("read_file", path="secret.env")

        if request.turn == 2:
            return use("run_command", command="cat secret.env")

        return f"it says {' '.join(keys.values())}"

    environment = {"OPENAI_API_KEY": keys["OPENAI_API_KEY"]}
    async with Runtime(
        home=home,
        providers=[team(ticket=reads)],
        journal=True,
        environment=environment,
    ) as runtime:
        run = await runtime.start(given)
        assert (await run.outcome()).state is RunState.COMPLETED

    path = find_run(home, run.id) / JOURNAL
    told = told_in(path)
    assert secrets_of(environment)(keys["OPENAI_API_KEY"].encode()) == b"[secret]"
    assert told.count("[secret]") > 6
    for key in (*keys.values(), json.dumps(keys["anthropic"])[1:-1]):
        assert key not in told


@pytest.mark.parametrize(
    ("budget", "more"),
    [
        ({"calls": 3}, {"calls": Decimal(20)}),
        ({"tokens": 4_000}, {"run.tokens": Decimal(500_000)}),
        ({"ticket": {"calls": 1}}, {"ticket.calls": Decimal(9)}),
    ],
)
async def test_a_run_over_its_budget_goes_on_with_more(
    tmp_path: Path, home: Path, budget: dict[str, object], more: dict[str, Decimal]
) -> None:
    given = scenario(
        track={"id": "files", "goal": "three files"},
        workspace={"path": project(tmp_path / "work", a__txt="a\n")},
        budget=budget,
    )
    _, first = await play(home, a_team(), lambda runtime: runtime.start(given))
    assert first.state is RunState.OVER_BUDGET, first.reason

    with pytest.raises(ConfigurationError, match="no limit in usd"):
        await play(
            home,
            a_team(),
            lambda runtime: runtime.resume("last", Changes(budget={"usd": Decimal(1)})),
        )

    _, outcome = await play(
        home, a_team(), lambda runtime: runtime.resume("last", Changes(budget=more))
    )
    assert outcome.state is RunState.COMPLETED, outcome.reason
    assert files_of(outcome) == ALL_FILES


async def test_a_run_whose_time_is_up_goes_on_with_more_and_not_without(
    tmp_path: Path, home: Path
) -> None:
    given = scenario(
        tickets=[
            {"id": name, "description": "d", "depends_on": needs}
            for name, needs in (("first", []), ("second", ["first"]))
        ],
        budget={"seconds": 0.1},
    )

    async def stuck(request: ChatRequest) -> Said:
        if request.origin.ticket == "second":
            await anyio.sleep_forever()
        return "done"

    _, first = await play(
        home, FunctionProvider(stuck), lambda runtime: runtime.start(given)
    )
    assert first.state is RunState.OVER_BUDGET
    run = f"mma resume {first.run} --budget seconds=+1"
    assert first.resume_command.startswith(run)

    nobody = FunctionProvider(lambda _: "done")
    _, again = await play(home, nobody, lambda runtime: runtime.resume("last"))
    assert again.state is RunState.OVER_BUDGET
    assert "0.1 seconds" in again.reason
    assert nobody.requests == []
    states = [ticket.state for ticket in again.tickets]
    assert states[0] is TicketState.COMPLETED
    assert again.resume_command == first.resume_command

    more = Changes(budget={"seconds": Decimal(60)})
    _, outcome = await play(
        home,
        FunctionProvider(lambda _: "done"),
        lambda runtime: runtime.resume("last", more),
    )
    assert outcome.state is RunState.COMPLETED, outcome.reason


@pytest.mark.parametrize("name", ["dollars", "epic.usd", "ticket.", ""])
def test_a_budget_that_there_is_not_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no budget"):
        Changes(budget={name: Decimal(1)}).apply(a_track(tmp_path))


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-1", "0", "1e400"])
def test_what_is_no_amount_is_added_to_nothing(tmp_path: Path, amount: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be added to 'calls'"):
        Changes(budget={"calls": Decimal(amount)}).apply(a_track(tmp_path))


def test_rounds_are_not_taken_away(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="-1 rounds cannot be added"):
        Changes(rounds=-1).apply(a_track(tmp_path))


async def test_a_resumed_run_finds_what_lies_beside_its_scenario(
    tmp_path: Path,
) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    project(beside / "work", a__txt="a\n")
    (beside / "x.yaml").write_text(
        "tickets: [{id: one, description: d}]\n"
        "tiers: {worker: {model: 'function:m'}}\n"
        "workspace: {path: work}\n"
    )
    home = tmp_path / "elsewhere" / ".mma"
    await play(home, team(), lambda runtime: runtime.start(beside / "x.yaml"))
    assert recorded_start(find_run(home, "last")).beside == beside

    (beside / "mma.toml").write_text("prices = 3\n")
    with pytest.raises(ConfigurationError, match="prices"):
        await play(home, team(), lambda runtime: runtime.resume("last"))


async def test_a_file_of_the_run_that_was_changed_from_outside_is_told(
    tmp_path: Path, home: Path
) -> None:
    given = a_track(tmp_path)
    _, outcome = await play(home, a_team(), lambda runtime: runtime.start(given))
    assert outcome.tree is not None
    (outcome.tree / "a.txt").write_text("tampered\n")

    with pytest.raises(WorkspaceError, match=r"a\.txt"):
        await play(home, a_team(), lambda runtime: runtime.resume("last"))


@pytest.mark.parametrize("name", ["last", "nothing", ""])
def test_where_no_run_was_recorded_the_next_step_is_told(home: Path, name: str) -> None:
    with pytest.raises(RunUnknown) as caught:
        find_run(home, name)

    assert str(caught.value) == (
        f"no run was recorded in {home}; `mma run FILE` records one, and `--journal`"
        " names another folder"
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "there is no run '' in "),
        ("zzz", "; `mma runs` lists those that there are"),
        ("20261128-1O", "; did you mean `20261128-10`?"),
        ("2026", "several runs begin with '2026': 20261128-10, 20261129-11; write"),
    ],
)
def test_a_name_that_is_of_no_run_or_of_several_is_told(
    home: Path, name: str, told: str
) -> None:
    for run in ("20261128-10", "20261129-11"):
        (home / "runs" / run).mkdir(parents=True)
        (home / "runs" / run / JOURNAL).touch()

    with pytest.raises(RunUnknown) as caught:
        find_run(home, name)

    assert told in str(caught.value)


async def test_a_run_without_a_journal_writes_none(tmp_path: Path, home: Path) -> None:
    given = a_track(tmp_path)
    async with Runtime(home=home, providers=[a_team()]) as runtime:
        run = await runtime.start(given)
        outcome = await run.outcome()

    assert outcome.tickets[0].state is TicketState.COMPLETED
    assert list(home.rglob(JOURNAL)) == []
