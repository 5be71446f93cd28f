"""What a command may use up and what it may touch: limits, and bubblewrap's walls."""

import math
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import product
from pathlib import Path

from anyio import to_thread

from mma_runtime.errors import ConfigurationError

_LAUNCH = (
    "unset PWD OLDPWD;"
    ' ulimit -c 0; ulimit -t "$1"; ulimit -d "$2"; ulimit -f "$3"; shift 3; exec "$@"'
)
_SHELL = "/bin/sh"
_KILOBYTE = 1024
_BLOCK = 512
_PROBE_SECONDS = 10
_SIGNALS = 128

_SECRET = (
    ".aws",
    ".azure",
    ".bash_history",
    ".bundle/config",
    ".cache/huggingface/token",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".claude",
    ".codex",
    ".composer/auth.json",
    ".config/chromium",
    ".config/composer/auth.json",
    ".config/containers",
    ".config/gcloud",
    ".config/gh",
    ".config/git/credentials",
    ".config/glab-cli",
    ".config/google-chrome",
    ".config/hub",
    ".config/pypoetry/auth.toml",
    ".config/rclone",
    ".docker",
    ".gem/credentials",
    ".git-credentials",
    ".gnupg",
    ".gradle/gradle.properties",
    ".kube",
    ".local/share/keyrings",
    ".local/share/uv/credentials",
    ".m2/settings.xml",
    ".mozilla",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".nuget/NuGet/NuGet.Config",
    ".oci",
    ".password-store",
    ".pgpass",
    ".pypirc",
    ".ssh",
    ".terraform.d/credentials.tfrc.json",
    ".vault-token",
    ".yarnrc.yml",
    ".zsh_history",
)
"""What of the user's home no command gets to see behind the walls."""

_SCRATCH = ("/tmp", "/var/tmp")  # noqa: S108 - hidden, not used
"""Where other programs keep their files, and sometimes a project is."""

_SOCKETS = ("/run",)
"""Where other programs can be spoken to."""

_KERNEL = ("acpi", "bus", "fs", "irq", "scsi", "sys", "sysrq-trigger")
"""What of `/proc` speaks to the kernel, which obeys root there without capabilities."""


class SandboxMode(StrEnum):
    """How commands are walled in.

    `auto` takes bubblewrap where it works, `strict` runs nothing without it, and `off`
    does not use it. The limits hold in each.
    """

    AUTO = "auto"
    STRICT = "strict"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What each process of a command may use up, besides the command's time.

    *cpu_seconds* of processor time, *memory* in bytes of data, *file_size* in bytes of
    any file that it writes. A limit that we are under ourselves is not exceeded.
    """

    cpu_seconds: int = 600
    memory: int = 4 << 30
    file_size: int = 1 << 30


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Confinement:
    """What stands around commands on this machine; *bubblewrap* is its program."""

    bubblewrap: str | None = None

    @property
    def name(self) -> str:
        """What to call it in a report: `bubblewrap` or `limits only`."""
        return "bubblewrap" if self.bubblewrap else "limits only"

    def command(
        self,
        argv: Sequence[str],
        cwd: Path,
        *,
        writable: Sequence[Path],
        limits: Limits,
        hidden: Sequence[Path] = (),
    ) -> list[str]:
        """Return the command that runs *argv* in *cwd* inside of all of it.

        Behind walls only the *writable* folders can be changed, and there is no
        network. The rest of the file system can be read, but for what is *hidden*, and
        where secrets and other programs' sockets usually are.
        """
        launched = [_SHELL, "-c", _LAUNCH, "sh", *_words(limits), *argv]
        if self.bubblewrap is None:
            return launched

        return [self.bubblewrap, *_walls(cwd, writable, hidden), "--", *launched]

    def exit_code(self, code: int | None) -> int | None:
        """Return a command's exit code, negative where a signal ended it.

        Bubblewrap passes a signal on in a shell's way: 128 and its number.
        """
        if (
            self.bubblewrap is None
            or code is None
            or not _SIGNALS < code < 2 * _SIGNALS
        ):
            return code

        return _SIGNALS - code


async def find_confinement(mode: SandboxMode) -> Confinement:
    """Return what *mode* gives on this machine; it is tried once and remembered.

    Raises:
        ConfigurationError: `strict`, and bubblewrap is missing or does not work here.
    """
    if mode is SandboxMode.OFF:
        return Confinement()

    found, problem = await to_thread.run_sync(_probe, shutil.which("bwrap"))
    if found is None and mode is SandboxMode.STRICT:
        raise ConfigurationError(
            f"`sandbox: strict` needs bubblewrap, and {problem}; install it (on Debian:"
            " apt-get install bubblewrap), or choose `sandbox: auto`"
        )

    return Confinement(found)


@cache
def _probe(program: str | None) -> tuple[str | None, str]:
    """Try *program* as it will be used: many containers do not let it work."""
    if program is None:
        return None, "there is no `bwrap` on the path"

    here = Path.cwd()
    command = [program, *_walls(here, ()), "--", "/bin/sh", "-c", ":"]
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"it cannot be run: {error}"

    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        return None, f"it does not work here: {said}"

    return program, ""


def _walls(
    cwd: Path, writable: Sequence[Path], hidden: Sequence[Path] = ()
) -> Iterator[str]:
    # No `--die-with-parent`: to the kernel the parent is the thread that started it,
    # and trio's do not live as long. See `watch`.
    # No `--new-session` either: the command has a session, and leads a group in it.
    yield from ("--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts")
    # For root, whom bubblewrap leaves all power, such as that to mount.
    yield from ("--unshare-cgroup-try", "--cap-drop", "ALL")
    yield from ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
    for name in _KERNEL:
        yield from ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")

    emptied = [Path(place) for place in (*_SCRATCH, *_SOCKETS) if _is_folder(place)]
    for place in emptied:
        yield from ("--tmpfs", os.fspath(place))

    # A project among other programs' files can be read whole, as it can elsewhere: git
    # has its repository there.
    for place, folder in product(map(Path, _SCRATCH), (cwd, *writable)):
        if place in folder.parents:
            shown = os.fspath(place / folder.relative_to(place).parts[0])
            yield from ("--ro-bind", shown, shown)

    for secret in _real(*_secrets(), *hidden):
        if secret.is_dir():
            yield from ("--tmpfs", os.fspath(secret))
        else:
            yield from ("--ro-bind", "/dev/null", os.fspath(secret))

    # Programs are promised to commands wherever they are installed; to Python also
    # what it imports from elsewhere, as it does packages that are being worked on.
    programs = os.environ.get("PATH", os.defpath).split(os.pathsep)
    installed = (sys.prefix, sys.base_prefix, *sys.path, *programs)
    for program in dict.fromkeys(installed):
        above = Path(program).parents
        if any(each in above for each in emptied) and Path(program).is_dir():
            yield from ("--ro-bind", program, program)

    for folder in writable:
        yield from ("--bind", os.fspath(folder), os.fspath(folder))

    yield from ("--chdir", os.fspath(cwd))


def _secrets() -> list[Path]:
    try:
        home = Path.home()
    except RuntimeError:
        # Nobody has this user id: there is no home to hide anything of.
        return []

    return [home / each for each in _SECRET]


def _real(*places: Path) -> Iterator[Path]:
    """Yield those of *places* that there are, free of links."""
    for place in places:
        # Not `exists` of the path: it raises where we may not look.
        if os.path.exists(place):  # noqa: PTH110
            yield Path(os.path.realpath(place))


def _is_folder(place: str) -> bool:
    return Path(place).is_dir() and not Path(place).is_symlink()


def _words(limits: Limits) -> Iterator[str]:
    yield _limit(resource.RLIMIT_CPU, limits.cpu_seconds, 1)
    yield _limit(resource.RLIMIT_DATA, limits.memory, _KILOBYTE)
    yield _limit(resource.RLIMIT_FSIZE, limits.file_size, _BLOCK)


def _limit(which: int, wanted: int, unit: int) -> str:
    """Return what to pass to `ulimit`, which fails where it would raise a limit."""
    _, hard = resource.getrlimit(which)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    return str(math.floor(allowed / unit))
