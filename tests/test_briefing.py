"""What planning tiers are shown of the code, within bounds."""

from pathlib import Path

import pytest

from mma_runtime.briefing import VIEW_TOKENS, overview
from mma_runtime.llm.tokens import estimate_tokens
from mma_runtime.plan import Track
from mma_runtime.workspace.files import Files
from mma_runtime.workspace.views import Views

MODULE = '"""Module."""\n' + "\n\n".join(
    f'def function_{n}(left: int) -> int:\n    """Return a sum."""\n    return left'
    for n in range(20)
)
FILES = 300


class Counted(Files):
    """Files that remember which of them were read."""

    __slots__ = ("read",)

    def __init__(self, root: Path) -> None:
        super().__init__(root, Views())
        self.read: set[str] = set()

    def read_bytes(self, path: str, *, limit: int) -> bytes:
        self.read.add(path)
        return super().read_bytes(path, limit=limit)


@pytest.mark.parametrize("modules", [(), ("m1*.py",)])
async def test_of_a_large_project_only_what_has_room_is_read(
    modules: tuple[str, ...], tmp_path: Path
) -> None:
    for number in range(FILES):
        (tmp_path / f"m{number}.py").write_text(MODULE)

    files = Counted(tmp_path.resolve())
    shown = await overview(files, Track(id="t", goal="g", modules=modules))

    assert estimate_tokens(shown) < VIEW_TOKENS * 1.1
    assert f"of {FILES} source files are not shown" in shown
    assert 10 < len(files.read) < FILES / 2


async def test_a_file_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(MODULE)
    (tmp_path / "bad.py").write_bytes(b"\0\1\2" * 100)

    shown = await overview(Files(tmp_path.resolve(), Views()), Track(id="t", goal="g"))

    assert "### good.py" in shown
    assert "### bad.py" not in shown
