"""Attempts to read or change what lies outside of a checkout; none may come through."""

import os
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from anyio import run_process, to_thread

from mma_runtime.errors import ConfigurationError, MMAError
from mma_runtime.events import NOWHERE
from mma_runtime.llm.chat import Text, ToolCall
from mma_runtime.tools import Toolbox, native_tools
from mma_runtime.tools import sandbox as sandboxing
from mma_runtime.tools.command import run_command
from mma_runtime.tools.sandbox import (
    Confinement,
    Limits,
    SandboxMode,
    find_confinement,
)
from mma_runtime.workspace import Checkout, Workspace
from mma_runtime.workspace.files import Files

SECRET = "what-only-the-user-knows"  # noqa: S105 - it is none

PLACES = [
    "../secret.py",
    "../../secret.py",
    "../../../secret.py",
    "pkg/../../../../secret.py",
    "./.././../../secret.py",
    "pkg//..//..//..//..//secret.py",
    "{outside}/secret.py",
    "{outside}/../outside/secret.py",
    "{root}/../../../../outside/secret.py",
    "//{outside}/secret.py",
    "/proc/self/root{outside}/secret.py",
    "/proc/self/cwd/../secret.py",
    "/dev/fd/0",
    "/dev/stdin",
    "/dev/zero",
    "/etc/passwd",
    "~/../../../../../../../../etc/passwd",
    "$HOME/secret.py",
    "out-file",
    "out-folder/secret.py",
    "out-relative/secret.py",
    "out-twice/secret.py",
    "out-dangling",
    "out-dangling/new.py",
    "pkg/up/up/up/secret.py",
    "loop",
    "loop/secret.py",
    "proc/self/environ",
    "pipe",
    "socket",
    "device",
    "a\0b",
    "../tree2/secret.py",
    "..\\..\\secret.py",
    "\u2025/secret.py",
    "%2e%2e/%2e%2e/secret.py",
    "file://{outside}/secret.py",
    "a" * 5_000,
    "/".join(["x"] * 3_000),
    "",
    ".",
    "..",
    "/",
    "../checkouts",
    "../home",
]

READS: list[tuple[str, dict[str, object]]] = [
    ("read_file", {"path": "PLACE"}),
    ("get_skeleton", {"path": "PLACE"}),
    ("get_definition", {"path": "PLACE", "symbol": "secret"}),
    ("check_syntax", {"path": "PLACE"}),
    ("list_directory", {"path": "PLACE", "depth": 20}),
    ("search_files", {"path": "PLACE", "pattern": "secret"}),
    ("find_symbol", {"path": "PLACE", "name": "secret"}),
    ("find_usages", {"path": "PLACE", "name": "secret"}),
    ("git_diff", {"path": "PLACE"}),
    ("run_command", {"path": "PLACE", "command": "true"}),
]

WRITES: list[tuple[str, dict[str, object]]] = [
    ("write_file", {"path": "PLACE", "content": "broken = 1\n"}),
    ("edit_file", {"path": "PLACE", "old": "secret", "new": "broken"}),
    ("update_definition", {"path": "PLACE", "symbol": "secret", "new": "secret = 0"}),
]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What an escape would reach: a file, and a folder of files."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for place in (tmp_path, outside, tmp_path / "run", tmp_path / "run" / "checkouts"):
        place.mkdir(exist_ok=True)
        (place / "secret.py").write_text(f"secret = '{SECRET}'\n")

    return outside


@pytest.fixture
def trapped(checkout: Checkout, outside: Path) -> Checkout:
    """A checkout with everything in it that could lead out."""
    root = checkout.root
    (root / "out-file").symlink_to(outside / "secret.py")
    (root / "out-folder").symlink_to(outside)
    (root / "out-relative").symlink_to("../../../../outside")
    (root / "out-twice").symlink_to("out-folder")
    (root / "out-dangling").symlink_to(outside / "not-yet")
    (root / "pkg" / "up").symlink_to("..")
    (root / "loop").symlink_to("loop")
    (root / "proc").symlink_to("/proc")
    (root / "device").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe")
    beside = root.with_name("tree2")
    beside.mkdir()
    (beside / "secret.py").write_text(f"secret = '{SECRET}'\n")
    here = Path.cwd()
    os.chdir(root)  # A socket's path is short.
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    os.chdir(here)
    return checkout


def everything(folder: Path, besides: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if besides not in path.parents and path.is_file() and not path.is_symlink()
    }


async def attempt(
    checkout: Checkout, name: str, arguments: Mapping[str, object], place: str
) -> str:
    place = place.replace("{outside}", str(checkout.root.parents[3] / "outside"))
    place = place.replace("{root}", str(checkout.root))
    given = {
        key: place if value == "PLACE" else value for key, value in arguments.items()
    }
    box = Toolbox(native_tools(checkout))
    done = await box.run(
        [ToolCall(id="1", name=name, arguments=given, raw="")],
        origin=NOWHERE,
        emit=lambda event: None,
    )
    (part,) = done.results[0].content
    assert isinstance(part, Text)
    assert "the tool failed" not in part.text
    return part.text


@pytest.mark.parametrize("place", PLACES, ids=lambda place: repr(place)[:40])
async def test_no_tool_reads_what_is_outside(place: str, trapped: Checkout) -> None:
    for name, arguments in READS:
        said = await attempt(trapped, name, arguments, place)

        assert SECRET not in said, name
        assert "root:" not in said, name


@pytest.mark.parametrize("place", PLACES, ids=lambda place: repr(place)[:40])
async def test_no_tool_writes_what_is_outside(
    place: str, trapped: Checkout, tmp_path: Path
) -> None:
    before = everything(tmp_path, trapped.root)

    for name, arguments in WRITES:
        await attempt(trapped, name, arguments, place)

    assert everything(tmp_path, trapped.root) == before
    assert not (tmp_path / "outside" / "not-yet").exists()
    assert (trapped.root / "pipe").is_fifo()
    assert (trapped.root / "socket").is_socket()


@pytest.mark.parametrize("place", [".git", ".git/config", ".GIT/hooks/x", "pkg/.Git"])
async def test_no_tool_writes_what_is_gits_own(place: str, trapped: Checkout) -> None:
    said = await attempt(
        trapped, "write_file", {"path": "PLACE", "content": "[core]"}, place
    )

    assert "is git's own" in said


@pytest.mark.parametrize("swapped", ["pkg", "pkg/deep"])
async def test_a_folder_that_becomes_a_link_after_the_check_is_not_followed(
    swapped: str, checkout: Checkout, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout.root / "pkg" / "deep").mkdir()
    (outside / "deep").mkdir()
    for folder in (checkout.root / "pkg" / "deep", outside, outside / "deep"):
        (folder / "a.py").write_text(
            SECRET if outside in (folder, folder.parent) else ""
        )
    place = checkout.root / "pkg" / "deep" / "a.py"
    (checkout.root / swapped).rename(checkout.root / "was")
    (checkout.root / swapped).symlink_to(
        outside if swapped == "pkg" else outside / "deep"
    )

    def resolve(files: Files, path: str) -> Path:
        return place

    monkeypatch.setattr(Files, "resolve", resolve)

    with pytest.raises(MMAError):
        checkout.read_bytes("pkg/deep/a.py", limit=1_000)
    with pytest.raises(MMAError):
        checkout.write_bytes("pkg/deep/a.py", b"broken")
    assert (outside / "deep" / "a.py").read_text() == SECRET


# --- commands -----------------------------------------------------------------

COMMANDS = {
    "write beside": "echo broken > ../../secret.py",
    "write by a link": "echo broken > out-file",
    "write into a linked folder": "echo broken > out-folder/secret.py",
    "make a new file outside": "touch {outside}/new",
    "remove": "rm -rf {outside}",
    "move out": "mv README.md {outside}/",
    "hard link out": "ln README.md {outside}/new",
    "change permissions": "chmod 777 {outside}/secret.py",
    "write to the integration tree": "echo broken > ../../../tree/README.md",
    "write to the user's project": "echo broken > ../../../../project/README.md",
    "mount over": "mount --bind . {outside}",
    "remount writable": "mount -o remount,rw / && echo broken > {outside}/secret.py",
    "write to a device": "echo broken > /dev/sda",
    "python writes": "python -c \"open('{outside}/secret.py', 'w').write('x')\"",
    "leave the session": "setsid sh -c 'sleep 0.1; echo x > {outside}/new' & sleep 0.3",
    "new namespace": "unshare -rm sh -c 'mount -o remount,rw /; touch {outside}/new'",
}


def test_the_corpus_has_at_least_sixty_attempts() -> None:
    assert len(set(PLACES)) + len(COMMANDS) >= 60


@pytest.fixture
async def walled() -> None:
    """Needs bubblewrap; where it does not work, `strict` runs nothing at all."""
    try:
        await find_confinement(SandboxMode.STRICT)
    except ConfigurationError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.usefixtures("walled")
async def test_no_command_changes_what_is_outside(
    name: str, trapped: Checkout, outside: Path, tmp_path: Path
) -> None:
    before = everything(tmp_path, trapped.root)

    await run_command(
        ["/bin/sh", "-c", COMMANDS[name].replace("{outside}", str(outside))],
        trapped.root,
        home=trapped.home,
        sandbox=SandboxMode.STRICT,
    )

    assert everything(tmp_path, trapped.root) == before
    assert sorted(each.name for each in outside.iterdir()) == ["secret.py"]


POWERS = {
    "remount writable": "mount -o remount,rw /",
    "mount": "mount -t tmpfs none /mnt",
    "unmount what hides": "umount /run",
    "set the name of the machine": "hostname $(hostname)",
    "set the core pattern": (
        "cp /proc/sys/kernel/core_pattern ~/was"
        " && cat ~/was > /proc/sys/kernel/core_pattern"
    ),
    "set a limit of the machine": "echo 1 >> /proc/sys/kernel/no-such-limit",
    "move interrupts": "echo >> /proc/irq/default_smp_affinity",
    "make a device": "mknod ~/device b 8 0",
    "change the root": "chroot / true",
    "change the owner": "chown 1 README.md",
    "load a module": "python -c \"open('/proc/sys/kernel/modprobe', 'a')\"",
    "open the disk": "head -c1 /dev/vda || head -c1 /dev/sda",
    "enter the first process": "nsenter -t 1 -m true",
    "remount in a new namespace": "unshare -rm mount -o remount,rw,bind /",
    "kernel settings in a new namespace": (
        "unshare -rm sh -c 'mount -o remount,rw,bind /proc/sys'"
    ),
}
"""What would do no harm if it came through, and must fail whoever runs us."""


@pytest.mark.parametrize("name", POWERS)
@pytest.mark.usefixtures("walled")
async def test_no_command_has_power_over_the_machine(
    name: str, checkout: Checkout
) -> None:
    result = await run_command(
        ["/bin/sh", "-c", POWERS[name]],
        checkout.root,
        home=checkout.home,
        sandbox=SandboxMode.STRICT,
    )

    assert not result.succeeded, result.output


REMOUNTS = {
    "at once": "mount -o remount,rw /; touch {outside}/new",
    "in a new namespace": "unshare -rm sh -c 'mount -o remount,rw /; {touch}'",
    "with more power": "unshare -rm sh -c 'mount -o remount,rw,bind /; {touch}'",
    "by the root of the first process": "touch /proc/1/root{outside}/new",
    "by changing the root": "chroot / touch {outside}/new",
}


@pytest.mark.parametrize("name", REMOUNTS)
@pytest.mark.usefixtures("walled")
async def test_no_command_writes_beside_the_system(
    name: str, checkout: Checkout
) -> None:
    # Not in `/tmp`, which is a mount of its own: behind the walls, this is a part of /.
    try:
        outside = tempfile.mkdtemp(prefix="mma-test-", dir="/opt")
    except OSError:
        pytest.skip("there is no folder outside of /tmp that we may write to")

    try:
        line = REMOUNTS[name].replace("{touch}", "touch {outside}/new")
        await run_command(
            ["/bin/sh", "-c", line.replace("{outside}", outside)],
            checkout.root,
            home=checkout.home,
            sandbox=SandboxMode.STRICT,
        )

        assert not await to_thread.run_sync(os.listdir, outside)
    finally:
        shutil.rmtree(outside)


@pytest.mark.usefixtures("walled")
async def test_no_command_reaches_the_network_or_a_socket_of_others(
    trapped: Checkout, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = await run_command(
            [
                "python",
                "-c",
                f"import socket; socket.create_connection(('127.0.0.1', {port}))",
            ],
            trapped.root,
            home=trapped.home,
        )

    assert result.exit_code == 1
    assert "refused" in result.output or "unreachable" in result.output
    assert result.sandbox == "bubblewrap"


@pytest.mark.usefixtures("walled")
async def test_no_command_sees_other_processes_or_secrets(
    trapped: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "user"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id").write_text(SECRET)
    (home / ".netrc").write_text(SECRET)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(sandboxing, "_SCRATCH", ())

    result = await run_command(
        ["/bin/sh", "-c", f"cat {home}/.ssh/id {home}/.netrc; kill -0 {os.getpid()}"],
        trapped.root,
        home=trapped.home,
    )

    assert result.exit_code != 0
    assert SECRET not in result.output


@pytest.mark.usefixtures("walled")
async def test_no_command_sees_keys_or_the_work_of_other_tickets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project = tmp_path / "user", tmp_path / "project"
    kept = [".git-credentials", ".npmrc", ".cargo/credentials.toml", ".pgpass"]
    for place in [*(home / each for each in kept), project / ".env"]:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(SECRET)

    (project / "link").symlink_to(".env")
    (project / "a.txt").write_text("seen\n")
    (project / ".gitignore").write_text(".env\nlink\n")
    monkeypatch.setenv("HOME", str(home))
    workspace = await Workspace.open(project, tmp_path / "run")
    workspace.hidden = (project / "link", project / "credentials.toml")
    other, own = await workspace.checkout("T1"), await workspace.checkout("T2")
    other.write_bytes("half.py", SECRET.encode())
    (other.home / "x").write_text(SECRET)
    places = [*(home / each for each in kept), project / ".env", project / "link"]
    run_tool = native_tools(own, ["run_command"])[0]

    for secret in (*map(str, places), "../../for-T1/tree/half.py"):
        command = f"cat {secret}; cat ../../*/home/x; cat {project}/a.txt a.txt"
        said = await run_tool.call({"command": command, "shell": True})

        assert SECRET not in str(said), secret
        assert str(said).count("seen") == 2


@pytest.mark.usefixtures("walled")
async def test_inside_of_the_walls_all_works(trapped: Checkout) -> None:
    result = await run_command(
        ["/bin/sh", "-c", "echo in > new && cat new && echo ~ > ~/x && python -V"],
        trapped.root,
        home=trapped.home,
        sandbox=SandboxMode.STRICT,
    )

    assert result.succeeded, result.output
    assert (trapped.root / "new").read_text() == "in\n"
    assert (trapped.home / "x").read_text() == f"{trapped.home}\n"


@pytest.mark.usefixtures("walled")
async def test_python_finds_packages_that_are_installed_where_they_are_written(
    trapped: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / "edited.py").write_text("print('found')\n")
        monkeypatch.setattr(sys, "path", [folder, *sys.path])

        result = await run_command(
            ["python", f"{folder}/edited.py"],
            trapped.root,
            home=trapped.home,
            sandbox=SandboxMode.STRICT,
        )

    assert result.output == "found\n"


@pytest.mark.usefixtures("walled")
async def test_git_works_inside_of_the_walls(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.txt").write_text("one\n")
    author = ("-c", "user.name=user", "-c", "user.email=user@localhost")
    for arguments in (
        ("init", "-q"),
        ("add", "-A"),
        (*author, "commit", "-qm", "first"),
    ):
        await run_process(["git", "-C", str(project), *arguments])
    workspace = await Workspace.open(project, tmp_path / "run")
    checkout = await workspace.checkout("T1")
    checkout.write_bytes("a.txt", b"two\n")

    result = await run_command(
        ["git", "diff", "HEAD"], checkout.root, home=checkout.home
    )
    await run_command(
        ["/bin/sh", "-c", "git checkout -f HEAD; git branch -D stray; git gc -q"],
        checkout.root,
        home=checkout.home,
    )

    assert result.sandbox == "bubblewrap"
    assert "-one\n+two\n" in result.output
    await workspace.merge(await checkout.diff(), "T1")
    assert await workspace.publish() == "mma/run"


@pytest.mark.usefixtures("walled")
async def test_a_command_outlives_the_thread_that_started_it(
    trapped: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    # trio starts processes in threads, which end when they are not needed for a while.
    monkeypatch.setattr("trio._core._thread_cache.IDLE_TIMEOUT", 0.05)

    result = await run_command(["sleep", "0.4"], trapped.root, home=trapped.home)

    assert result.exit_code == 0


async def test_a_strict_sandbox_runs_nothing_without_bubblewrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ConfigurationError, match="apt-get install bubblewrap"):
        await run_command(["/bin/true"], tmp_path, sandbox=SandboxMode.STRICT)

    result = await run_command(["/bin/true"], tmp_path)
    assert (result.exit_code, result.sandbox) == (0, "limits only")


async def test_a_bubblewrap_that_does_not_work_here_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, body in (("says", "echo no namespaces >&2; exit 1"), ("broken", None)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "bwrap").write_text(f"#!/bin/sh\n{body}\n" if body else "#!/no\n")
        (folder / "bwrap").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

        assert await find_confinement(SandboxMode.AUTO) == Confinement()
        with pytest.raises(ConfigurationError, match="strict"):
            await find_confinement(SandboxMode.STRICT)


# --- limits -------------------------------------------------------------------

MODES = [SandboxMode.OFF, SandboxMode.AUTO]


@pytest.mark.parametrize("mode", MODES)
async def test_a_command_that_computes_for_ever_is_ended(
    mode: SandboxMode, tmp_path: Path
) -> None:
    result = await run_command(
        ["/bin/sh", "-c", "while :; do :; done"],
        tmp_path,
        limits=Limits(cpu_seconds=1),
        sandbox=mode,
    )

    assert result.exit_code in (-9, -24)
    assert not result.timed_out


@pytest.mark.parametrize("mode", MODES)
async def test_a_command_gets_so_much_memory(mode: SandboxMode, tmp_path: Path) -> None:
    result = await run_command(
        ["python", "-c", "x = bytearray(1 << 30); print(len(x))"],
        tmp_path,
        limits=Limits(memory=300 << 20),
        sandbox=mode,
    )

    assert result.exit_code == 1
    assert "MemoryError" in result.output


@pytest.mark.parametrize("mode", MODES)
async def test_a_file_can_be_so_big(mode: SandboxMode, tmp_path: Path) -> None:
    result = await run_command(
        ["head", "-c", "3000000", "/dev/zero"], tmp_path, sandbox=mode, output_limit=99
    )
    assert result.succeeded

    result = await run_command(
        ["/bin/sh", "-c", "exec head -c 3000000 /dev/zero > big"],
        tmp_path,
        limits=Limits(file_size=1 << 20),
        sandbox=mode,
    )

    assert not result.succeeded
    size = await to_thread.run_sync(lambda: (tmp_path / "big").stat().st_size)
    assert size <= 1 << 20
    assert "a file of more than 1,048,576 bytes" in result.output


def test_a_limit_that_we_are_under_is_not_exceeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def given(which: int) -> tuple[int, int]:
        return 5, 7_000

    monkeypatch.setattr(resource, "getrlimit", given)

    command = Confinement().command(
        ["x"], Path("/"), writable=(), limits=Limits(cpu_seconds=9_000)
    )

    assert command[-4:] == ["7000", "6", "13", "x"]
