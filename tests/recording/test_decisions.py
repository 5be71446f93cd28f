"""What people decided while a run went on holds when it is resumed or replayed."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from mma_runtime import Run, Runtime, Scenario
from mma_runtime.errors import Refused
from mma_runtime.events import ApprovalGiven, RunPaused, RunResumed
from mma_runtime.journal import JournalReader, Past
from mma_runtime.llm.chat import ChatRequest, ToolTurn
from mma_runtime.outcome import Outcome, RunState, TicketState
from mma_runtime.plan import Priority
from mma_runtime.recording import JOURNAL, find_run
from mma_runtime.recording.changes import Changes
from mma_runtime.supervisor.orders import Order, OrderTicket
from mma_runtime.testing import FunctionProvider
from mma_runtime.tools.approval import Approval
from tests.team import Said, project, scenario, team, use


async def taken(order: Callable[[], Awaitable[object]]) -> None:
    """Give an *order* until it is not refused any more."""
    with anyio.fail_after(10):
        while True:
            try:
                await order()
            except Refused:
                await checkpoint()
            else:
                return


BESIDE = [
    {"id": "one", "description": "do it"},
    {"id": "two", "description": "do it", "depends_on": ["one"]},
    {"id": "beside", "description": "do it"},
]


class Stage:
    """A run whose ticket `one` waits until it is told to go on, or to fail.

    So does any other that has a gate.
    """

    def __init__(self, folder: Path, **keys: object) -> None:
        self.home = folder / ".mma"
        self.reached = anyio.Event()
        self.go_on = anyio.Event()
        self.gates = {"one": self.go_on}
        self.given = self._scenario(folder, keys)
        self.folder = folder

    @staticmethod
    def _scenario(folder: Path, keys: dict[str, object]) -> Scenario:
        keys.setdefault(
            "tickets",
            [
                {"id": "one", "description": "do it"},
                {"id": "two", "description": "do it", "depends_on": ["one"]},
                {"id": "three", "description": "do it", "depends_on": ["two"]},
            ],
        )
        work = project(folder / "work", a__txt="a\n")
        return scenario(workspace={"path": work}, **keys)

    def provider(self) -> FunctionProvider:
        async def answer(request: ChatRequest) -> Said:
            name = request.origin.ticket
            if name in self.gates and request.turn == 2:
                if name == "one":
                    self.reached.set()

                await self.gates[name].wait()

            if isinstance(request.turns[-1], ToolTurn):
                return "done"

            return use("write_file", path=f"{name}.txt", content=f"{name}\n")

        return FunctionProvider(answer)

    async def play(
        self,
        provider: FunctionProvider,
        begin: Callable[[Runtime], Awaitable[Run]],
        act: Callable[[Run], Awaitable[object]] | None = None,
    ) -> tuple[Run, Outcome]:
        async with Runtime(
            home=self.home, providers=[provider], journal=True, environment={}
        ) as runtime:
            run = await begin(runtime)
            if act is not None:
                await act(run)

            return run, await run.outcome()

    async def record(self, act: Callable[[Run], Awaitable[object]]) -> Outcome:
        """Run while somebody acts once ticket one is at work."""

        async def in_time(run: Run) -> None:
            await self.reached.wait()
            await act(run)

        _, outcome = await self.play(
            self.provider(), lambda runtime: runtime.start(self.given), in_time
        )
        return outcome

    async def replay(self) -> tuple[Run, Outcome]:
        return await self.play(
            team(), lambda runtime: runtime.replay("last", self.folder / "scratch")
        )

    async def resume(self) -> tuple[FunctionProvider, Outcome]:
        provider = team()
        _, outcome = await self.play(provider, lambda runtime: runtime.resume("last"))
        return provider, outcome


def states(outcome: Outcome) -> dict[str, str]:
    return {ticket.id: ticket.state.value for ticket in outcome.tickets}


async def skip_the_second(run: Run) -> None:
    await run.block("two", "not today")
    with pytest.raises(Refused, match="'two' waits for 'one', which is running"):
        await run.unblock("two")

    await run.prioritise("two", Priority.HIGH)
    await run.skip("two", "not needed")


async def test_orders_are_followed_again_by_replay_and_resume(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def act(run: Run) -> None:
        await skip_the_second(run)
        stage.go_on.set()

    outcome = await stage.record(act)
    assert states(outcome) == {
        "one": "completed",
        "two": "skipped",
        "three": "completed",
    }

    run, replayed = await stage.replay()
    provider, resumed = await stage.resume()

    assert run.difference == ""
    assert states(replayed) == states(resumed) == states(outcome)
    assert provider.requests == []


async def test_orders_from_before_the_first_ticket_come_again_too(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path)
    stage.go_on.set()

    async def begin(runtime: Runtime) -> Run:
        run = await runtime.start(stage.given)
        run.pause("not yet")
        await run.skip("two", "not wanted")
        run.resume("now")
        return run

    with anyio.fail_after(20):
        _, outcome = await stage.play(stage.provider(), begin)
        run, replayed = await stage.replay()
        provider, resumed = await stage.resume()

    assert states(outcome)["two"] == "skipped"
    assert run.difference == ""
    assert states(replayed) == states(resumed) == states(outcome)
    assert provider.requests == []


async def test_a_blocked_ticket_that_is_cancelled_ends_nobody_elses_work(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path)

    async def act(run: Run) -> None:
        await run.block("two", "not today")
        await run.cancel_ticket("two", "never")
        assert await run.retry("two") == ("two", "three")
        stage.go_on.set()

    outcome = await stage.record(act)

    assert set(states(outcome).values()) == {"completed"}


@pytest.mark.parametrize("order", ["retry", "skip"])
async def test_a_ticket_cancelled_at_work_begins_anew_once_its_worker_has_ended(
    tmp_path: Path, order: str
) -> None:
    stage = Stage(tmp_path, tickets=BESIDE)
    beside = stage.gates["beside"] = anyio.Event()

    async def act(run: Run) -> None:
        # Its worker may be done by now: both are well.
        stage.go_on.set()
        assert run.supervisor is not None
        await run.supervisor.ask(OrderTicket(ticket="one", order=Order.CANCEL))
        await taken(partial(getattr(run, order), "one"))
        beside.set()

    with anyio.fail_after(20):
        outcome = await stage.record(act)

    run, replayed = await stage.replay()
    assert states(outcome)["one"] == ("completed" if order == "retry" else "skipped")
    assert (states(outcome)["two"], states(outcome)["beside"]) == ("completed",) * 2
    assert run.difference == ""
    assert states(replayed) == states(outcome)


async def test_who_cancels_a_ticket_has_waited_for_its_worker(tmp_path: Path) -> None:
    stage = Stage(tmp_path, tickets=BESIDE)
    beside = stage.gates["beside"] = anyio.Event()

    async def act(run: Run) -> None:
        stage.go_on.set()
        await run.cancel_ticket("one", "enough")
        await run.retry("one")
        beside.set()

    with anyio.fail_after(20):
        outcome = await stage.record(act)

    assert set(states(outcome).values()) == {"completed"}


async def test_nothing_begins_anew_when_nothing_is_open_any_more(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path)

    async def act(run: Run) -> None:
        await run.cancel_ticket("one", "enough")
        for order in (run.retry, run.skip):
            with pytest.raises(Refused, match="'one' stays as it is"):
                await order("one")

        with pytest.raises(Refused, match="'two' stays as it is"):
            await run.unblock("two")

    outcome = await stage.record(act)

    assert states(outcome) == {"one": "cancelled", "two": "blocked", "three": "blocked"}


async def test_a_ticket_cancelled_at_work_stays_so(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    outcome = await stage.record(lambda run: run.cancel_ticket("one", "enough"))
    assert states(outcome)["one"] == "cancelled"

    run, replayed = await stage.replay()
    provider, resumed = await stage.resume()

    assert run.difference == ""
    assert states(replayed) == states(resumed) == states(outcome)
    assert provider.requests == []


async def test_orders_of_a_run_that_was_cut_off_hold_when_it_goes_on(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path)

    async def act(run: Run) -> None:
        await skip_the_second(run)
        run.pause("lunch")
        await run.cancel()

    assert (await stage.record(act)).state is RunState.CANCELLED

    provider, outcome = await stage.resume()

    # Who resumes a paused run wants it to go on.
    assert outcome.state is RunState.COMPLETED
    assert states(outcome)["two"] == "skipped"
    assert {request.origin.ticket for request in provider.requests} == {"one", "three"}


async def test_a_retry_comes_again_after_the_failure_that_it_answers(
    tmp_path: Path,
) -> None:
    stage = Stage(
        tmp_path,
        tickets=[
            {"id": "one", "description": "do it"},
            {"id": "two", "description": "do it", "acceptance": ["test -e there"]},
        ],
        tiers={"worker": {"model": "function:m", "attempts": 1}},
    )

    async def act(run: Run) -> None:
        await taken(partial(run.retry, "two"))

        stage.go_on.set()

    outcome = await stage.record(act)
    assert states(outcome) == {"one": "completed", "two": "failed"}
    assert outcome.tickets[1].attempts == 2

    run, replayed = await stage.replay()

    assert run.difference == ""
    assert replayed.tickets[1].attempts == 2


async def test_what_was_unblocked_comes_again_once_what_it_needs_is_done(
    tmp_path: Path,
) -> None:
    stage = Stage(
        tmp_path,
        tickets=[
            {"id": "one", "description": "do it"},
            {"id": "two", "description": "do it"},
            {"id": "three", "description": "do it", "depends_on": ["two"]},
        ],
    )

    two = stage.gates["two"] = anyio.Event()

    async def act(run: Run) -> None:
        await run.block("three", "not yet")
        two.set()
        await taken(partial(run.unblock, "three"))

        stage.go_on.set()

    outcome = await stage.record(act)
    assert set(states(outcome).values()) == {"completed"}

    run, replayed = await stage.replay()

    assert run.difference == ""
    assert states(replayed) == states(outcome)


async def test_a_pause_is_told_again_and_lifted(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def act(run: Run) -> None:
        run.pause("lunch")
        stage.go_on.set()
        with anyio.fail_after(10):
            async for event in run.events():
                if isinstance(event, RunPaused):
                    break

        run.resume("back again")

    outcome = await stage.record(act)
    assert outcome.state is RunState.COMPLETED

    run, _ = await stage.replay()
    told = [e async for e in run.events() if isinstance(e, RunPaused | RunResumed)]

    assert run.difference == ""
    assert [type(event).__name__ for event in told] == ["RunPaused", "RunResumed"]
    assert [event.reason for event in told] == ["lunch", "back again"]


ASKING = {
    "tickets": [{"id": "one", "description": "do it", "step": True}],
    "approvals": {"policy": {"*": "ask"}, "seconds": 5},
}


async def answer_all(run: Run, approval: Approval) -> None:
    """Answer whatever is asked, until the run has ended."""
    async for event in run.events():
        if type(event).__name__ == "ApprovalAsked":
            with anyio.fail_after(5):
                while not run.questions:
                    await checkpoint()

            for question in run.questions:
                run.answer(question.id, approval)


@pytest.mark.parametrize(
    ("approval", "state"),
    [
        (Approval.approve(all_alike=True), TicketState.COMPLETED),
        (Approval.reject("no"), TicketState.CANCELLED),
    ],
)
async def test_what_was_answered_is_not_asked_again(
    tmp_path: Path, approval: Approval, state: TicketState
) -> None:
    stage = Stage(tmp_path, **ASKING)
    stage.go_on.set()
    _, outcome = await stage.play(
        stage.provider(),
        lambda runtime: runtime.start(stage.given),
        lambda run: answer_all(run, approval),
    )
    assert outcome.tickets[0].state is state

    run, replayed = await stage.replay()
    given = [e async for e in run.events() if isinstance(e, ApprovalGiven)]
    _, resumed = await stage.resume()

    assert run.difference == ""
    assert {event.approved for event in given} == {approval.approved}
    assert states(replayed) == states(resumed) == states(outcome)


async def test_answers_given_before_a_run_was_cut_off_hold_when_it_goes_on(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, **ASKING)

    async def act(run: Run) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_all, run, Approval.approve())
            await stage.reached.wait()
            await run.cancel()

    _, cut_off = await stage.play(
        stage.provider(), lambda runtime: runtime.start(stage.given), act
    )
    assert cut_off.state is RunState.CANCELLED

    _, outcome = await stage.resume()

    assert outcome.state is RunState.COMPLETED


async def test_what_nobody_answered_is_asked_again(tmp_path: Path) -> None:
    asking = {**ASKING, "approvals": {"policy": {"*": "ask"}, "seconds": 0.01}}
    stage = Stage(tmp_path, **asking)
    stage.go_on.set()
    _, outcome = await stage.play(
        stage.provider(), lambda runtime: runtime.start(stage.given)
    )
    assert states(outcome) == {"one": "cancelled"}
    run, _ = await stage.replay()
    assert run.difference == ""

    _, resumed = await stage.play(
        stage.provider(), lambda runtime: runtime.resume("last")
    )
    with JournalReader(find_run(stage.home, "last") / JOURNAL) as reader:
        answers = [one for one in reader.records() if one.kind == "answer"]

    assert states(resumed) == {"one": "cancelled"}
    assert [one.facts["given"] for one in answers] == [False, False]


async def test_a_run_with_other_bounds_is_replayed_leg_by_leg(tmp_path: Path) -> None:
    stage = Stage(
        tmp_path,
        tickets=[
            {"id": "one", "description": "do it"},
            {"id": "two", "description": "do it"},
        ],
        tiers={"worker": {"model": "function:m", "max_tool_rounds": 2}},
    )

    def slow(request: ChatRequest) -> Said:
        if request.origin.ticket == "two" and request.turn < 4:
            return use("list_directory")

        if isinstance(request.turns[-1], ToolTurn):
            return "done"

        return use("write_file", path="one.txt", content="one\n")

    _, bounded = await stage.play(
        team(ticket=slow), lambda runtime: runtime.start(stage.given)
    )
    assert bounded.state is RunState.BOUNDED
    _, outcome = await stage.play(
        team(ticket=slow), lambda runtime: runtime.resume("last", Changes(rounds=4))
    )
    assert outcome.state is RunState.COMPLETED

    found: list[tuple[str, RunState]] = []
    past = Past.read(find_run(stage.home, "last") / JOURNAL)
    for leg in range(len(past.legs) + 1):
        run, replayed = await stage.play(
            team(),
            lambda runtime, leg=leg: runtime.replay(  # type: ignore[misc] # bound
                "last", tmp_path / f"scratch{leg}", leg=leg
            ),
        )
        found.append((run.difference, replayed.state))

    assert found == [("", RunState.BOUNDED), ("", RunState.COMPLETED)]
