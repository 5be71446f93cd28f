"""What a person sees while a run goes on: plain lines, or a region that is redrawn."""

import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mma_runtime.cli.narration import narrate
from mma_runtime.cli.progress import Progress, Sum, TicketLine
from mma_runtime.cli.tables import COLOURS
from mma_runtime.cli.wording import price, printable, wrapped
from mma_runtime.events import ApprovalAsked, Event

# Lines that the region leaves to what was said before.
MARGIN = 8


class Display:
    """Says each noteworthy event in a line of its own.

    *transcript* keeps all that was printed. A display that does not narrate leaves
    events to others; a silent one prints nothing. With *is_attended* questions are put
    to somebody, and are not told of beside that.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress: Progress = Progress()
        self.transcript: list[RenderableType] = []
        self.narrates = True
        self.is_silent = False
        self.is_attended = False
        self._held: list[RenderableType] | None = None

    def add(self, event: Event) -> None:
        """Take in *event* and say what there is to say about it."""
        self.progress.add(event)
        if self.is_attended and isinstance(event, ApprovalAsked):
            return

        # Names, too, are other people's words: none may steer the terminal.
        text = printable(narrate(event)) if self.narrates else ""
        if text:
            self.say(Text(self._wrapped(text), style=_style(event), overflow="fold"))

    def say(self, what: RenderableType) -> None:
        """Print *what* for good, once nothing is being typed below."""
        self.transcript.append(what)
        if self.is_silent:
            return

        if self._held is not None:
            self._held.append(what)
        else:
            self._print(what)

    @contextmanager
    def held(self) -> Generator[None]:
        """Say nothing for a block, in which somebody types; say it all afterwards."""
        self._held = []
        try:
            yield
        finally:
            said, self._held = self._held, None
            for what in said:
                self._print(what)

    @property
    def _is_looked_at(self) -> bool:
        return self.console.is_terminal or self.console.file.isatty()

    def _wrapped(self, text: str) -> str:
        """Break lines between words where somebody looks, and nowhere in a file."""
        if not self._is_looked_at:
            return text

        return wrapped(text, self.console.width)

    def _print(self, what: RenderableType) -> None:
        # Paths, which stand in plain texts, stay whole wherever they are shown.
        soft = isinstance(what, str) or not self._is_looked_at
        self.console.print(what, soft_wrap=soft and isinstance(what, Text | str))

    def refresh(self) -> None:
        """Redraw what changes with time; called a few times a second."""

    def close(self) -> None:
        """Leave the terminal as it was found. Safe to call twice."""


class LiveDisplay(Display):
    """Keeps a region below what was said: a line per tier and running ticket."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live: Live | None = None
        self._start()

    def refresh(self) -> None:
        """Redraw the region."""
        if self._live is not None:
            room = max(1, self.console.height - MARGIN - len(self.progress.tiers))
            self._live.update(region(self.progress, time.time(), room), refresh=True)

    @contextmanager
    def held(self) -> Generator[None]:
        """Remove the region, too, while somebody types."""
        self.close()
        try:
            with super().held():
                yield
        finally:
            self._start()

    def close(self) -> None:
        """Remove the region."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _start(self) -> None:
        # A new one each time: where the last one was drawn is of the past.
        self._live = Live(
            console=self.console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()


def region(progress: Progress, now: float, room: int) -> Table:
    """Lay out the state of tiers and running tickets, at most *room* tickets.

    *now* is the time in seconds since the epoch.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for name, tier in progress.tiers.items():
        state = progress.state_of(name)
        style = "dim" if state in {"idle", "waits"} else "cyan"
        table.add_row(name, Text(printable(state), style=style), *_figures(tier.spent))

    for name, ticket in _first(progress.running, room):
        label = Text(f"  {printable(name)}", style="bold")
        table.add_row(label, _ticket_state(ticket), *_figures(ticket.spent))

    hidden = len(progress.running) - room
    if hidden > 0:
        table.add_row("", Text(f"and {hidden:,} more", style="dim"))

    table.add_row("all", _summary(progress, now), *_figures(progress.spent))
    return table


def _first(
    tickets: Mapping[str, TicketLine], room: int
) -> Iterable[tuple[str, TicketLine]]:
    return list(tickets.items())[:room]


def _ticket_state(ticket: TicketLine) -> str:
    parts = [f"attempt {ticket.attempt}"] if ticket.attempt > 1 else []
    if ticket.round:
        parts.append(f"round {ticket.round} of {ticket.max_rounds}")

    return " · ".join([*parts, printable(ticket.doing)] if ticket.doing else parts)


def _summary(progress: Progress, now: float) -> str:
    seconds = int(max(0.0, now - progress.began)) if progress.began else 0
    done = progress.count("completed")
    parts = [f"{seconds // 60}:{seconds % 60:02}"]
    if progress.tickets:
        parts.append(f"{done} of {len(progress.tickets)} tickets completed")

    return " · ".join(parts)


def _figures(spent: Sum) -> tuple[str, str]:
    if not spent.calls:
        return "", ""

    return f"{spent.tokens:,} tokens", price(spent.usd, spent.calls, spent.unknown)


def _style(event: Event) -> str:
    return COLOURS.get(getattr(event, "state", ""), "")
