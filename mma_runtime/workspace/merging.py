"""Two lines of change to one file, made into one; decides, writes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mma_runtime.errors import MergeConflict
from mma_runtime.workspace.diff import FileChange, is_binary
from mma_runtime.workspace.lines import match_lines, split_lines
from mma_runtime.workspace.tree import LINK

SHOWN_LIMIT = 3_000
"""How many characters of one file's conflicts are shown."""

_CONTEXT = 3

_T = TypeVar("_T")


def merge_change(
    change: FileChange, content: bytes | None, mode: int | None
) -> FileChange | None:
    """Return *change* as it applies to a file that has *content* and *mode* by now.

    `None`: the file is already as the change wants it.

    Raises:
        MergeConflict: both changed the same lines, or what cannot be merged by lines.
    """
    if (content, mode) == (change.before, change.mode_before):
        return change

    if (content, mode) == (change.after, change.mode_after):
        return None

    if content is None or change.before is None or change.after is None:
        raise MergeConflict({change.path: _whole_file(change, content)})

    merged_mode = _pick(
        change.path,
        (change.mode_before, mode, change.mode_after),
        "both changed the file's permissions, or what kind of file it is",
    )
    if LINK in (change.mode_before, mode, change.mode_after) or any(
        is_binary(side) for side in (change.before, content, change.after)
    ):
        merged = _pick(
            change.path,
            (change.before, content, change.after),
            "both changed it, and it cannot be merged line by line",
        )
    else:
        chunks = merge_lines(
            split_lines(change.before), split_lines(content), split_lines(change.after)
        )
        if any(chunk.conflict for chunk in chunks):
            raise MergeConflict({change.path: show_conflicts(chunks)})

        merged = b"".join(line for chunk in chunks for line in chunk.merged)

    return FileChange(
        path=change.path,
        before=content,
        after=merged,
        mode_before=mode,
        mode_after=merged_mode,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A stretch of lines of the three texts that have to be decided together."""

    base: tuple[bytes, ...]
    accepted: tuple[bytes, ...]
    proposed: tuple[bytes, ...]

    @property
    def conflict(self) -> bool:
        """Whether both sides changed it, and not in the same way."""
        return self.accepted != self.proposed and self.base not in (
            self.accepted,
            self.proposed,
        )

    @property
    def merged(self) -> tuple[bytes, ...]:
        """What it comes to where it is no conflict: the side that changed it."""
        return self.proposed if self.accepted == self.base else self.accepted


def merge_lines(
    base: Sequence[bytes], accepted: Sequence[bytes], proposed: Sequence[bytes]
) -> list[Chunk]:
    """Cut three texts into chunks: lines that all share, and those between them.

    Two changes that touch, with no shared line between them, are one chunk. Conflicts
    are in the chunks, none is raised.
    """
    chunks: list[Chunk] = []
    at = (0, 0, 0)
    end = (len(base), len(accepted), len(proposed))
    for start, size in (*_shared(base, accepted, proposed), (end, 0)):
        if start != at:
            chunks.append(
                Chunk(
                    base=tuple(base[at[0] : start[0]]),
                    accepted=tuple(accepted[at[1] : start[1]]),
                    proposed=tuple(proposed[at[2] : start[2]]),
                )
            )

        at = (start[0] + size, start[1] + size, start[2] + size)
        if size:
            lines = tuple(base[start[0] : at[0]])
            chunks.append(Chunk(base=lines, accepted=lines, proposed=lines))

    return chunks


def show_conflicts(chunks: Sequence[Chunk], limit: int = SHOWN_LIMIT) -> str:
    """Draw the conflicts between markers, with the lines around them and the base.

    Lines are counted in the accepted text. At most *limit* characters are drawn.
    """
    shown: list[str] = []
    line = 1
    for number, chunk in enumerate(chunks):
        if chunk.conflict:
            before = chunks[number - 1].merged if number else ()
            behind = chunks[number + 1].merged if number + 1 < len(chunks) else ()
            start = line - len(before[-_CONTEXT:])
            drawn = b"".join(
                (
                    *map(_ended, before[-_CONTEXT:]),
                    b"<<<<<<< accepted meanwhile\n",
                    *map(_ended, chunk.accepted),
                    b"||||||| what both began with\n",
                    *map(_ended, chunk.base),
                    b"=======\n",
                    *map(_ended, chunk.proposed),
                    b">>>>>>> this ticket\n",
                    *map(_ended, behind[:_CONTEXT]),
                )
            )
            shown.append(f"line {start}:\n{drawn.decode(errors='replace')}")

        line += len(chunk.accepted)

    text = "\n".join(shown)
    if len(text) <= limit:
        return text

    return f"{text[:limit]}\n[… {len(text) - limit:,} characters are not shown …]"


def _shared(
    base: Sequence[bytes], accepted: Sequence[bytes], proposed: Sequence[bytes]
) -> Iterator[tuple[tuple[int, int, int], int]]:
    """Yield where lines of *base* begin that both others kept, and how many."""
    ours = [op for op in match_lines(base, accepted) if op[0] == "equal"]
    theirs = [op for op in match_lines(base, proposed) if op[0] == "equal"]
    # The next ones last, where taking them off costs nothing.
    ours.reverse()
    theirs.reverse()
    while ours and theirs:
        _, a1, a2, a_place, _ = ours[-1]
        _, b1, b2, b_place, _ = theirs[-1]
        start, stop = max(a1, b1), min(a2, b2)
        if start < stop:
            place = (start, a_place + start - a1, b_place + start - b1)
            yield place, stop - start

        # Where both end here, the other goes in the next turn, with nothing shared.
        (ours if a2 <= b2 else theirs).pop()


def _pick(path: str, sides: tuple[_T, _T, _T], problem: str) -> _T:
    base, accepted, proposed = sides
    if accepted in (base, proposed):
        return proposed

    if proposed == base:
        return accepted

    raise MergeConflict({path: problem})


def _whole_file(change: FileChange, content: bytes | None) -> str:
    if content is None:
        return "it was deleted meanwhile, and this ticket changed it"

    if change.after is None:
        return "it was changed meanwhile, and this ticket deleted it"

    return "both created it, with different content"


def _ended(line: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + b"\n"
