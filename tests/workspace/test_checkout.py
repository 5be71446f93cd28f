import os
from pathlib import Path

import pytest

from mma_runtime.errors import OutsideWorkspace, WorkspaceError
from mma_runtime.workspace import Checkout, Workspace


@pytest.fixture
async def checkout(workspace: Workspace) -> Checkout:
    return await workspace.checkout("T1")


async def test_a_checkout_is_a_whole_copy_that_shares_nothing(
    checkout: Checkout, workspace: Workspace, source: Path
) -> None:
    (checkout.root / "pkg" / "b.py").write_text("x = 2\n")
    with (checkout.root / "a.txt").open("a") as file:
        file.write("more\n")

    assert (checkout.root / "empty").is_dir()
    assert (checkout.root / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (checkout.root / "alias.py").readlink() == Path("pkg/b.py")
    for root in (workspace.tree, source):
        assert (root / "pkg" / "b.py").read_text() == "x = 1\n"
        assert (root / "a.txt").read_text().endswith("line 20\n")


async def test_a_fresh_checkout_has_no_diff(checkout: Checkout) -> None:
    assert not await checkout.diff()


async def test_a_diff_shows_all_that_changed_and_nothing_else(
    checkout: Checkout,
) -> None:
    root = checkout.root
    (root / "a.txt").write_text((root / "a.txt").read_text().replace("line 7", "LINE"))
    (root / "pkg" / "b.py").unlink()
    (root / "new" / "deep").mkdir(parents=True)
    (root / "new" / "deep" / "d.py").write_text("d\n")
    (root / "run.sh").chmod(0o644)
    (root / "alias.py").unlink()
    (root / "alias.py").symlink_to("a.txt")
    (root / "logo.png").touch()

    diff = await checkout.diff()

    assert diff.files == ("a.txt", "alias.py", "new/deep/d.py", "pkg/b.py", "run.sh")
    assert [(each.mode_before, each.mode_after) for each in diff.changes] == [
        (0o100644, 0o100644),
        (0o120000, 0o120000),
        (None, 0o100644),
        (0o100644, None),
        (0o100755, 0o100644),
    ]


async def test_a_change_of_the_same_size_and_time_is_seen(checkout: Checkout) -> None:
    file = checkout.root / "pkg" / "b.py"
    status = file.stat()
    file.write_text("x = 9\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert (await checkout.diff()).files == ("pkg/b.py",)


async def test_a_file_that_became_a_link_or_a_folder_is_seen(
    checkout: Checkout,
) -> None:
    (checkout.root / "a.txt").unlink()
    (checkout.root / "a.txt").symlink_to("run.sh")
    (checkout.root / "run.sh").unlink()
    (checkout.root / "run.sh").mkdir()
    (checkout.root / "run.sh" / "x").write_text("x")

    diff = await checkout.diff()

    assert diff.files == ("a.txt", "run.sh", "run.sh/x")
    assert diff.changes[0].mode_after == 0o120000
    assert diff.changes[1].after is None


async def test_caches_environments_and_special_files_are_no_change(
    checkout: Checkout,
) -> None:
    for folder in (".git", ".mma", ".venv", "venv", "node_modules", "pkg/__pycache__"):
        (checkout.root / folder).mkdir()
        (checkout.root / folder / "x").write_text("x")
    (checkout.root / "env").mkdir()
    (checkout.root / "env" / "pyvenv.cfg").write_text("home = /usr")
    os.mkfifo(checkout.root / "pipe")

    assert not await checkout.diff()


async def test_a_giant_new_file_is_refused_by_name(checkout: Checkout) -> None:
    with (checkout.root / "core").open("wb") as file:
        file.truncate(60_000_000)

    with pytest.raises(WorkspaceError, match="'core' has 60,000,000 bytes"):
        await checkout.diff()


@pytest.mark.parametrize(
    "path", [".", "a.txt", "pkg/../a.txt", "new/file", "alias.py", "./pkg//b.py", ""]
)
async def test_paths_inside_are_resolved(path: str, checkout: Checkout) -> None:
    place = checkout.resolve(path)

    assert place.is_relative_to(checkout.root)
    assert checkout.resolve(str(place)) == place
    assert checkout.resolve(checkout.relative(place)) == place


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../home",
        "pkg/../../x",
        "/etc/passwd",
        "/",
        "out/passwd",
        "out",
        "dangling",
        "loop/../../x",
        "pkg/up/../x",
        "a\0b",
        "/proc/self/root/etc",
        "~/../..//../../../etc/passwd",
    ],
)
async def test_paths_outside_are_refused(path: str, checkout: Checkout) -> None:
    (checkout.root / "out").symlink_to("/etc")
    (checkout.root / "dangling").symlink_to("/no/such/place")
    (checkout.root / "loop").symlink_to("loop")
    (checkout.root / "pkg" / "up").symlink_to("../..")

    with pytest.raises(OutsideWorkspace, match="is outside the workspace"):
        checkout.resolve(path)


async def test_a_folder_beside_with_a_longer_name_is_outside(
    checkout: Checkout,
) -> None:
    beside = checkout.root.with_name("tree2")
    beside.mkdir()

    with pytest.raises(OutsideWorkspace):
        checkout.resolve(str(beside))


async def test_a_link_put_in_place_of_a_file_is_not_followed(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = checkout.root / "a.txt"

    def resolve_and_swap(checkout: Checkout, path: str) -> Path:
        link.unlink()
        link.symlink_to(secret)
        return link

    monkeypatch.setattr(Checkout, "resolve", resolve_and_swap)

    with pytest.raises(WorkspaceError, match="cannot be opened"):
        checkout.read_bytes("a.txt", limit=100)
    with pytest.raises(WorkspaceError, match="is not a regular file"):
        checkout.write_bytes("a.txt", b"x")
    assert secret.read_text() == "secret"


async def test_discard_removes_the_copy_even_when_folders_are_locked(
    checkout: Checkout,
) -> None:
    (checkout.root / "pkg" / "deep").chmod(0)

    await checkout.discard()
    await checkout.discard()

    assert not checkout.folder.exists()


async def test_folders_a_thousand_deep_are_removed_too(checkout: Checkout) -> None:
    folder = os.open(checkout.root, os.O_RDONLY)
    for _ in range(1_200):
        os.mkdir("d", dir_fd=folder)
        deeper = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)

    await checkout.discard()

    assert not checkout.folder.exists()
