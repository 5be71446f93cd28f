"""What planning tiers are shown of the code, within bounds."""

from pathlib import Path

import pytest

from mma_runtime.llm.tokens import estimate_tokens
from mma_runtime.plan import Ticket, Track
from mma_runtime.tiers import ShownFile
from mma_runtime.tiers.briefing import (
    FILE_CHARACTERS,
    VIEW_TOKENS,
    overview,
    ticket_files,
)
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


# --- what a worker is shown of its ticket's files ------------------------------

CLASS = "class Stock:\n" + "\n\n".join(
    f"    def take_{n}(self, number: int) -> int:\n"
    f'        """Take some."""\n'
    f"        return self.left_{n} - number"
    for n in range(30)
)


async def shown_of(folder: Path, ticket: Ticket) -> tuple[ShownFile, ...]:
    files, images, _ = await ticket_files(Files(folder.resolve(), Views()), ticket)
    assert images == ()
    return files


async def test_what_a_ticket_names_of_a_file_is_shown_in_full_and_the_rest_hidden(
    tmp_path: Path,
) -> None:
    (tmp_path / "stock.py").write_text(CLASS)
    named = ("stock.py:Stock.take_3", "stock.py", "stock.py:take_5")

    (file,) = await shown_of(tmp_path, Ticket(id="t", description="d", context=named))

    assert (file.path, file.view) == ("stock.py", "curated")
    assert "return self.left_3 - number" in file.text
    assert "return self.left_5 - number" in file.text
    assert file.text.count("hidden") == 28
    assert file.text.startswith("class Stock:\n    def take_0(self, number: int)")


async def test_of_a_long_file_only_what_a_ticket_names_is_shown(tmp_path: Path) -> None:
    (tmp_path / "stock.py").write_text(CLASS + "\n# so much more\n" * 1_000)
    named = ("stock.py:Stock.take_3", "stock.py:take_5")

    (file,) = await shown_of(tmp_path, Ticket(id="t", description="d", context=named))

    assert (file.path, file.view) == ("stock.py:Stock.take_3, take_5", "definition")
    assert file.text.splitlines()[0] == "14      def take_3(self, number: int) -> int:"
    assert "left_5" in file.text
    assert len(file.text) < 500


@pytest.mark.parametrize(
    ("description", "whole"),
    [
        ("WHERE: stock.py, `Stock.take_3` and Stock::take_5.", {3, 5}),
        ("Make take_7 faster, and untake_8 as well.", {7}),
        ("Make it faster.", set[int]()),
    ],
)
async def test_a_target_too_long_to_be_shown_is_curated_by_what_its_ticket_says(
    description: str, whole: set[int], tmp_path: Path
) -> None:
    body = "        number += 1\n" * 120
    text = CLASS.replace("        return", f"{body}        return")
    (tmp_path / "stock.py").write_text(text)
    ticket = Ticket(id="t", description=description, target_file="stock.py")

    (file,) = await shown_of(tmp_path, ticket)

    assert file.view == "curated"
    assert "read what you need of it" in file.text.splitlines()[0]
    assert whole == {n for n in range(30) if f"return self.left_{n} " in file.text}
    assert len(file.text) < FILE_CHARACTERS


async def test_a_target_is_shown_once_and_last(tmp_path: Path) -> None:
    (tmp_path / "stock.py").write_text(CLASS)
    (tmp_path / "other.py").write_text(CLASS)
    ticket = Ticket(
        id="t",
        description="d",
        target_file="stock.py",
        context=("stock.py:take_3", "other.py"),
    )

    files = await shown_of(tmp_path, ticket)

    assert [(file.path, file.view) for file in files] == [
        ("other.py", "outline"),
        ("stock.py", "raw"),
    ]


async def test_a_symbol_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "stock.py").write_text(CLASS)
    ticket = Ticket(id="t", description="d", context=("stock.py:take_33", "gone.py"))

    first, second = await shown_of(tmp_path, ticket)

    assert (first.path, first.view) == ("stock.py:take_33", "not shown")
    assert "did you mean" in first.text
    assert (second.path, second.view) == ("gone.py", "not shown")
