import os
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.text import Text

from mma_runtime.cli.live import LiveDisplay
from mma_runtime.cli.terminal import Results, open_display, report_error, write_svg
from mma_runtime.errors import ConfigurationError, Problem, ScenarioInvalid


class FakeTerminal(StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    # Not as a fixture: pytest puts its own stderr in place after those.
    fake = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", fake)
    return fake


def test_results_are_written_at_once_line_by_line() -> None:
    stream = StringIO()

    Results(stream).write("one")

    assert stream.getvalue() == "one\n"


def test_a_reader_that_has_gone_away_is_no_error() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        results = Results(stream)
        os.close(reader)

        results.write("one")
        results.write("two")

        assert results.closed


def test_what_an_encoding_lacks_is_written_as_an_escape(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding="ascii") as stream:
        Results(stream).write('{"text": "naïve \udc80"}')

    assert path.read_text() == '{"text": "na\\xefve \\udc80"}\n'


def test_a_terminal_gets_the_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)

    display = open_display({"TERM": "xterm"}, same_terminal=False)
    display.close()

    assert isinstance(display, LiveDisplay)


@pytest.mark.parametrize(
    ("environ", "same_terminal"),
    [
        ({"NO_COLOR": "1"}, False),
        ({"CI": "true"}, False),
        ({"TERM": "dumb"}, False),
        ({}, True),
    ],
)
def test_plain_lines_are_for_those_who_want_them(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], same_terminal: bool
) -> None:
    terminal = on_terminal(monkeypatch)

    display = open_display(environ, same_terminal=same_terminal)
    display.say(Text("hello", style="red"))
    display.close()

    assert not isinstance(display, LiveDisplay)
    assert terminal.getvalue() == "hello\n"


def test_what_is_no_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", StringIO())

    assert not isinstance(open_display({}, same_terminal=False), LiveDisplay)


def test_an_error_is_one_clear_line_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = report_error(ConfigurationError("no \x1b[2J"), None)

    assert code == 2
    assert capsys.readouterr() == ("", "mma: no  [2J\n")


def test_the_problems_of_a_scenario_stand_in_lines_of_their_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = [
        Problem(message="is missing", path="epic", line=1, column=1),
        Problem(message="is wrong"),
    ]

    report_error(ScenarioInvalid("a.yaml", problems), None)

    assert capsys.readouterr().err.splitlines() == [
        "a.yaml:1:1: epic: is missing",
        "a.yaml: is wrong",
        "mma: 2 problems in a.yaml; nothing was run",
    ]


def test_a_picture_holds_what_was_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.svg"

    write_svg(path, "title & more", ["plain [bold] <b>", Text("red", style="red")])

    text = path.read_text(encoding="utf-8").replace("&#160;", " ")
    assert "plain [bold] &lt;b&gt;" in text
    assert "title &amp; more" in text
    assert "@font-face" not in text
