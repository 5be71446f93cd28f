"""Log records on stderr: lines for people, or JSON for programs.

Loaded only where records are asked for. structlog is configured here alone.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog
from rich.text import Text
from structlog.typing import EventDict, Processor

from mma_runtime.cli.live import Display
from mma_runtime.cli.options import LogChoice
from mma_runtime.cli.terminal import RunResults

_FIRST = ("timestamp", "level", "event", "run")


def configure_logs(choice: LogChoice, display: Display | None = None) -> None:
    """Send log records to stderr as *choice* says, and above *display* if there is one.

    Beside JSON the display says nothing, so that each line is a record; beside lines
    for people it keeps its region and leaves the events to the log.
    """
    write: Callable[[str], None] = RunResults(sys.stderr).write
    is_json = choice.format == "json"
    time = structlog.processors.TimeStamper(
        fmt="iso" if is_json else "%H:%M:%S", utc=is_json
    )
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        time,
    ]
    if is_json:
        processors += [
            structlog.processors.dict_tracebacks,
            _in_order,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        colors = display is not None and display.console.is_terminal
        processors.append(structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False))
        if display is not None:
            write = partial(_say, display)

    if display is not None:
        display.narrates = False
        display.is_silent = is_json

    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(choice.level),
        logger_factory=lambda *_: _Lines(write),
        cache_logger_on_first_use=False,
    )


def log(choice: LogChoice, level: str, event: str, facts: Mapping[str, Any]) -> None:
    """Log what is not of a run, as *choice* says."""
    configure_logs(choice)
    getattr(structlog.get_logger("mma_runtime"), level)(event, **facts)


class _Lines:
    """What structlog writes to: each level is the same, a line has its own in it."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.debug = self.info = self.warning = self.error = write


def _say(display: Display, line: str) -> None:
    display.say(Text.from_ansi(line))


def _in_order(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Put first what every record has."""
    first = {name: event.pop(name) for name in _FIRST if name in event}
    return {**first, **event}
