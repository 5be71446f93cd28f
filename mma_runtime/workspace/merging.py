"""Two lines of change to one file, made into one; decides, writes nothing."""

from typing import TypeVar

from merge3 import Merge3

from mma_runtime.errors import MergeConflict
from mma_runtime.workspace.diff import FileChange, is_binary, split_lines
from mma_runtime.workspace.tree import LINK

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
        raise MergeConflict([change.path])

    merged_mode = _pick(change.path, change.mode_before, mode, change.mode_after)
    if LINK in (change.mode_before, mode, change.mode_after) or any(
        is_binary(side) for side in (change.before, content, change.after)
    ):
        merged = _pick(change.path, change.before, content, change.after)
    else:
        merged = _merge_lines(change.path, change.before, content, change.after)

    return FileChange(
        path=change.path,
        before=content,
        after=merged,
        mode_before=mode,
        mode_after=merged_mode,
    )


def _pick(path: str, base: _T, ours: _T, theirs: _T) -> _T:
    if ours in (base, theirs):
        return theirs

    if theirs == base:
        return ours

    raise MergeConflict([path])


def _merge_lines(path: str, base: bytes, ours: bytes, theirs: bytes) -> bytes:
    merge = Merge3(split_lines(base), split_lines(ours), split_lines(theirs))
    merged: list[bytes] = []
    for group in merge.merge_groups():
        if group[0] == "conflict":
            raise MergeConflict([path])

        merged += group[1]

    return b"".join(merged)
