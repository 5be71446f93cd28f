import os
import pty
import sys
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import anyio
import pytest

from mma_runtime.cli.keyboard import Keyboard, open_keyboard


class Streams:
    """A terminal as stdin and stderr, and somebody who types."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._master, inner = pty.openpty()
        self._terminal = Path(f"/dev/fd/{inner}").open(encoding="utf-8")  # noqa: SIM115 - closed below
        os.close(inner)

    def attach(self) -> None:
        """Attach the terminal; in the test itself, since pytest attaches its own."""
        for name in ("stdin", "stderr"):
            self._patch.setattr(sys, name, self._terminal)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def close(self) -> None:
        self._terminal.close()
        os.close(self._master)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Generator[Streams]:
    streams = Streams(monkeypatch)
    yield streams
    streams.close()


async def test_a_line_is_what_was_typed_before_enter(streams: Streams) -> None:
    streams.attach()
    with open_keyboard() as keyboard:
        assert keyboard is not None
        streams.type("ja, gr\u00fcn\nmore")
        assert await keyboard.line() == "ja, gr\u00fcn"

        with anyio.move_on_after(0.05) as waited:
            await keyboard.line()

        assert waited.cancelled_caught
        streams.type("\n")
        assert await keyboard.line() == "more"


async def test_what_was_typed_can_be_forgotten(streams: Streams) -> None:
    streams.attach()
    with open_keyboard() as keyboard:
        assert keyboard is not None
        streams.type("too early\n")
        keyboard.forget()
        streams.type("now\n")

        assert await keyboard.line() == "now"


async def test_the_end_of_input_is_no_line(streams: Streams) -> None:
    streams.attach()
    with open_keyboard() as keyboard:
        assert keyboard is not None
        streams.type("\x04")

        assert await keyboard.line() is None


async def test_somebody_else_may_read_what_was_typed(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = 0

    async def look(_fd: int) -> None:
        nonlocal ready
        ready += 1
        if ready == 2:
            streams.type("mine\n")

    monkeypatch.setattr(anyio, "wait_readable", look)
    streams.attach()
    with open_keyboard() as keyboard:
        assert keyboard is not None

        assert await keyboard.line() == "mine"


def test_the_shells_own_terminal_keeps_its_mode(streams: Streams) -> None:
    streams.attach()
    with open_keyboard() as keyboard:
        assert isinstance(keyboard, Keyboard)
        assert os.get_blocking(sys.stdin.fileno())


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_nobody_is_there_without_a_terminal_at_both_ends(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    streams.attach()
    monkeypatch.setattr(sys, stream, None)
    with open_keyboard() as keyboard:
        assert keyboard is None

    with Path(os.devnull).open(encoding="utf-8") as null:
        monkeypatch.setattr(sys, stream, null)
        with open_keyboard() as keyboard:
            assert keyboard is None


def test_nobody_is_asked_in_the_background(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(_fd: int) -> int:
        return os.getpgrp() + 1

    streams.attach()
    monkeypatch.setattr(os, "tcgetpgrp", another)

    with open_keyboard() as keyboard:
        assert keyboard is None


def test_a_terminal_of_another_user_is_none(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: str, _flags: int) -> NoReturn:
        raise PermissionError

    streams.attach()
    monkeypatch.setattr(os, "open", refuse)

    with open_keyboard() as keyboard:
        assert keyboard is None
