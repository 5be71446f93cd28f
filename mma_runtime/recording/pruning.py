"""Recorded runs are removed as a whole, whatever cuts that off."""

from pathlib import Path

from mma_runtime.errors import JournalInUse
from mma_runtime.journal.lock import WriterLock
from mma_runtime.recording.recording import JOURNAL
from mma_runtime.workspace.tree import remove_tree

_PRUNED = ".pruned-"
"""How folders begin that are on their way out: no run's does."""


def remove_run(folder: Path) -> bool:
    """Remove the recorded run in *folder*; false when somebody is at work on it.

    Blocks. From the first moment it is no run any more; should this be cut off,
    `remove_rest` removes what is left. Raises `OSError` when it cannot be removed, and
    `JournalUnavailable` when its folder cannot be written.
    """
    try:
        lock = WriterLock(folder / JOURNAL)
    except JournalInUse:
        return False

    try:
        remove_tree(folder.rename(folder.with_name(_PRUNED + folder.name)))
    finally:
        lock.release()

    return True


def remove_rest(home: Path) -> None:
    """Remove what is left in *home* of runs whose removal was cut off; blocks.

    Raises `OSError` when it cannot be removed.
    """
    for rest in (home / "runs").glob(_PRUNED + "*"):
        remove_tree(rest)
