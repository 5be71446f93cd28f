"""The fenced blocks of the README and of the pages, with where they stand."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,})(?P<info>.*)$")

_TITLE = re.compile(r'title="(?P<file>[^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block; *number* counts from 0 within its page and language.

    *file* is its title: the file in which a reader saves it.
    """

    page: Path
    line: int
    language: str
    number: int
    file: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """Return where *page* is in the repository."""
    return str(page.relative_to(ROOT))


def blocks() -> list[Block]:
    """Return every block of every page."""
    return [block for page in PAGES for block in _blocks_of(page)]


def save_files(page: Path, folder: Path) -> None:
    """Save the blocks of *page* that are files where a reader would."""
    for block in _blocks_of(page):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")


def _blocks_of(page: Path) -> Iterator[Block]:
    fence, start, language, file = "", 0, "", ""
    lines: list[str] = []
    counts: dict[str, int] = {}
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        found = _FENCE.match(line)
        if fence and found and found["fence"].startswith(fence) and not found["info"]:
            yield Block(
                page=page,
                line=start,
                language=language,
                number=counts.get(language, 0),
                file=file,
                text=textwrap.dedent("\n".join(lines)) + "\n",
            )
            counts[language] = counts.get(language, 0) + 1
            fence = ""
        elif fence:
            lines.append(line)
        elif found:
            fence, start, lines = found["fence"], number, []
            language, _, rest = found["info"].strip().partition(" ")
            title = _TITLE.fullmatch(rest)
            if rest and title is None:
                raise ValueError(f"{page}:{start}: {rest!r} is no title")

            file = title["file"] if title else ""

    if fence:
        raise ValueError(f"{page}:{start}: the block is not closed")
