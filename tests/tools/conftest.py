from pathlib import Path

import pytest

from mma_runtime.workspace import Checkout, Workspace


@pytest.fixture
async def checkout(tmp_path: Path) -> Checkout:
    """A ticket's copy of a project of two files."""
    source = tmp_path / "project"
    (source / "pkg").mkdir(parents=True)
    (source / "pkg" / "a.py").write_text("one = 1\ntwo = 2\nthree = 3\n")
    (source / "README.md").write_text("# Project\n")
    workspace = await Workspace.open(source, tmp_path / "run")
    return await workspace.checkout("T1")
