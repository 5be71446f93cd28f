"""One actor's place in the system: its name, its mailbox, its start and its end."""

from collections.abc import Mapping
from contextvars import copy_context
from enum import Enum, auto
from math import inf
from types import MappingProxyType
from typing import Any

from anyio import CancelScope, Event, current_time

from mma_runtime.errors import ActorStartFailed, ActorStopped, RestartsExhausted
from mma_runtime.events import ActorCrashed, ActorEnded, ActorRestarted, ActorStarted
from mma_runtime.kernel.family import Family
from mma_runtime.kernel.incarnation import Behaviour, Incarnation, describe, frames_of
from mma_runtime.kernel.mailbox import Item, Mailbox
from mma_runtime.kernel.message import Message, Terminated
from mma_runtime.kernel.registry import Registry
from mma_runtime.kernel.reply import Reply
from mma_runtime.kernel.supervision import Restart
from mma_runtime.kernel.waiting import begin_wait

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class State(Enum):
    """Where a cell is in its life."""

    STARTING = auto()
    UP = auto()
    DOWN = auto()
    ENDED = auto()


class Cell:
    """What stays the same when an actor is restarted.

    *args* and *kwargs* are for class *kind*, at the start and at each restart.
    *siblings* is the family that it belongs to.
    """

    __slots__ = (
        "_args",
        "_children",
        "_context",
        "_deadline",
        "_down",
        "_ended",
        "_is_stopping",
        "_kwargs",
        "_life",
        "_links",
        "_siblings",
        "_starts",
        "_state",
        "_was_up",
        "_watching",
        "kind",
        "mailbox",
        "name",
        "reason",
        "registry",
        "restarts",
        "turn",
        "waits",
        "watchers",
    )

    def __init__(
        self,
        name: str,
        siblings: Family,
        registry: Registry,
        kind: type[Behaviour],
        *,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.name: str = name
        self.kind: type[Behaviour] = kind
        self.registry: Registry = registry
        self.mailbox: Mailbox = Mailbox(
            name, kind.mailbox_capacity, kind.overflow, registry
        )
        self.restarts: int = 0
        # Why it ended, once it has.
        self.reason: str = ""
        # See `Waiter`. A start is a turn, too.
        self.turn: int = 0
        self.waits: dict[Reply[Any], int] = {}
        self._args = args
        self._kwargs: Mapping[str, Any] = kwargs or _NOTHING
        self._siblings = siblings
        # That of the spawner, as if the task had begun at once. Who may work in that of
        # its asker does so in that of a sender, too.
        self._context = None if kind.in_askers_task else copy_context()
        self._children: Family | None = None
        self._state = State.STARTING
        self._life: Incarnation | None = None
        self._starts = 0
        self._was_up = False
        self._is_stopping = False
        self._deadline = inf
        # Made when there is one: most are never watched.
        self.watchers: dict[Cell, None] | None = None
        self._watching: dict[Cell, None] | None = None
        self._links: list[CancelScope] | None = None
        self._down: Event | None = None
        self._ended: Event | None = None

    @property
    def restart(self) -> Restart:
        """Whether its parent brings it back."""
        return self.kind.restart

    @property
    def is_down(self) -> bool:
        """Whether it waits to be started again."""
        return self._state is State.DOWN

    @property
    def handled(self) -> int:
        """How many messages were taken in hand and are done with."""
        return self.turn - self._starts

    @property
    def handling_seconds(self) -> float:
        """How long the message in hand has been handled; 0 when there is none."""
        return self._life.handling_seconds if self._life is not None else 0.0

    # --- start ----------------------------------------------------------------

    async def start(self) -> None:
        """Build the actor and enter its lifespan.

        If cancelled, the actor is ended before this returns.

        Raises:
            ActorStartFailed: either of the two raised.
        """
        self._state = State.STARTING
        try:
            actor = self.kind.__new__(self.kind)
            # Before the constructor, which may use `self.ref`.
            actor._cell = self  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - ours
            self.kind.__init__(actor, *self._args, **self._kwargs)
        except Exception as error:
            raise self._start_failed(error) from error
        except BaseException as error:
            self.end(error)
            raise

        life = self._life = Incarnation(self, actor)
        if self.restart == "temporary":
            self._args, self._kwargs = (), _NOTHING

        if not self.kind.__has_lifespan__:
            self.rise()
            life.sleep()
            return

        started: Reply[None] = Reply(self)
        asker = begin_wait(started)
        life.arm()
        self.begin(life, started)
        try:
            await started.wait()
        except ActorStartFailed:
            raise
        except BaseException:
            self.stop(-inf)
            with CancelScope(shield=True):
                await self.join()

            raise
        finally:
            if asker is not None:
                del asker.waits[started]

    async def start_again(self, delay: float, reason: str) -> None:
        """Start a new incarnation.

        *delay*, the backoff before it in seconds, and *reason* are for the event.

        Raises:
            ActorStartFailed: as `start`.
        """
        await self.start()
        self.restarts += 1
        emit = self.registry.emit
        if emit is not None:
            emit(
                ActorRestarted(
                    actor=self.name,
                    restarts=self.restarts,
                    delay=delay,
                    reason=reason,
                )
            )

    def begin(self, life: Incarnation, started: Reply[None] | None) -> None:
        """Give *life*, which is armed, a task."""
        if self._context is None:
            self._start_task(life, started)
        else:
            self._context.run(self._start_task, life, started)

    def _start_task(self, life: Incarnation, started: Reply[None] | None) -> None:
        self.registry.group.start_soon(life.run, started, name=self.name)

    def rise(self) -> None:
        """Be up: the lifespan was entered."""
        self._end_start()
        self._state = State.UP
        if not self._was_up:
            self._was_up = True
            emit = self.registry.emit
            if emit is not None:
                emit(ActorStarted(actor=self.name))

    def _end_start(self) -> None:
        self._starts += 1
        self.turn += 1

    def _start_failed(self, failure: BaseException | None) -> ActorStartFailed:
        problem = describe(failure) if failure is not None else "it was stopped"
        error = ActorStartFailed(self.name, problem)
        error.__cause__ = failure
        if self._was_up and not self._is_stopping:
            self._state = State.DOWN
            self._tell_of_crash("", error)
        else:
            self.end(failure)

        return error

    # --- children -------------------------------------------------------------

    def family(self) -> Family:
        """Return the family of its children.

        Raises:
            ActorStopped: it takes no more children.
        """
        if self._children is None and self._life is not None:
            self._children = Family(self.registry, self.kind.__policy__, self)

        if self._children is None or self._children.is_closed:
            raise ActorStopped(self.name, "it takes no more children")

        return self._children

    async def stop_children(self) -> None:
        """Stop the children: within the grace if stopped, at once after a failure."""
        children = self._children
        if children is not None and not self._stop_children_nowait():
            with CancelScope(shield=True):
                await children.stop(self._deadline if self._is_stopping else -inf)

    def _stop_children_nowait(self) -> bool:
        """Stop the children that end at once; return whether those were all."""
        deadline = self._deadline if self._is_stopping else -inf
        return self._children is None or self._children.stop_nowait(deadline)

    def fail(self, error: RestartsExhausted) -> None:
        """Fail, because a child failed too often."""
        life = self._life
        if life is None or life.is_leaving:
            return

        if self._state is State.STARTING:
            life.failure = error
            life.cancel()
        else:
            life.escalate(error)

    # --- the end of an incarnation --------------------------------------------

    def part(self, life: Incarnation) -> None:
        """Let *life*, which has no task, end; in one where children are to end."""
        if self._stop_children_nowait():
            self.fall(life, None)
        else:
            life.arm()
            self.begin(life, None)

    def fall(self, life: Incarnation, started: Reply[None] | None) -> None:
        """Decide what comes after an incarnation."""
        failure = life.failure
        in_hand = life.in_hand
        self._life = None
        self._children = None
        if started is not None and not started.done:
            # Whoever starts it decides.
            self._end_start()
            started.fail(self._start_failed(failure))
            life.failure = None
            return

        if failure is not None:
            message = type(in_hand[1]).__qualname__ if in_hand is not None else ""
            self._tell_of_crash(message, failure)

        life.answer_in_hand()
        # The traceback holds the incarnation: without this, a cycle for the collector.
        life.failure = None
        if in_hand is not None:
            self.turn += 1

        self._state = State.DOWN
        if self._down is not None:
            self._down.set()
            self._down = None

        if self._is_stopping:
            self.end(failure)
        elif not life.halted:
            self._siblings.went_down(self, failure)

    def _tell_of_crash(self, message: str, failure: BaseException) -> None:
        emit = self.registry.emit
        if emit is not None:
            # A start that failed only tells what was raised in it.
            raised = failure.__cause__ if not failure.__traceback__ else failure
            emit(
                ActorCrashed(
                    actor=self.name,
                    message=message,
                    error=describe(failure),
                    where=frames_of(raised or failure),
                )
            )

    # --- what others do to it -------------------------------------------------

    @property
    def vacant(self) -> Incarnation | None:
        """The life that may work in its asker's task now, if it is so."""
        life = self._life
        is_free = self.kind.in_askers_task and life is not None and life.is_asleep
        return life if is_free else None

    def abandon(self, item: Item) -> None:
        """Cancel the work on *item*, begun or not: nobody waits for the answer."""
        if self._life is None or not self._life.abandon(item):
            self.mailbox.withdraw(item)

    async def halt(self, reason: str) -> None:
        """End this incarnation at once and wait for it; the mailbox stays."""
        life = self._life
        if self._state is State.UP and life is not None and not self._is_stopping:
            down = self._down = Event()
            life.halted = reason
            life.leave()
            if self._life is life:
                life.cancel()

            await down.wait()

    def stop(self, deadline: float = inf) -> None:
        """End for good after the message in hand, within the grace.

        And no later than *deadline*, a time of the event loop's clock in seconds.
        """
        if self._state is State.ENDED:
            return

        now = current_time()
        self._deadline = min(self._deadline, deadline, now + self.kind.grace)
        self._is_stopping = True
        self.mailbox.close("stopped")
        life = self._life
        if life is None:
            self.end(None)
            return

        life.leave()
        if self._life is not life:
            # It was asleep.
            return

        if self._deadline <= now:
            life.cancel()
        else:
            life.limit(self._deadline)

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

    def link(self, scope: CancelScope) -> None:
        """Cancel *scope* when this has ended."""
        if self._state is State.ENDED:
            scope.cancel()
        elif self._links is None:
            self._links = [scope]
        else:
            self._links.append(scope)

    # --- watching and the end -------------------------------------------------

    def watch(self, other: "Cell") -> None:
        """Have one `Terminated` delivered when *other* has ended."""
        if other.reason:
            self._deliver(Terminated(other.name, other.reason))
        else:
            self._watching = self._watching or {}
            self._watching[other] = None
            other.watchers = other.watchers or {}
            other.watchers[self] = None

    def end(self, failure: BaseException | None) -> None:
        """Be gone for good: answer what is queued, free the name, tell the watchers."""
        if failure is not None:
            self.reason = describe(failure)
        else:
            self.reason = "stopped" if self._is_stopping else "finished"

        self._state = State.ENDED
        self._args, self._kwargs = (), _NOTHING
        self._siblings.forget(self)
        self.registry.forget(self.name)
        self.mailbox.close(self.reason)
        for other in self._watching or ():
            (other.watchers or {}).pop(self, None)

        for watcher in self.watchers or ():
            watcher.hear_of_end(self, failure)

        for scope in self._links or ():
            scope.cancel()

        self._links = None
        self._watching = self.watchers = None
        if self._ended is not None:
            self._ended.set()

        if isinstance(failure, Exception) and self.restart != "temporary":
            self.registry.lost(failure)

        emit = self.registry.emit
        if emit is not None and self._was_up:
            emit(ActorEnded(actor=self.name, reason=self.reason))

    def hear_of_end(self, other: "Cell", failure: BaseException | None) -> None:
        """Take note that *other*, which is watched, has ended."""
        (self._watching or {}).pop(other, None)
        self._deliver(Terminated(other.name, other.reason, error=failure))

    def _deliver(self, message: Terminated) -> None:
        handler = self.kind.__handlers__.find(Message, message, self.name)
        self.mailbox.push((handler, message, None))
