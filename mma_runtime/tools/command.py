"""One command, run in a folder, with no way to outlive or to outspend its caller."""

import os
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from shutil import which
from subprocess import DEVNULL
from tempfile import TemporaryDirectory

from anyio import (
    CancelScope,
    create_task_group,
    current_time,
    move_on_after,
    open_process,
    to_thread,
    wait_readable,
)
from anyio.abc import Process

from mma_runtime.errors import NoRoom, WorkspaceError
from mma_runtime.tools.processes import end_group, end_strays
from mma_runtime.tools.sandbox import LIMITS, Limits, SandboxMode, find_confinement
from mma_runtime.tools.watch import watched
from mma_runtime.workspace.room import is_full

SECONDS = 120.0
"""The time limit of a command unless told otherwise."""

OUTPUT_LIMIT = 1_000_000
"""How many bytes of output are kept; what is dropped is from the middle."""

GRACE = 2.0
"""Seconds between the request to end and the end by force."""

NOT_FOUND = 127
NOT_EXECUTABLE = 126
"""What a shell answers where there is no such command, or it cannot be run."""

MARK = "MMA_COMMAND"
"""The variable by which processes that left their group are found."""

PASSED_ON = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""The only variables that a command gets from our environment as they are."""


_BLOCK = 1 << 16
_DRAINED_BLOCKS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended. *exit_code* is `None` when its time was up.

    It is negative when a signal ended it. *output* is what it wrote to stdout and
    stderr, in order; *truncated* tells that some of it is missing from the middle.
    *sandbox* says what stood around it: `bubblewrap`, or `limits only`.
    """

    exit_code: int | None
    output: str
    timed_out: bool = False
    truncated: bool = False
    sandbox: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the command said that all is well."""
        return self.exit_code == 0


async def run_command(
    argv: Sequence[str],
    cwd: Path,
    *,
    seconds: float = SECONDS,
    output_limit: int = OUTPUT_LIMIT,
    home: Path | None = None,
    variables: Mapping[str, str] | None = None,
    writable: Sequence[Path] = (),
    hidden: Sequence[Path] = (),
    limits: Limits = LIMITS,
    sandbox: SandboxMode = SandboxMode.AUTO,
) -> CommandResult:
    """Run *argv* in *cwd*, without a shell and without input, and wait for its end.

    When it has ended, its time is up, or the call is cancelled, its whole process
    group is ended before this returns: asked first, forced after `GRACE` seconds. On
    Linux that is true of processes that left the group as well. Should we be killed
    meanwhile, a `watched` process does it.

    Args:
        argv: The command and its arguments.
        cwd: The folder that it runs in.
        seconds: The time limit.
        output_limit: How many bytes of output to keep.
        home: Its `HOME`, which also holds its temporary files; by default a folder
            that lives only as long as the command.
        variables: Set in its environment besides what `environment` sets.
        writable: The folders that it may change behind bubblewrap's walls, by default
            *cwd*; its home is always one.
        hidden: Files and folders that it does not see behind bubblewrap's walls, but
            for what is writable.
        limits: What each of its processes may use up.
        sandbox: Whether to use bubblewrap.

    Raises:
        WorkspaceError: *cwd* is no folder.
        NoRoom: it failed, and the disk that *cwd* is on is full.
        ConfigurationError: the sandbox is to be strict, and there is no bubblewrap.
    """
    if not argv:
        return CommandResult(exit_code=NOT_FOUND, output="the command is empty")

    if not await to_thread.run_sync(cwd.is_dir):
        raise WorkspaceError(f"cannot run a command in {cwd}: there is no such folder")

    confinement = await find_confinement(sandbox)
    output = _Output(output_limit)
    with _home(home) as own, _pipe() as (reading, writing):
        mark = token_hex(16)
        surroundings = environment(own) | dict(variables or {}) | {MARK: mark}
        walled = confinement.command(
            argv,
            cwd,
            writable=(*(writable or (cwd,)), own),
            hidden=hidden,
            limits=limits,
        )
        async with AsyncExitStack() as stack:
            try:
                if problem := _unstartable(argv[0], cwd, surroundings["PATH"]):
                    return problem

                watch = await stack.enter_async_context(watched(f"{MARK}={mark}"))
                process = await _start(walled, cwd, surroundings, writing)
            except (OSError, ValueError) as error:
                return CommandResult(
                    exit_code=NOT_EXECUTABLE, output=f"cannot run {argv[0]!r}: {error}"
                )
            finally:
                os.close(writing)

            watch.note(process)
            finished = False
            try:
                with move_on_after(seconds) as limit:
                    await _follow(process, mark, reading, output)
                    finished = True
            finally:
                with CancelScope(shield=True):
                    if not finished:
                        await _end_all(process, mark)

                    await process.aclose()
                    output.drain(reading)

    code = confinement.exit_code(process.returncode)
    if code and await to_thread.run_sync(is_full, cwd):
        # What it says then is no judgement of anybody's work.
        raise NoRoom(f"{argv[0]!r} failed in {cwd}, where the disk is full")

    exceeded = "" if limit.cancelled_caught else _exceeded(code, limits)
    return CommandResult(
        exit_code=None if limit.cancelled_caught else code,
        output=output.text() + exceeded,
        timed_out=limit.cancelled_caught,
        truncated=output.truncated,
        sandbox=confinement.name,
    )


def environment(home: Path) -> dict[str, str]:
    """Return all that a command gets to know of its surroundings; no keys are in it.

    The interpreter that runs us, and what is installed beside it, come first on `PATH`.
    """
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {
        "LANG": "C.UTF-8",
        **passed_on,
        "PATH": search_path(),
        "HOME": os.fspath(home),
        "TMPDIR": os.fspath(home),
        "TERM": "dumb",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def search_path() -> str:
    """Return where programs are looked for: beside our interpreter, then on `PATH`."""
    own = Path(sys.executable).parent
    inherited = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = (
        os.fspath(own),
        *(folder for folder in inherited if Path(folder).is_absolute()),
    )
    return os.pathsep.join(dict.fromkeys(path))


class _Output:
    """The beginning and the end of a stream of bytes, in bounded memory."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    @property
    def truncated(self) -> bool:
        return self._dropped > 0

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        # Trimmed only now and then: each time moves the whole tail.
        if len(self._tail) > 2 * self._half:
            self._trim()

    def drain(self, reading: int) -> None:
        """Add what lies in a pipe, without waiting for more."""
        with suppress(BlockingIOError):
            for _ in range(_DRAINED_BLOCKS):
                self.add(os.read(reading, _BLOCK))

    def text(self) -> str:
        self._trim()
        marker = b""
        if self._dropped:
            marker = f"\n[… {self._dropped:,} bytes were not kept …]\n".encode()

        whole = self._head + marker + self._tail
        # A zero byte is text to nobody, and some services refuse it.
        return whole.decode(errors="replace").replace("\0", "\ufffd")

    def _trim(self) -> None:
        surplus = len(self._tail) - self._half
        if surplus > 0:
            del self._tail[:surplus]
            self._dropped += surplus


@contextmanager
def _home(given: Path | None) -> Generator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return

    with TemporaryDirectory(prefix="mma-", ignore_cleanup_errors=True) as own:
        yield Path(own)


@contextmanager
def _pipe() -> Generator[tuple[int, int]]:
    # Our own pipe: the event loop's would stay open with a process that left its group.
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        yield reading, writing
    finally:
        os.close(reading)


async def _start(
    argv: Sequence[str], cwd: Path, surroundings: Mapping[str, str], output: int
) -> Process:
    # Shielded: a process that is just being born would else be forgotten.
    with CancelScope(shield=True):
        return await open_process(
            list(argv),
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=surroundings,
            start_new_session=True,
        )

    raise AssertionError("type checkers cannot know that this shield swallows nothing")


async def _follow(process: Process, mark: str, reading: int, output: _Output) -> None:
    async with create_task_group() as group:
        group.start_soon(_read, reading, output)
        await process.wait()
        # Those who are left hold the pipe open, and have no business any more.
        await _end_all(process, mark)
        # Nobody waits for one that cannot be found and holds it still.
        group.cancel_scope.deadline = current_time() + GRACE


async def _end_all(process: Process, mark: str) -> None:
    await end_group(process, GRACE)
    await to_thread.run_sync(end_strays, MARK, mark)


async def _read(reading: int, output: _Output) -> None:
    while True:
        await wait_readable(reading)
        data = os.read(reading, _BLOCK)
        if not data:
            return

        output.add(data)


def _exceeded(code: int | None, limits: Limits) -> str:
    if code == -signal.SIGXCPU:
        return f"\n[ended: more than {limits.cpu_seconds:,} s of processor time]\n"

    if code == -signal.SIGXFSZ:
        return f"\n[ended: a file of more than {limits.file_size:,} bytes]\n"

    return ""


def _unstartable(command: str, cwd: Path, path: str) -> CommandResult | None:
    """Answer for a command that a shell would not find or could not run."""
    if "/" not in command:
        if which(command, path=path) is not None:
            return None

        return CommandResult(
            exit_code=NOT_FOUND, output=f"there is no command {command!r}"
        )

    place = cwd / command
    if not place.exists():
        return CommandResult(
            exit_code=NOT_FOUND, output=f"there is no command {command!r}"
        )

    if place.is_dir() or not os.access(place, os.X_OK):
        return CommandResult(
            exit_code=NOT_EXECUTABLE,
            output=f"cannot run {command!r}: it is not an executable file",
        )

    return None
