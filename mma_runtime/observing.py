"""Who may look on from inside a run: around its agents, model calls and tools.

Events tell what has happened. An observer is there while it happens: it hears the
events too, and besides sees requests, answers and arguments, which no event holds.
Knows nothing of logs or traces.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, Self

from mma_runtime.events import Event, Origin
from mma_runtime.llm.chat import ChatRequest, Completion, Image, Text, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedRun:
    """The run that is to be observed.

    *resumed* tells that it goes on with an earlier one of the same *id*. *content* says
    whether prompts, replies and arguments may be taken down at all; *scrub* takes known
    secrets out of a text.
    """

    id: str
    name: str
    resumed: bool
    content: bool
    scrub: Callable[[bytes], bytes]

    def clean(self, text: str) -> str:
        """Return *text* without the known secrets."""
        return self.scrub(text.encode(errors="surrogatepass")).decode(errors="replace")


class ChatWatch(Protocol):
    """Watches one attempt at a model call."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What the request to the service carries besides, as HTTP headers."""
        ...

    def chunk(self) -> None:
        """Hear that a part of the answer has come."""
        ...

    def completed(self, completion: Completion) -> None:
        """See the whole answer."""
        ...


class ToolWatch(Protocol):
    """Watches one tool at work."""

    def ended(self, content: tuple[Text | Image, ...], error: Exception | None) -> None:
        """See what the model gets to see, and the error that it tells of."""
        ...


class RunObserver(Protocol):
    """Looks on at one run; nothing that it does may raise or wait.

    What it returns is entered and left in the task of what it surrounds, and an
    exception that goes through is that of what was surrounded: cancellation too.
    """

    def note(self, event: Event) -> None:
        """Hear an event, in the task that emits it."""
        ...

    def run(self) -> AbstractContextManager[object]:
        """Surround the whole run."""
        ...

    def agent(self, origin: Origin, model: str) -> AbstractContextManager[object]:
        """Surround what an agent does for one task; *model* is `provider:model`."""
        ...

    def chat(
        self, request: ChatRequest, model: str, attempt: int
    ) -> AbstractContextManager[ChatWatch]:
        """Surround one attempt at a call; *model* is `provider:model`."""
        ...

    def tool(self, call: ToolCall, origin: Origin) -> AbstractContextManager[ToolWatch]:
        """Surround one tool."""
        ...


class Observer(Protocol):
    """Makes observers of runs; `mma_runtime.telemetry.Telemetry` is one."""

    def observe(self, run: ObservedRun) -> RunObserver:
        """Return who looks on at *run*, which is about to begin."""
        ...


def observer_of(run: ObservedRun, telemetry: Observer | None) -> RunObserver | None:
    """Return who looks on at *run*: *telemetry*, and the log if there is one.

    There is one when the host has configured structlog, which it cannot have done
    without loading it; that takes longer than many a run, so it is not done here.
    """
    observers = [] if telemetry is None else [telemetry.observe(run)]
    structlog: Any = sys.modules.get("structlog")
    if structlog is not None and structlog.is_configured():
        observers.append(import_module("mma_runtime.logs").LogObserver(run))

    return together(tuple(observers))


def together(observers: tuple[RunObserver, ...]) -> RunObserver | None:
    """Return all *observers* as one, or nobody."""
    if len(observers) > 1:
        return _Several(observers)

    return observers[0] if observers else None


def around_agent(
    observer: RunObserver | None, origin: Origin, model: str
) -> AbstractContextManager[object]:
    """Surround an agent's task with *observer*, if there is one."""
    return _NOBODY if observer is None else observer.agent(origin, model)


_NOBODY = nullcontext()


class _Idle:
    """Looks away: for observers that have nothing to do just now."""

    headers: tuple[tuple[str, str], ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def chunk(self) -> None:
        pass

    def completed(self, completion: Completion) -> None:
        pass

    def ended(self, content: tuple[Text | Image, ...], error: Exception | None) -> None:
        pass


IDLE = _Idle()
"""A watch for those who do not want to see a call."""


class _Several:
    """Observers that look on together, the first one outermost."""

    def __init__(self, observers: tuple[RunObserver, ...]) -> None:
        self._observers = observers

    def note(self, event: Event) -> None:
        for one in self._observers:
            one.note(event)

    @contextmanager
    def run(self) -> Generator[None]:
        with ExitStack() as stack:
            for one in self._observers:
                stack.enter_context(one.run())

            yield

    @contextmanager
    def agent(self, origin: Origin, model: str) -> Generator[None]:
        with ExitStack() as stack:
            for one in self._observers:
                stack.enter_context(one.agent(origin, model))

            yield

    @contextmanager
    def chat(
        self, request: ChatRequest, model: str, attempt: int
    ) -> Generator["_ChatWatches"]:
        with ExitStack() as stack:
            watches = [
                stack.enter_context(one.chat(request, model, attempt))
                for one in self._observers
            ]
            yield _ChatWatches(watches)

    @contextmanager
    def tool(self, call: ToolCall, origin: Origin) -> Generator["_ToolWatches"]:
        with ExitStack() as stack:
            watches = [
                stack.enter_context(one.tool(call, origin)) for one in self._observers
            ]
            yield _ToolWatches(watches)


class _ChatWatches:
    def __init__(self, watches: list[ChatWatch]) -> None:
        self._watches = watches
        self.headers = tuple(header for one in watches for header in one.headers)

    def chunk(self) -> None:
        for one in self._watches:
            one.chunk()

    def completed(self, completion: Completion) -> None:
        for one in self._watches:
            one.completed(completion)


class _ToolWatches:
    def __init__(self, watches: list[ToolWatch]) -> None:
        self._watches = watches

    def ended(self, content: tuple[Text | Image, ...], error: Exception | None) -> None:
        for one in self._watches:
            one.ended(content, error)
