"""Whether something failed because there is no room on the disk, or none to be had."""

import os
from errno import EDQUOT, ENOSPC, EROFS
from pathlib import Path
from typing import cast

from mma_runtime.errors import NoRoom

_FULL = (ENOSPC, EDQUOT, EROFS)


def no_room(error: BaseException | None) -> NoRoom | None:
    """Return *error* as a `NoRoom`, if that is what it comes from; else `None`."""
    cause = error
    while cause is not None:
        if isinstance(cause, NoRoom):
            return cause

        if isinstance(cause, OSError) and cause.errno in _FULL:
            return NoRoom(str(error))

        if isinstance(cause, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", cause)
            return next(filter(None, map(no_room, group.exceptions)), None)

        cause = cause.__cause__

    return None


def tells_of_no_room(text: str) -> bool:
    """Whether a program that writes plain English says that it could not write."""
    return any(os.strerror(number) in text for number in _FULL)


def is_full(folder: Path) -> bool:
    """Whether the file system that holds *folder* has no free block. Blocks."""
    try:
        return os.statvfs(folder).f_bavail == 0
    except OSError:
        return False
