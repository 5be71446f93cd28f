"""Where things are written: results to stdout, everything else to stderr."""

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from io import StringIO, TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, RenderableType

from mma_runtime.cli.exit_codes import code_of_error
from mma_runtime.cli.live import Display, LiveDisplay
from mma_runtime.cli.options import LogChoice
from mma_runtime.cli.records import error_record, to_json
from mma_runtime.cli.streams import OutputLost, complain, discard
from mma_runtime.cli.wording import count, printable
from mma_runtime.errors import MMAError, ScenarioInvalid

# Columns where no terminal says how many it has.
WIDTH = 100

# rich's own frame, with the fonts that are there instead of fonts from a server.
SVG_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}"
 xmlns="http://www.w3.org/2000/svg">
  <style>
    .{unique_id}-matrix {{
      font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
      font-size: {char_height}px;
      line-height: {line_height}px;
      font-variant-east-asian: full-width;
    }}
    .{unique_id}-title {{
      font-size: 18px;
      font-weight: bold;
      font-family: ui-sans-serif, Arial, sans-serif;
    }}
    {styles}
  </style>
  <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
  </defs>
  {chrome}
  <g transform="translate({terminal_x}, {terminal_y})"
   clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
  </g>
</svg>
"""


class Results:
    """Writes results to stdout; a reader that has gone away is no error.

    Raises `OutputLost` where they cannot be written.
    """

    def __init__(self, stream: TextIO) -> None:
        if isinstance(stream, TextIOWrapper):
            # What the terminal's encoding lacks must not end a run.
            stream.reconfigure(errors="backslashreplace")

        self._stream: TextIO = stream
        self.closed: bool = False

    @property
    def columns(self) -> int | None:
        """How many columns the terminal has that they go to; `None`: it is none."""
        return Console(file=self._stream).width if self._stream.isatty() else None

    def write(self, line: str, *, at_once: bool = True) -> None:
        """Write *line*, unless nobody reads any more.

        Of many lines in a row none needs to be written *at_once*: `flush` ends them.
        """
        if not self.closed:
            self._do(partial(self._stream.write, line + "\n"))

        if at_once:
            self.flush()

    def show(self, what: RenderableType) -> None:
        """Write *what*, laid out for the terminal, or 100 columns wide."""
        columns = self.columns
        console = Console(
            file=StringIO(),
            force_terminal=columns is not None,
            markup=False,
            highlight=False,
            width=columns or WIDTH,
        )
        with console.capture() as captured:
            console.print(what)

        self.write(captured.get().removesuffix("\n"))

    def flush(self) -> None:
        """Hand over what was written."""
        if not self.closed:
            self._do(self._stream.flush)

    def _do(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            self.closed = True
            discard(self._stream)
            if not isinstance(error, BrokenPipeError):
                self.lose(error)

    def lose(self, error: OSError) -> None:
        """Tell that nothing more can be written; called once."""
        raise OutputLost(error) from error


class RunResults(Results):
    """Writes the results of a run, which goes on when they cannot be written.

    That is said once on stderr; the exit code stays the run's.
    """

    def lose(self, error: OSError) -> None:
        """Say it and go on."""
        OutputLost(error).show()


class _Stderr(Console):
    """A console on stderr that falls silent when that cannot be written any more."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard(sys.stderr)


def open_display(environ: Mapping[str, str], *, same_terminal: bool) -> Display:
    """Return the display for stderr: redrawn on a terminal, plain lines elsewhere.

    Plain too with `NO_COLOR` or `CI` in *environ*, or with *same_terminal*, when
    results go to that terminal line by line.
    """
    plain = (
        same_terminal
        or not sys.stderr.isatty()
        or environ.get("TERM") == "dumb"
        or bool(environ.get("NO_COLOR") or environ.get("CI"))
    )
    console = _Stderr(
        stderr=True,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=plain or None,
        force_terminal=False if plain else None,
        width=None if sys.stderr.isatty() else WIDTH,
    )
    return Display(console) if plain else LiveDisplay(console)


def load_logs(choice: LogChoice, display: Display | None = None) -> None:
    """Send log records to stderr as *choice* says; loads structlog."""
    import_module("mma_runtime.cli.logs").configure_logs(choice, display)


def say(
    text: str, logs: LogChoice | None, level: str, event: str, **facts: Any
) -> None:
    """Say *text* on stderr; where that gets JSON, a record *event* with *facts*."""
    if logs is None or logs.format != "json":
        complain(text)
    else:
        import_module("mma_runtime.cli.logs").log(logs, level, event, facts)


def report_error(
    error: MMAError | OSError,
    results: Results | None,
    *,
    logs: LogChoice | None = None,
    indent: int | None = 2,
) -> int:
    """Say on stderr what keeps the run from starting; return the exit code.

    *results* gets the same as JSON, in one line without *indent*; so does stderr where
    *logs* are JSON.
    """
    code = code_of_error(error)
    record = error_record(error, code)
    text = printable(str(error))
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = printable(f"{error.filename}: {error.strerror}")

    if isinstance(error, ScenarioInvalid):
        found = count(len(error.problems), "problem")
        text += f"\nmma: {found} in {error.file}; nothing was run"
    else:
        text = f"mma: {text}"

    say(text, logs, "error", "run_not_started", **record)
    if results is not None:
        results.write(to_json(record, indent=indent))

    return code


def write_svg(path: Path, title: str, transcript: Iterable[RenderableType]) -> None:
    """Draw *transcript* as an SVG picture of a terminal; it loads nothing from afar."""
    console = Console(
        record=True,
        file=StringIO(),
        force_terminal=True,
        markup=False,
        emoji=False,
        highlight=False,
        width=WIDTH,
        legacy_windows=False,
    )
    for what in transcript:
        console.print(what)

    console.save_svg(str(path), title=title, code_format=SVG_FORMAT)
