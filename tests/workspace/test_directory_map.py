from pathlib import Path

import pytest

from mma_runtime.errors import WorkspaceError
from mma_runtime.workspace import directory_map


async def test_a_map_shows_names_and_nesting(source: Path) -> None:
    assert await directory_map(source) == (
        "a.txt\nalias.py\nempty/\nlogo.png\npkg/\n  b.py\n  deep/\n    c.py\nrun.sh"
    )


async def test_a_map_shows_no_caches(source: Path) -> None:
    before = await directory_map(source)
    (source / "node_modules" / "x").mkdir(parents=True)
    (source / "env").mkdir()
    (source / "env" / "pyvenv.cfg").touch()

    assert await directory_map(source) == before.replace("empty/", "empty/\nenv/")


async def test_a_map_leaves_out_the_deepest_first_and_says_so(source: Path) -> None:
    shown = await directory_map(source, max_entries=7)

    assert shown == (
        "a.txt\nalias.py\nempty/\nlogo.png\npkg/\n  b.py\n  … 1 more\nrun.sh\n"
        "(2 of 9 names are not shown)"
    )


async def test_a_map_ends_at_the_depth_that_was_asked_for(source: Path) -> None:
    assert "b.py" not in await directory_map(source, max_depth=1)
    assert "c.py" not in await directory_map(source, max_depth=2)


async def test_an_empty_folder_has_a_map_too(tmp_path: Path) -> None:
    assert await directory_map(tmp_path) == "(empty)"


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"cannot list .*nowhere: No such file"):
        await directory_map(tmp_path / "nowhere")
