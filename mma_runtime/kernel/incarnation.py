"""One life of an actor, from its lifespan's entry to its exit."""

from collections import deque
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from traceback import walk_tb
from typing import Any, ClassVar, Protocol, cast

from anyio import CancelScope, get_cancelled_exc_class
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from mma_runtime.errors import ActorFailed, ActorStopped, Refused, RestartsExhausted
from mma_runtime.kernel.mailbox import Item, Mailbox, Overflow
from mma_runtime.kernel.message import Handlers
from mma_runtime.kernel.reply import Reply, StreamReply
from mma_runtime.kernel.supervision import Policy, Restart
from mma_runtime.kernel.waiting import Waiter, begin_turn, end_turn

# Messages handled in a row before other tasks get their turn, should no handler wait.
_STREAK = 64

# Of a crash: enough to see the way through the code of whoever wrote the actor.
_FRAMES = 8


class Behaviour(Protocol):
    """What the kernel needs of an actor; `Actor` is the one class that has it."""

    restart: ClassVar[Restart]
    mailbox_capacity: ClassVar[int]
    overflow: ClassVar[Overflow]
    grace: ClassVar[float]
    in_askers_task: ClassVar[bool]
    __handlers__: ClassVar[Handlers]
    __has_lifespan__: ClassVar[bool]
    __policy__: ClassVar[Policy]

    _cell: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def lifespan(self) -> AbstractAsyncContextManager[None]: ...


class Home(Waiter, Protocol):
    """What an incarnation needs of its cell."""

    kind: type[Behaviour]
    mailbox: Mailbox

    async def stop_children(self) -> None: ...
    def begin(self, life: "Incarnation", started: Reply[None] | None) -> None: ...
    def part(self, life: "Incarnation") -> None: ...
    def rise(self) -> None: ...
    def fall(self, life: "Incarnation", started: Reply[None] | None) -> None: ...
    def end(self, failure: BaseException | None) -> None: ...


class Incarnation:
    """One life of an actor: one object of its class, and at most one task.

    Without a lifespan it sleeps, with neither task nor scope, until the first message:
    thousands of actors may wait for one that never comes. An actor that may work in its
    asker's task sleeps through that, too.

    Two cancel scopes serve all its messages: `_scope` ends this life, and an inner one
    ends the message in hand when its asker has gone, and is then replaced. A scope per
    message would cost as much as the message. Without a lifespan to be left in peace,
    one scope is both.
    """

    __slots__ = (
        "_actor",
        "_escalated",
        "_has_lifespan",
        "_home",
        "_is_abandoned",
        "_scope",
        "_since",
        "_turn_scope",
        "failure",
        "halted",
        "in_hand",
        "is_asleep",
        "is_leaving",
    )

    _scope: CancelScope
    _turn_scope: CancelScope

    def __init__(self, home: Home, actor: Behaviour) -> None:
        self._has_lifespan = home.kind.__has_lifespan__
        # What ended this life, if it was a failure.
        self.failure: BaseException | None = None
        # Why this life was ended from outside to begin a new one.
        self.halted: str = ""
        self.in_hand: Item | None = None
        self.is_leaving: bool = False
        self.is_asleep: bool = False
        self._home = home
        self._actor = actor
        self._is_abandoned = False
        self._escalated: RestartsExhausted | None = None
        self._since = 0.0

    # --- asleep ---------------------------------------------------------------

    def sleep(self) -> None:
        """Wait without a task until there is something to do."""
        mailbox = self._home.mailbox
        if mailbox.queue:
            self._begin()
        else:
            self.is_asleep = True
            mailbox.leave_to(self)

    def set(self) -> None:
        """Wake up: a message has come, or something else is up."""
        self.is_asleep = False
        if self.is_leaving:
            self._home.part(self)
        else:
            self._begin()

    def _begin(self) -> None:
        self.arm()
        self._home.begin(self, None)

    def arm(self) -> None:
        """Make the scopes of this life, which is to get a task."""
        self._renew_turn_scope()
        if self._has_lifespan:
            self._scope = CancelScope(shield=True)

    async def serve(self, item: Item) -> None:
        """Handle *item* in the task of its asker, which is the caller.

        Who asks is the one that reads the answer from the item's reply. Cancelling the
        asker cancels the handler.
        """
        home = self._home
        handler, message, reply = item
        assert reply is not None  # noqa: S101 - it was asked for
        self.is_asleep = False
        home.mailbox.leave_to(None)
        self.in_hand = item
        self._since = perf_counter()
        noted = begin_turn((home, home.turn))
        self._turn_scope = self._scope = CancelScope()
        try:
            with self._turn_scope:
                # Others get their turn, as they do where tasks are changed.
                await checkpoint()
                try:
                    reply.answer(await handler(self._actor, message))
                except Refused as refusal:
                    reply.fail(refusal)
        except BaseException as error:
            end_turn(noted)
            self.failure = _apart_from_cancellation(error)
            if self.failure is None or isinstance(self.failure, Exception):
                self._end_service()
                # Who is cancelled is told nothing else.
                await checkpoint_if_cancelled()
                if reply.done:
                    return
            else:
                await home.stop_children()
                home.end(self.failure)

            raise

        end_turn(noted)
        self._end_service()

    def _end_service(self) -> None:
        """Decide what comes after a message that was handled in its asker's task."""
        if self._escalated is not None:
            self.failure = self._escalated

        if self.failure is not None:
            self.is_leaving = True
            self.answer_in_hand()
        elif not self._scope.cancel_called:
            self._end_turn()

        if self.is_leaving:
            self._home.part(self)
        else:
            del self._scope, self._turn_scope
            self.sleep()

    # --- in a task ------------------------------------------------------------

    async def run(self, started: Reply[None] | None) -> None:
        """Live; answer *started* when the lifespan, if there is one, is entered.

        The life has to be armed.
        """
        home = self._home
        begin_turn((home, home.turn))
        try:
            if started is None:
                await self._work()
            else:
                with self._scope:
                    async with self._actor.lifespan():
                        home.rise()
                        started.answer(None)
                        await self._work()
        except Exception as error:  # noqa: BLE001 - it is told, and decided upon
            # A task group in the lifespan wraps what the handler raised.
            self.failure = self.failure or error
        except BaseException as error:
            # An interrupt, or asyncio's own cancellation: nothing is left to decide.
            await home.stop_children()
            home.end(error)
            raise

        await home.stop_children()
        home.fall(self, started)

    # --- its end --------------------------------------------------------------

    def leave(self) -> None:
        """End this life after the message in hand."""
        self.is_leaving = True
        self._home.mailbox.wake()

    def abandon(self, item: Item) -> bool:
        """Cancel the work on *item* if it is in hand."""
        if self.in_hand is not item:
            return False

        self._is_abandoned = True
        self._turn_scope.cancel()
        return True

    def cancel(self) -> None:
        """Cancel whatever runs for this life."""
        self._scope.cancel()

    def limit(self, deadline: float) -> None:
        """Cancel what still runs at *deadline*, in the event loop's seconds."""
        # A deadline is a timer: not for those, as most, that end at once anyway.
        if self._has_lifespan or self.in_hand is not None:
            self._scope.deadline = deadline

    def escalate(self, error: RestartsExhausted) -> None:
        """End this life at once with *error*, which leaves through the lifespan."""
        if self.is_asleep:
            self.failure = error
            self.leave()
            return

        self._escalated = error
        self.leave()
        self._turn_scope.cancel()

    @property
    def handling_seconds(self) -> float:
        """How long the message in hand has been handled; 0 when there is none."""
        return perf_counter() - self._since if self.in_hand is not None else 0.0

    def answer_in_hand(self) -> None:
        """Answer the request in hand, if there is one, with why it came to nothing."""
        if self.in_hand is None:
            return

        name = self._home.name
        _, message, reply = self.in_hand
        if reply is None:
            return

        if self.failure is None:
            reply.fail(ActorStopped(name, self.halted))
        else:
            kind = type(message).__qualname__
            error = ActorFailed(name, kind, describe(self.failure))
            error.__cause__ = self.failure
            reply.fail(error)

    async def _work(self) -> None:
        home = self._home
        try:
            while not self.is_leaving:
                with self._turn_scope:
                    await self._take_turns()

                if self._is_abandoned:
                    self._is_abandoned = False
                    self._end_turn()
                    self._renew_turn_scope()

            if self._escalated is not None:
                raise self._escalated  # noqa: TRY301 - through the lifespan, like any
        except Exception as error:
            self.failure = error
            self.answer_in_hand()
            raise
        finally:
            await home.stop_children()

    async def _take_turns(self) -> None:
        home = self._home
        actor = self._actor
        mailbox = home.mailbox
        queue = mailbox.queue
        streak = 0
        while not self.is_leaving:
            if not queue:
                streak = 0
                await mailbox.wait()
                continue

            if streak == _STREAK:
                streak = 0
                await checkpoint()
                continue

            streak += 1
            self.in_hand = item = mailbox.take()
            handler, message, reply = item
            begin_turn((home, home.turn))
            self._since = perf_counter()
            try:
                if reply is None:
                    await handler(actor, message)
                elif reply.is_stream:
                    await cast("StreamReply[Any]", reply).fill(handler(actor, message))
                else:
                    reply.answer(await handler(actor, message))
            except Refused as refusal:
                self._refuse(message, reply, refusal)

            if self._is_abandoned:
                return

            self._end_turn()

    def _renew_turn_scope(self) -> None:
        self._turn_scope = CancelScope(shield=not self._has_lifespan)
        if not self._has_lifespan:
            self._scope = self._turn_scope

    def _end_turn(self) -> None:
        self.in_hand = None
        self._home.turn += 1

    def _refuse(
        self, message: object, reply: Reply[Any] | None, refusal: Refused
    ) -> None:
        if reply is None:
            self._home.mailbox.dead_letter(message, f"refused: {refusal}")
        else:
            reply.fail(refusal)


def _apart_from_cancellation(error: BaseException) -> BaseException | None:
    """Return what *error* is beside a cancellation, if it is anything."""
    cancelled = get_cancelled_exc_class()
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.split(cancelled)[1]

    return None if isinstance(error, cancelled) else error


def alone(error: BaseException) -> BaseException:
    """Return the one error that *error* is a group of, or else *error* itself."""
    inner: object = getattr(error, "exceptions", ())
    match error, inner:
        case BaseExceptionGroup(), (BaseException() as one,):
            return alone(one)
        case _:
            return error


def frames_of(error: BaseException) -> tuple[str, ...]:
    """Return where an error was raised: `FILE:LINE in FUNCTION`, the innermost last.

    No more than the last ones, and nothing of what their variables held.
    """
    frames = deque(walk_tb(alone(error).__traceback__), maxlen=_FRAMES)
    return tuple(
        f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        for frame, line in frames
    )


def describe(error: BaseException) -> str:
    """Return an error in words; a group of one is its one error."""
    error = alone(error)
    text = str(error)
    name = type(error).__name__
    return f"{name}: {text}" if text else name
