"""What happens in a run as log records, through structlog.

Configures nothing: where the host has not configured structlog, nothing is logged and
this module is not loaded.
"""

import json
import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import structlog

from mma_runtime.discretion import worded_facts
from mma_runtime.events import (
    AcceptanceChecked,
    AccountRested,
    ActorCrashed,
    ActorEnded,
    ActorEvent,
    ActorRestarted,
    ActorStarted,
    AnswerRejected,
    ApprovalAsked,
    BudgetReached,
    BudgetWarning,
    DeadLetter,
    Event,
    EventsSkipped,
    ExpectationChecked,
    FilesRefreshed,
    MergeConflicted,
    MessageDropped,
    ModelCallFailed,
    ModelCallQueued,
    ModelCallStarted,
    ModelEndsSoon,
    ModelFellBack,
    Origin,
    OutputCut,
    RoundStarted,
    RunFinished,
    RunPaused,
    TicketChosen,
    TicketDropped,
    TicketEscalated,
    TicketFinished,
    TicketReturned,
    ToolCallDenied,
    ToolCallFinished,
    ToolCallStarted,
    TrackFinished,
    WorkerStuck,
)
from mma_runtime.events.records import kind_name, to_record
from mma_runtime.llm.chat import ChatRequest, Completion, Image, Text, ToolCall
from mma_runtime.llm.messages import answer_of, messages_of, newest, text_of
from mma_runtime.observing import IDLE, ObservedRun

DEBUG, INFO, WARNING, ERROR = (
    logging.DEBUG,
    logging.INFO,
    logging.WARNING,
    logging.ERROR,
)

LEVELS: Mapping[type[Event], int] = {
    AcceptanceChecked: WARNING,
    AccountRested: WARNING,
    ActorCrashed: ERROR,
    ActorEnded: DEBUG,
    ActorRestarted: WARNING,
    ActorStarted: DEBUG,
    AnswerRejected: WARNING,
    ApprovalAsked: WARNING,
    BudgetReached: WARNING,
    BudgetWarning: WARNING,
    DeadLetter: DEBUG,
    EventsSkipped: WARNING,
    ExpectationChecked: WARNING,
    FilesRefreshed: DEBUG,
    MergeConflicted: WARNING,
    MessageDropped: WARNING,
    ModelCallFailed: ERROR,
    ModelCallQueued: DEBUG,
    ModelCallStarted: DEBUG,
    ModelEndsSoon: WARNING,
    ModelFellBack: WARNING,
    OutputCut: DEBUG,
    RoundStarted: DEBUG,
    RunFinished: ERROR,
    RunPaused: WARNING,
    TicketChosen: DEBUG,
    TicketDropped: WARNING,
    TicketEscalated: WARNING,
    TicketFinished: WARNING,
    TicketReturned: WARNING,
    ToolCallDenied: WARNING,
    ToolCallStarted: DEBUG,
    TrackFinished: WARNING,
    WorkerStuck: WARNING,
}
"""The levels of events that are not at INFO, as all others are.

It is the highest one where `level_of` looks at what happened.
"""


def _failure_level(event: ModelCallFailed) -> int:
    if event.retry_in is not None:
        return WARNING

    return INFO if event.error == "cancelled" else ERROR


_RUN_LEVELS = {"completed": INFO, "cancelled": WARNING, "paused": WARNING}
_WORK_LEVELS = {"completed": INFO, "accepted": INFO, "skipped": INFO}
_LOOKS: Mapping[type[Event], Callable[[Any], int]] = {
    AcceptanceChecked: lambda event: INFO if event.passed else WARNING,
    ExpectationChecked: lambda event: INFO if event.passed else WARNING,
    ModelCallFailed: _failure_level,
    RunFinished: lambda event: _RUN_LEVELS.get(event.state, ERROR),
    TicketFinished: lambda event: _WORK_LEVELS.get(event.state, WARNING),
    ToolCallFinished: lambda event: INFO if event.is_error else DEBUG,
    TrackFinished: lambda event: _WORK_LEVELS.get(event.state, WARNING),
}
_METHODS = {DEBUG: "debug", INFO: "info", WARNING: "warning", ERROR: "error"}
_LEFT_OUT = frozenset(("version", "kind", "time", "run", "about", "parent"))
# To structlog this is something else.
_RENAMED = {"level": "budget_level"}


def level_of(event: Event) -> int:
    """Return the level at which *event* is logged: one of `logging`'s numbers."""
    look = _LOOKS.get(type(event))
    return LEVELS.get(type(event), INFO) if look is None else look(event)


class LogObserver:
    """Logs one run: an event is a record, content is logged at DEBUG if it may be.

    What is logged within the run's agents and tools, by whomever, finds the keys `run`,
    `tier` and `ticket` in structlog's context variables.
    """

    def __init__(self, run: ObservedRun) -> None:
        self._run = run
        self._logger: Any = structlog.get_logger("mma_runtime").bind(run=run.id)
        self._asks: Callable[[int], bool] | None = getattr(
            self._logger, "is_enabled_for", None
        )
        self._broken = False

    def note(self, event: Event) -> None:
        """Log *event*, if its level is wanted."""
        if not self._wants(LEVELS.get(type(event), INFO)):
            return

        level = level_of(event)
        if self._wants(level):
            self._log(level, kind_name(type(event)), self._keys(event))

    @contextmanager
    def run(self) -> Generator[None]:
        """Have the run's id in what is logged within."""
        with structlog.contextvars.bound_contextvars(run=self._run.id):
            yield

    @contextmanager
    def agent(self, origin: Origin, model: str) -> Generator[None]:
        """Have the agent's place in what is logged within."""
        place = {**_place(origin), "model": model}
        with structlog.contextvars.bound_contextvars(**place):
            yield

    def chat(
        self, request: ChatRequest, model: str, attempt: int
    ) -> AbstractContextManager[Any]:
        """Log what is said and answered, if content is wanted."""
        if not self._wants_content:
            return IDLE

        return self._chat(request, model, attempt)

    def tool(self, call: ToolCall, origin: Origin) -> AbstractContextManager[Any]:
        """Log arguments and result, if content is wanted."""
        return self._tool(call, origin) if self._wants_content else IDLE

    @contextmanager
    def _chat(
        self, request: ChatRequest, model: str, attempt: int
    ) -> Generator["_Chat"]:
        keys = {**_place(request.origin), "model": model, "turn": request.turn}
        keys["call_attempt"] = attempt
        said = messages_of(newest(request.turns))
        system = {"system": request.system} if len(said) == len(request.turns) else {}
        self._log(DEBUG, "model_request", {**keys, **system, "messages": said})
        yield _Chat(partial(self._log, DEBUG), keys)

    @contextmanager
    def _tool(self, call: ToolCall, origin: Origin) -> Generator["_Tool"]:
        keys = {**_place(origin), "tool": call.name, "call": call.id}
        given = call.raw if call.arguments is None else dict(call.arguments)
        self._log(DEBUG, "tool_arguments", {**keys, "arguments": given})
        yield _Tool(partial(self._log, DEBUG), keys)

    @property
    def _wants_content(self) -> bool:
        return self._run.content and self._wants(DEBUG)

    def _wants(self, level: int) -> bool:
        if self._broken:
            return False

        return self._asks is None or self._asks(level)

    def _keys(self, event: Event) -> dict[str, Any]:
        left_out = _LEFT_OUT
        if not isinstance(event, ActorEvent):
            # The tier and the ticket say the same.
            left_out |= {"agent"}

        if not self._wants_content:
            left_out |= worded_facts(event)

        return {
            _RENAMED.get(name, name): round(one, 6) if isinstance(one, float) else one
            for name, one in to_record(event).items()
            if name not in left_out
        }

    def _log(self, level: int, event: str, keys: dict[str, Any]) -> None:
        # As JSON, whose forms of a secret are known too.
        cleaned = json.loads(self._run.scrub(json.dumps(keys, default=str).encode()))
        try:
            getattr(self._logger, _METHODS[level])(event, **cleaned)
        except Exception:
            # A log that cannot be written must not end the run; said once, elsewhere.
            self._broken = True
            logging.getLogger("mma_runtime").exception(
                "structlog failed: run %s is not logged any more", self._run.id
            )


_Log = Callable[[str, dict[str, Any]], None]


class _Chat:
    headers = ()

    def __init__(self, log: _Log, keys: dict[str, Any]) -> None:
        self._log = log
        self._keys = keys

    def chunk(self) -> None:
        """Wait for the whole answer."""

    def completed(self, completion: Completion) -> None:
        said = {**self._keys, "message": answer_of(completion)}
        self._log("model_reply", said)


class _Tool:
    def __init__(self, log: _Log, keys: dict[str, Any]) -> None:
        self._log = log
        self._keys = keys

    def ended(self, content: tuple[Text | Image, ...], error: Exception | None) -> None:
        result = {"result": text_of(content), "is_error": error is not None}
        self._log("tool_result", {**self._keys, **result})


def _place(origin: Origin) -> dict[str, Any]:
    known = {"tier": origin.tier, "track": origin.track, "ticket": origin.ticket}
    place: dict[str, Any] = {name: value for name, value in known.items() if value}
    if origin.ticket:
        place["attempt"] = origin.attempt

    if origin.task:
        place["task"] = origin.task

    return place
