"""The base class of actors: state, handlers, and what an actor may do."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar, ParamSpec, get_args

from anyio.lowlevel import checkpoint_if_cancelled

from mma_runtime.arguments import check_text
from mma_runtime.errors import ArgumentInvalid, NameTaken
from mma_runtime.events import Event
from mma_runtime.kernel.cell import Cell
from mma_runtime.kernel.family import Family
from mma_runtime.kernel.mailbox import Overflow
from mma_runtime.kernel.message import Handlers, Message, Terminated
from mma_runtime.kernel.ref import Ref
from mma_runtime.kernel.registry import Registry
from mma_runtime.kernel.supervision import Policy, Restart, Strategy

P = ParamSpec("P")


class Actor:
    """State that is touched by one message at a time.

    Subclass it, keep the state in `self`, and mark async methods with `@handles`. The
    class attributes say how it is treated by others; `strategy`, `intensity` and
    `backoff` say how it treats its children.
    """

    restart: ClassVar[Restart] = "permanent"
    """Whether its parent brings it back: always, after a failure only, or never."""

    mailbox_capacity: ClassVar[int] = 1024
    """How many messages may wait."""

    overflow: ClassVar[Overflow] = "wait"
    """What a full mailbox does with one more."""

    grace: ClassVar[float] = 5.0
    """Seconds that a stop may take, with all its children, before it is cancelled."""

    strategy: ClassVar[Strategy] = "one_for_one"
    """Which children are restarted with a failed one."""

    intensity: ClassVar[tuple[int, float]] = (3, 5.0)
    """How many restarts of children are allowed within how many seconds."""

    backoff: ClassVar[tuple[float, float]] = (0.05, 2.0)
    """The delay before the first restart, and the longest one, in seconds."""

    in_askers_task: ClassVar[bool] = False
    """Whether a request that comes while it is idle is handled in the asker's task.

    That saves a task for each actor, where there are thousands that mostly wait for
    their own asks. A handler then shares the asker's context variables, and a cancelled
    asker waits for it to end. Not with a lifespan.
    """

    __handlers__: ClassVar[Handlers]
    __has_lifespan__: ClassVar[bool]
    __policy__: ClassVar[Policy]

    _cell: Cell

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__handlers__ = Handlers(cls)
        cls.__has_lifespan__ = cls.lifespan is not Actor.lifespan
        cls.__policy__ = Policy(
            strategy=cls.strategy, intensity=cls.intensity, backoff=cls.backoff
        )
        _check(cls)

    @property
    def ref(self) -> Ref:
        """The handle on this actor."""
        return Ref(self._cell)

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Acquire, `yield`, release: around all the messages of one incarnation.

        Its exit always runs. In an actor that is cancelled (after its grace, or because
        the system is left by an error) what the exit awaits is cancelled, too: shield
        what has to be done. A task group opened in it may run tasks beside the
        messages; if one of them fails, the actor fails.
        """
        yield

    async def spawn(
        self, name: str, kind: Callable[P, "Actor"], *args: P.args, **kwargs: P.kwargs
    ) -> Ref:
        """Start a child named `parent/name`; it ends before its parent does.

        Raises what `ActorSystem.spawn` raises; cancellation, and all else, is as there.
        """
        cell = self._cell
        full_name = f"{cell.name}/{check_name(name)}"
        family, registry = cell.family(), cell.registry
        return await spawn(full_name, family, registry, kind, args=args, kwargs=kwargs)

    def watch(self, ref: Ref) -> None:
        """Have one `Terminated` sent to this actor when the other has ended.

        At once if it has ended already; once, however often it is watched.

        Raises:
            UnhandledMessage: this class has no handler for `Terminated`.
        """
        cell = self._cell
        self.__handlers__.find(Message, Terminated(ref.name, ""), cell.name)
        cell.watch(ref.cell)

    def emit(self, event: Event) -> None:
        """Tell whoever listens to the system's events."""
        emit = self._cell.registry.emit
        if emit is not None:
            emit(event)


async def spawn(
    full_name: str,
    family: Family,
    registry: Registry,
    kind: Callable[..., Actor],
    *,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Ref:
    """Start an actor in *family*; the part that actors and systems share."""
    given: object = kind
    if not (isinstance(kind, type) and issubclass(kind, Actor)):
        raise ArgumentInvalid("kind", given, "a subclass of `Actor`")

    await checkpoint_if_cancelled()
    if full_name in registry.actors:
        raise NameTaken(full_name)

    cell = Cell(full_name, family, registry, kind, args=args, kwargs=kwargs)
    family.adopt(cell)
    registry.actors[full_name] = cell
    await cell.start()
    return Ref(cell)


_NAMED = "text without a '/'"


def check_name(name: str) -> str:
    """Return *name*, which must be usable as one part of a full name."""
    check_text("name", name, _NAMED)
    if not name or "/" in name:
        raise ArgumentInvalid("name", name, _NAMED)

    return name


def _check(kind: type[Actor]) -> None:
    """Refuse settings that would only be noticed at the first failure."""
    for setting, allowed in _CHOICES.items():
        value = getattr(kind, setting)
        if value not in allowed:
            known = ", ".join(map(repr, allowed))
            raise ValueError(f"{kind.__qualname__}.{setting} is {value!r}, not {known}")

    if kind.mailbox_capacity < 1:
        raise ValueError(f"{kind.__qualname__}.mailbox_capacity must be at least 1")


_CHOICES: dict[str, tuple[str, ...]] = {
    "overflow": get_args(Overflow),
    "restart": get_args(Restart),
    "strategy": get_args(Strategy),
}
