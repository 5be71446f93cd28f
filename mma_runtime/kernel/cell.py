"""The life of one actor: its task, its turns, its restarts and its end."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import Enum, auto
from math import inf
from time import perf_counter
from typing import Any, ClassVar, Protocol

from anyio import CancelScope, Event, current_time
from anyio.lowlevel import checkpoint

from mma_runtime.errors import (
    ActorFailed,
    ActorStartFailed,
    ActorStopped,
    MailboxFull,
    Refused,
    RestartsExhausted,
)
from mma_runtime.events import (
    ActorCrashed,
    ActorEnded,
    ActorRestarted,
    ActorStarted,
    MessageDropped,
)
from mma_runtime.kernel.family import Family
from mma_runtime.kernel.mailbox import Item, Mailbox, Overflow
from mma_runtime.kernel.message import Handlers, Terminated
from mma_runtime.kernel.registry import Registry
from mma_runtime.kernel.reply import Reply
from mma_runtime.kernel.supervision import Policy, Restart, Strategy
from mma_runtime.kernel.waiting import begin_turn, waiting_for

# Messages handled in a row before other tasks get their turn, should no handler wait.
_STREAK = 64


class Behaviour(Protocol):
    """What a cell needs of an actor; `Actor` is the one class that has it."""

    restart: ClassVar[Restart]
    mailbox_capacity: ClassVar[int]
    overflow: ClassVar[Overflow]
    strategy: ClassVar[Strategy]
    intensity: ClassVar[tuple[int, float]]
    backoff: ClassVar[tuple[float, float]]
    grace: ClassVar[float]
    handlers: ClassVar[Handlers]
    has_lifespan: ClassVar[bool]

    def lifespan(self) -> AbstractAsyncContextManager[None]: ...


class State(Enum):
    """Where a cell is in its life."""

    STARTING = auto()
    UP = auto()
    DOWN = auto()
    ENDED = auto()


class Cell:
    """One actor's place in the system: what stays the same when it is restarted.

    The actor's task runs `_run` once per incarnation. Two cancel scopes serve all its
    messages: the outer one ends the incarnation, the inner one ends the message in hand
    when its asker has gone, and is then replaced.
    """

    __slots__ = (
        "_build",
        "_children",
        "_dead_letters",
        "_deadline",
        "_down",
        "_dropped",
        "_ended",
        "_escalated",
        "_failure",
        "_halted",
        "_in_hand",
        "_is_abandoned",
        "_is_leaving",
        "_is_stopping",
        "_scope",
        "_siblings",
        "_since",
        "_starts",
        "_state",
        "_turn_scope",
        "kind",
        "mailbox",
        "name",
        "reason",
        "registry",
        "restarts",
        "turn",
        "waits",
        "watchers",
        "watching",
    )

    def __init__(
        self,
        name: str,
        kind: type[Behaviour],
        build: Callable[["Cell"], Behaviour],
        siblings: Family,
        registry: Registry,
    ) -> None:
        self.name = name
        self.kind = kind
        self.mailbox = Mailbox(kind.mailbox_capacity)
        self._children: Family | None = None
        self.reason = ""
        self.restarts = 0
        # For `waiting`: see `Waiter`. A start is a turn, too.
        self.turn = 0
        self.waits: dict[Reply[Any], int] = {}
        self._build: Callable[[Cell], Behaviour] | None = build
        self._siblings = siblings
        self.registry = registry
        self._state = State.STARTING
        self._starts = 0
        self._dead_letters = 0
        self._dropped = 0
        self._since = 0.0
        self._is_stopping = False
        self._deadline = inf
        self.watchers: set[Cell] = set()
        self.watching: set[Cell] = set()
        self._down: Event | None = None
        self._ended: Event | None = None
        self._reset()

    def _reset(self) -> None:
        self._in_hand: Item | None = None
        self._is_leaving = False
        self._is_abandoned = False
        self._halted = ""
        self._failure: BaseException | None = None
        self._escalated: RestartsExhausted | None = None
        self._scope = CancelScope(shield=True)
        self._turn_scope: CancelScope | None = None

    @property
    def restart(self) -> Restart:
        """Whether its parent brings it back."""
        return self.kind.restart

    @property
    def is_down(self) -> bool:
        """Whether it waits to be started again."""
        return self._state is State.DOWN

    @property
    def is_ended(self) -> bool:
        """Whether it is gone for good."""
        return self._state is State.ENDED

    @property
    def handled(self) -> int:
        """How many messages were taken in hand and are done with."""
        return self.turn - self._starts

    @property
    def handling_seconds(self) -> float:
        """How long the message in hand has been handled; 0 when there is none."""
        return perf_counter() - self._since if self._in_hand is not None else 0.0

    def family(self) -> Family:
        """Return the family of its children.

        Raises:
            ActorStopped: it takes no more children.
        """
        if self._children is None and self._state in (State.STARTING, State.UP):
            kind = self.kind
            policy = Policy(
                strategy=kind.strategy, intensity=kind.intensity, backoff=kind.backoff
            )
            self._children = Family(self.registry, policy, self.fail)

        if self._children is None or self._children.is_closed:
            raise ActorStopped(self.name, "it takes no more children")

        return self._children

    # --- start ----------------------------------------------------------------

    async def start(self) -> None:
        """Build the actor and enter its lifespan.

        If cancelled, the actor is ended before this returns.

        Raises:
            ActorStartFailed: either of the two raised.
        """
        assert self._build is not None  # noqa: S101 - let go of only at the end
        self._state = State.STARTING
        self._reset()
        try:
            actor = self._build(self)
        except Exception as error:
            raise self._start_failed(error) from error
        except BaseException as error:
            self.end(error)
            raise

        group = self.registry.group
        if not self.kind.has_lifespan:
            self._rise()
            group.start_soon(self._run, actor, None, name=self.name)
            return

        started = Reply[None](self)
        with waiting_for(self, started):
            group.start_soon(self._run, actor, started, name=self.name)
            try:
                await started.wait()
            except ActorStartFailed:
                raise
            except BaseException:
                self.stop(-inf)
                with CancelScope(shield=True):
                    await self.join()

                raise

    async def start_again(self, delay: float) -> None:
        """Start a new incarnation; *delay* is the backoff before it, for the event.

        Raises:
            ActorStartFailed: as `start`.
        """
        await self.start()
        self.restarts += 1
        emit = self.registry.emit
        if emit is not None:
            emit(ActorRestarted(actor=self.name, restarts=self.restarts, delay=delay))

    def _rise(self) -> None:
        self._state = State.UP
        self._starts += 1
        self.turn += 1
        emit = self.registry.emit
        if emit is not None and self._starts == 1:
            emit(ActorStarted(actor=self.name))

    def _start_failed(self, failure: BaseException | None) -> ActorStartFailed:
        problem = describe(failure) if failure is not None else "it was stopped"
        error = ActorStartFailed(self.name, problem)
        error.__cause__ = failure
        if self._starts and not self._is_stopping:
            self._state = State.DOWN
            self._tell_of_crash(failure or error)
        else:
            self.end(failure)

        return error

    # --- the task -------------------------------------------------------------

    async def _run(self, actor: Behaviour, started: Reply[None] | None) -> None:
        begin_turn((self, self.turn))
        error: BaseException | None = None
        try:
            with self._scope:
                await self._live(actor, started)
        except Exception as caught:  # noqa: BLE001 - it is told, and decided upon
            error = caught
        except BaseException as caught:
            self.end(caught)
            raise

        if self._children is not None:
            await self._stop_children()

        self._fall(self._failure or error, started)

    async def _live(self, actor: Behaviour, started: Reply[None] | None) -> None:
        if started is None:
            await self._work(actor)
            return

        async with actor.lifespan():
            self._rise()
            started.answer(None)
            await self._work(actor)

    async def _work(self, actor: Behaviour) -> None:
        try:
            await self._take_turns(actor)
        except Exception as error:
            self._failure = error
            self._answer_in_hand(error)
            raise
        finally:
            if self._children is not None:
                await self._stop_children()

    async def _take_turns(self, actor: Behaviour) -> None:
        while not self._is_leaving:
            with CancelScope() as self._turn_scope:
                await self._handle_messages(actor)

            if self._is_abandoned:
                self._is_abandoned = False
                self._end_turn()

        if self._escalated is not None:
            raise self._escalated

    async def _handle_messages(self, actor: Behaviour) -> None:
        mailbox = self.mailbox
        queue = mailbox.queue
        streak = 0
        while not self._is_leaving:
            if not queue:
                await mailbox.wait()
                streak = 0
                continue

            if streak == _STREAK:
                await checkpoint()
                streak = 0
                continue

            streak += 1
            self._in_hand = item = mailbox.take()
            handler, message, reply = item
            begin_turn((self, self.turn))
            self._since = perf_counter()
            try:
                if reply is None:
                    await handler(actor, message)
                else:
                    await reply.fill(handler(actor, message))
            except Refused as refusal:
                self._refuse(message, reply, refusal)

            if self._is_abandoned:
                return

            self._end_turn()

    def _end_turn(self) -> None:
        self._in_hand = None
        self.turn += 1

    def _refuse(
        self, message: object, reply: Reply[Any] | None, refusal: Refused
    ) -> None:
        if reply is None:
            self.dead_letter(message, f"refused: {refusal}")
        else:
            reply.fail(refusal)

    def _answer_in_hand(self, failure: BaseException | None) -> None:
        if self._in_hand is None:
            return

        _, message, reply = self._in_hand
        if reply is None:
            return

        if failure is None:
            reply.fail(ActorStopped(self.name, self._halted))
        else:
            kind = type(message).__qualname__
            error = ActorFailed(self.name, kind, describe(failure))
            error.__cause__ = failure
            reply.fail(error)

    async def _stop_children(self) -> None:
        """Stop the children: within the grace if stopped, at once after a failure."""
        children = self._children
        assert children is not None  # noqa: S101 - asked by the callers
        with CancelScope(shield=True):
            await children.stop(self._deadline if self._is_stopping else -inf)

    def _fall(self, failure: BaseException | None, started: Reply[None] | None) -> None:
        """Decide what comes after an incarnation."""
        if started is not None and not started.done:
            self.turn += 1
            started.fail(self._start_failed(failure))
            self._tell_down()
            return

        if failure is not None:
            self._tell_of_crash(failure)

        self._answer_in_hand(failure)
        if self._in_hand is not None:
            self._end_turn()

        self._children = None
        if self._is_stopping:
            self.end(failure)
        else:
            self._state = State.DOWN
            if not self._halted:
                self._siblings.went_down(self, failure)

        self._tell_down()

    def _tell_down(self) -> None:
        self._failure = None
        if self._down is not None:
            self._down.set()
            self._down = None

    def _tell_of_crash(self, failure: BaseException) -> None:
        emit = self.registry.emit
        if emit is not None:
            in_hand = self._in_hand
            message = type(in_hand[1]).__qualname__ if in_hand is not None else ""
            emit(
                ActorCrashed(actor=self.name, message=message, error=describe(failure))
            )

    # --- what others do to it -------------------------------------------------

    def squeeze_in(self, item: Item) -> None:
        """Do with *item*, for which there is no room, what is due without waiting.

        Raises:
            MailboxFull: nothing can be done.
        """
        mailbox = self.mailbox
        if mailbox.closed:
            self._turn_away(item, self.reason)
        elif self.kind.overflow == "drop_oldest":
            self._drop(mailbox.drop_oldest())
            mailbox.push(item)
        else:
            raise MailboxFull(self.name, mailbox.capacity)

    async def wait_in(self, item: Item) -> None:
        """Do with *item*, for which there is no room, what is due; wait if allowed.

        Raises:
            MailboxFull: the mailbox is full and rejects.
        """
        mailbox = self.mailbox
        if mailbox.closed or self.kind.overflow != "wait":
            self.squeeze_in(item)
        elif not await mailbox.put(item):
            self._turn_away(item, self.reason)

    def _drop(self, item: Item | None) -> None:
        if item is None:
            return

        _, message, reply = item
        if reply is not None:
            reply.fail(MailboxFull(self.name, self.mailbox.capacity))

        self._dropped += 1
        emit = self.registry.emit
        if emit is not None:
            kind = type(message).__qualname__
            emit(MessageDropped(actor=self.name, message=kind, count=self._dropped))

    def abandon(self, item: Item) -> None:
        """Cancel the work on *item*, begun or not: nobody waits for the answer."""
        if self._in_hand is item and self._turn_scope is not None:
            self._is_abandoned = True
            self._turn_scope.cancel()
        else:
            self.mailbox.withdraw(item)

    def fail(self, error: RestartsExhausted) -> None:
        """Fail, because a child failed too often."""
        if self._state is State.STARTING:
            self._failure = error
            self._scope.cancel()
        elif self._state is State.UP and not self._is_leaving:
            self._escalated = error
            self._leave()
            if self._turn_scope is not None:
                self._turn_scope.cancel()

    async def halt(self, reason: str) -> None:
        """End this incarnation at once and wait for it; the mailbox stays."""
        if self._state is State.UP and not self._is_stopping:
            self._halted = reason
            self._leave()
            self._scope.cancel()
            await self._until_down()

    def stop(self, deadline: float | None = None) -> None:
        """End for good after the message in hand, no later than *deadline*.

        The deadline is a time of the event loop's clock in seconds; by default the
        grace from now.
        """
        if self._state is State.ENDED:
            return

        now = current_time()
        if deadline is None:
            deadline = now + self.kind.grace

        self._deadline = min(self._deadline, deadline)
        if not self._is_stopping:
            self._is_stopping = True
            self.reason = "stopped"
            self._close(self.reason)

        if self._state is State.DOWN:
            self.end(None)
            return

        self._leave()
        if self._deadline <= now:
            self._scope.cancel()
        else:
            self._scope.deadline = self._deadline

        if self._children is not None:
            self._children.tighten(self._deadline)

    def tighten(self, deadline: float) -> None:
        """Give it no longer than until *deadline* if it is being stopped."""
        if self._is_stopping:
            self.stop(deadline)

    async def join(self) -> None:
        """Wait until it has ended for good."""
        if self._state is not State.ENDED:
            if self._ended is None:
                self._ended = Event()

            await self._ended.wait()

    async def _until_down(self) -> None:
        if self._down is None:
            self._down = Event()

        await self._down.wait()

    def _leave(self) -> None:
        self._is_leaving = True
        self.mailbox.wake()

    # --- watching and the end -------------------------------------------------

    def watch(self, other: "Cell") -> None:
        """Have one `Terminated` delivered when *other* has ended."""
        if other.is_ended:
            self.deliver(Terminated(other.name, other.reason))
        else:
            self.watching.add(other)
            other.watchers.add(self)

    def deliver(self, message: Terminated) -> None:
        handler = self.kind.handlers.tells.get(Terminated)
        if handler is not None and not self.mailbox.closed:
            self.mailbox.push((handler, message, None))

    def end(self, failure: BaseException | None) -> None:
        """Be gone for good: answer what is queued, free the name, tell the watchers."""
        was_up = self._starts > 0
        if failure is not None:
            self.reason = describe(failure)
        else:
            self.reason = "stopped" if self._is_stopping else "finished"

        self._state = State.ENDED
        self._close(self.reason)
        self._siblings.forget(self)
        self.registry.actors.pop(self.name, None)
        for other in self.watching:
            other.watchers.discard(self)

        for watcher in self.watchers:
            watcher.watching.discard(self)
            watcher.deliver(Terminated(self.name, self.reason, error=failure))

        self.watching.clear()
        self.watchers.clear()
        self._build = None
        if self._ended is not None:
            self._ended.set()

        emit = self.registry.emit
        if emit is not None and was_up:
            emit(ActorEnded(actor=self.name, reason=self.reason))

    def _close(self, reason: str) -> None:
        for item in self.mailbox.close():
            self._turn_away(item, reason)

    def _turn_away(self, item: Item, reason: str) -> None:
        _, message, reply = item
        if reply is None:
            self.dead_letter(message, reason)
        else:
            reply.fail(ActorStopped(self.name, reason))

    def dead_letter(self, message: object, reason: str) -> None:
        """Count a message that nobody handles, and tell of it."""
        self._dead_letters += 1
        self.registry.dead_letter(self.name, message, reason, self._dead_letters)


def describe(error: BaseException) -> str:
    """Return an error in words; a group of one is its one error."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]

    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
