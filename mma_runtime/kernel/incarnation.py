"""One life of an actor, from its lifespan's entry to its exit."""

from contextlib import AbstractAsyncContextManager
from time import perf_counter
from typing import Any, ClassVar, Protocol, cast

from anyio import CancelScope
from anyio.lowlevel import checkpoint

from mma_runtime.errors import ActorFailed, ActorStopped, Refused, RestartsExhausted
from mma_runtime.kernel.mailbox import Item, Mailbox, Overflow
from mma_runtime.kernel.message import Handlers
from mma_runtime.kernel.reply import Reply, StreamReply
from mma_runtime.kernel.supervision import Restart, Strategy
from mma_runtime.kernel.waiting import Waiter, begin_turn

# Messages handled in a row before other tasks get their turn, should no handler wait.
_STREAK = 64


class Behaviour(Protocol):
    """What the kernel needs of an actor; `Actor` is the one class that has it."""

    restart: ClassVar[Restart]
    mailbox_capacity: ClassVar[int]
    overflow: ClassVar[Overflow]
    strategy: ClassVar[Strategy]
    intensity: ClassVar[tuple[int, float]]
    backoff: ClassVar[tuple[float, float]]
    grace: ClassVar[float]
    __handlers__: ClassVar[Handlers]
    __has_lifespan__: ClassVar[bool]

    def lifespan(self) -> AbstractAsyncContextManager[None]: ...


class Home(Waiter, Protocol):
    """What an incarnation needs of its cell."""

    kind: type[Behaviour]
    mailbox: Mailbox

    async def stop_children(self) -> None: ...
    def rise(self) -> None: ...
    def fall(self, life: "Incarnation", started: Reply[None] | None) -> None: ...
    def end(self, failure: BaseException | None) -> None: ...


class Incarnation:
    """One life of an actor: one object of its class, one task.

    Two cancel scopes serve all its messages: `scope` ends this life, and an inner one
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
        "_since",
        "_turn_scope",
        "failure",
        "halted",
        "in_hand",
        "is_leaving",
        "scope",
    )

    def __init__(self, home: Home, actor: Behaviour) -> None:
        self._has_lifespan = home.kind.__has_lifespan__
        self._turn_scope = CancelScope(shield=not self._has_lifespan)
        self.scope: CancelScope = self._turn_scope
        if self._has_lifespan:
            self.scope = CancelScope(shield=True)

        # What ended this life, if it was a failure.
        self.failure: BaseException | None = None
        # Why this life was ended from outside to begin a new one.
        self.halted: str = ""
        self.in_hand: Item | None = None
        self.is_leaving: bool = False
        self._home = home
        self._actor = actor
        self._is_abandoned = False
        self._escalated: RestartsExhausted | None = None
        self._since = 0.0

    async def run(self, started: Reply[None] | None) -> None:
        """Live; answer *started* when the lifespan, if there is one, is entered."""
        home = self._home
        begin_turn((home, home.turn))
        try:
            if started is None:
                await self._work()
            else:
                with self.scope:
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

    def escalate(self, error: RestartsExhausted) -> None:
        """End this life at once with *error*, which leaves through the lifespan."""
        self._escalated = error
        self.leave()
        self._turn_scope.cancel()

    @property
    def may_linger(self) -> bool:
        """Whether code of the actor itself has to end before this life does."""
        return self._has_lifespan or self.in_hand is not None

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
            self.scope = self._turn_scope

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


def describe(error: BaseException) -> str:
    """Return an error in words; a group of one is its one error."""
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        if len(inner) == 1:
            return describe(inner[0])

    text = str(error)  # pyright: ignore[reportUnknownArgumentType] - a group of any
    name = type(cast("object", error)).__name__
    return f"{name}: {text}" if text else name
