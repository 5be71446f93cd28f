from pathlib import Path

import pytest

from mma_runtime.workspace import Workspace


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A user's project: text, a script, a link, bytes, an empty folder."""
    source = tmp_path / "project"
    (source / "pkg" / "deep").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "a.txt").write_text("".join(f"line {n}\n" for n in range(1, 21)))
    (source / "pkg" / "b.py").write_text("x = 1\n")
    (source / "pkg" / "deep" / "c.py").write_text("no newline at the end")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "logo.png").write_bytes(b"\x89PNG\0\0\1")
    (source / "alias.py").symlink_to("pkg/b.py")
    return source


@pytest.fixture
async def workspace(source: Path, tmp_path: Path) -> Workspace:
    return await Workspace.open(source, tmp_path / "run")
