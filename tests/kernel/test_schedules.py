"""A sweep over seeded schedules of a small tree that crashes, fills up and cancels."""
# pyright: reportPrivateUsage=false
# Looks inside for what was left.

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import anyio.lowlevel
import pytest
from anyio import create_task_group, current_time, fail_after, move_on_after, sleep
from trio.lowlevel import current_statistics

from mma_runtime.errors import (
    ActorFailed,
    ActorStopped,
    MailboxFull,
    Refused,
)
from mma_runtime.events import ActorCrashed, ActorRestarted, Event, MessageDropped
from mma_runtime.kernel import Actor, ActorSystem, Message, Ref, Request, handles
from mma_runtime.kernel.mailbox import Mailbox
from mma_runtime.testing import run_seeded

INTENSITY = (2, 50.0)


@dataclass(frozen=True, slots=True)
class Note(Message):
    sender: str
    number: int
    pause: float
    crash: bool


@dataclass(frozen=True, slots=True)
class Question(Request[int]):
    number: int
    pause: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Workers(Request[list[Ref]]):
    pass


@dataclass(slots=True)
class Record:
    """Everything that happened in one run."""

    begun: list[tuple[str, str, int]] = field(
        default_factory=list[tuple[str, str, int]]
    )
    answered: Counter[int] = field(default_factory=Counter[int])
    outcomes: Counter[str] = field(default_factory=Counter[str])
    notes: int = 0
    not_sent: int = 0
    events: list[tuple[float, Event]] = field(default_factory=list[tuple[float, Event]])
    open_lifespans: int = 0


class Worker(Actor):
    mailbox_capacity = 2

    def __init__(self, record: Record) -> None:
        self.record = record

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        self.record.open_lifespans += 1
        try:
            await anyio.lowlevel.checkpoint()
            yield
        finally:
            self.record.open_lifespans -= 1

    @handles
    async def note(self, message: Note) -> None:
        self.record.begun.append((self.ref.name, message.sender, message.number))
        await sleep(message.pause)
        if message.crash:
            raise ValueError("crash")

    @handles
    async def question(self, request: Question) -> int:
        self.record.answered[request.number] += 1
        await sleep(request.pause)
        match request.outcome:
            case "crash":
                raise ValueError("crash")
            case "refuse":
                raise Refused("no")
            case _:
                return request.number


class Dropping(Worker):
    overflow = "drop_oldest"
    restart = "transient"


class Rejecting(Worker):
    overflow = "reject"
    restart = "temporary"


class OneForOne(Actor):
    intensity = INTENSITY

    def __init__(self, record: Record) -> None:
        self.record = record
        self.workers: list[Ref] = []

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        for name, kind in (("a", Worker), ("b", Dropping), ("c", Rejecting)):
            self.workers.append(await self.spawn(name, kind, self.record))

        yield

    @handles
    async def report(self, request: Workers) -> list[Ref]:
        return self.workers


class OneForAll(OneForOne):
    strategy = "one_for_all"


class RestForOne(OneForOne):
    strategy = "rest_for_one"


async def bother(
    random: Random, record: Record, sender: str, workers: list[Ref]
) -> None:
    """Do twelve random things to random workers."""
    for number in range(12):
        worker = random.choice(workers)
        pause = random.choice([0, 0, 1, 3])
        match random.choice(["tell", "send", "ask", "ask", "ask", "stop"]):
            case "tell":
                record.notes += 1
                try:
                    worker.tell(Note(sender, number, pause, random.random() < 0.2))
                except MailboxFull:
                    record.not_sent += 1
            case "send":
                record.notes += 1
                try:
                    await worker.send(Note(sender, number, pause, crash=False))
                except MailboxFull:
                    record.not_sent += 1
            case "ask":
                outcome = random.choice(["answer", "answer", "refuse", "crash"])
                limit = random.choice([0, 1, 2, 1000])
                key = ord(sender) * 1000 + number
                await question(record, worker, Question(key, pause, outcome), limit)
            case _:
                if random.random() < 0.1:
                    worker.stop()

        await sleep(random.choice([0, 0, 1]))


async def question(
    record: Record, worker: Ref, request: Question, limit: float
) -> None:
    """Ask, and note how it ended."""
    result = "cancelled"
    with move_on_after(limit):
        try:
            assert await worker.ask(request) == request.number
            result = "answer"
        except (Refused, ActorFailed, ActorStopped, MailboxFull) as error:
            result = type(error).__name__

    record.outcomes[result] += 1
    if result in {"Refused", "ActorFailed"}:
        assert record.answered[request.number] == 1


def leave_by_an_error() -> None:
    raise KeyError("on purpose")


async def run_tree(kind: type[OneForOne], random: Random) -> Record:
    record = Record()

    def emit(event: Event) -> None:
        record.events.append((current_time(), event))

    before = current_statistics().tasks_living
    allowed = (random.choice([0, 3, 3]), 5.0)
    system = ActorSystem(emit, intensity=allowed, jitter=random.random)
    try:
        with fail_after(10_000):
            async with system:
                top = await system.spawn("top", kind, record)
                workers = await top.ask(Workers())
                async with create_task_group() as group:
                    for sender in "xyz":
                        group.start_soon(bother, random, record, sender, workers)

                if random.random() < 0.3:
                    leave_by_an_error()
    except KeyError:
        pass
    except ExceptionGroup as error:
        record.outcomes[type(error.exceptions[0]).__name__] += 1

    assert current_statistics().tasks_living == before
    assert system._registry is not None
    assert system._registry.actors == {}
    return record


def check_order(begun: Iterable[tuple[str, str, int]]) -> None:
    by_sender: dict[tuple[str, str], list[int]] = defaultdict(list)
    for actor, sender, number in begun:
        by_sender[actor, sender].append(number)

    for numbers in by_sender.values():
        assert numbers == sorted(set(numbers))


def check_intensity(events: list[tuple[float, Event]]) -> None:
    """Within any window, children were restarted as often as is allowed, at most.

    A new incarnation of their parent begins to count anew.
    """
    restarts, seconds = INTENSITY
    decided: list[float] = []
    for when, event in events:
        if isinstance(event, ActorCrashed) and event.actor == "top":
            decided.clear()
        elif isinstance(event, ActorRestarted) and event.actor != "top":
            # Those that are restarted together were decided upon together.
            decided.append(round(when - event.delay, 6))
            window = {then for then in decided if then > decided[-1] - seconds}
            assert len(window) <= restarts


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Collect the dead letters themselves; events hold only their type."""
    letters: list[object] = []
    original = Mailbox.dead_letter

    def dead_letter(self: Mailbox, message: object, reason: str) -> None:
        letters.append(message)
        original(self, message, reason)

    monkeypatch.setattr(Mailbox, "dead_letter", dead_letter)
    return letters


@pytest.mark.parametrize("kind", [OneForOne, OneForAll, RestForOne])
def test_the_promises_hold_in_every_schedule(
    kind: type[OneForOne], dead: list[object]
) -> None:
    seen: Counter[str] = Counter()
    for seed in range(120):
        dead.clear()
        record = run_seeded(lambda random: run_tree(kind, random), seed)

        try:
            check_order(record.begun)
            check_intensity(record.events)
            assert record.open_lifespans == 0
            assert max(record.answered.values(), default=0) <= 1
            letters = {
                (note.sender, note.number) for note in dead if isinstance(note, Note)
            }
            begun = {(sender, number) for _, sender, number in record.begun}
            assert not letters & begun
            dropped = sum(
                isinstance(event, MessageDropped) and event.message == "Note"
                for _, event in record.events
            )
            ends = len(begun) + len(letters) + dropped + record.not_sent
            assert ends == record.notes
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise

        seen.update(record.outcomes)
        for _, event in record.events:
            if isinstance(event, ActorRestarted) and event.actor == "top":
                seen["escalated"] += 1

        seen.update(type(event).__name__ for _, event in record.events)

    # The sweep must have met everything that it claims to have survived.
    assert set(seen) >= {
        "answer",
        "cancelled",
        "Refused",
        "ActorFailed",
        "ActorStopped",
        "MailboxFull",
        "MessageDropped",
        "DeadLetter",
        "ActorRestarted",
        "escalated",
        "RestartsExhausted",
    }


def test_a_run_is_repeated_exactly() -> None:
    def run(seed: int) -> list[tuple[float, Event]]:
        record = run_seeded(lambda random: run_tree(OneForAll, random), seed)
        start = record.events[0][0]
        return [(when - start, event) for when, event in record.events]

    assert run(5) == run(5)
    assert run(5) != run(6)
