"""What tools change in a checkout, round by round, so that it can be set back."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread

from mma_runtime.journal.record import Content
from mma_runtime.workspace import Checkout
from mma_runtime.workspace.tree import LINK, read_content, walk
from mma_runtime.workspace.writing import replace_file

_OUTPUTS = ".mma/output"

_Signature = tuple[int, int, int, int]


class Footprint:
    """Looks at a checkout after each round and tells which files are not as before.

    Files are compared by size, time and inode: none is read that did not change. *seal*
    makes their contents ready to be kept, beside the event loop as they may be large.
    """

    __slots__ = ("_checkout", "_seal", "_seen")

    def __init__(self, checkout: Checkout, seal: Callable[[bytes], Content]) -> None:
        self._checkout = checkout
        self._seal = seal
        self._seen: dict[str, _Signature] | None = None

    async def begin(self) -> None:
        """Look at the checkout as it is, before something is done in it."""
        if self._seen is None:
            self._seen = await to_thread.run_sync(self._look)

    async def take(self) -> tuple[list[list[object]], dict[str, Content]]:
        """Return the files that changed since the last look, and their contents.

        A file is its path, git's mode (`None`: it is gone) and the content's name.
        """
        return await to_thread.run_sync(self._take)

    async def restore(
        self, files: Sequence[Sequence[Any]], contents: Mapping[str, bytes]
    ) -> None:
        """Change the files as *files* tells, which `take` had returned."""
        if files:
            self._seen = None
            await to_thread.run_sync(partial(self._restore, files, contents))

    def _look(self) -> dict[str, _Signature]:
        root = os.fspath(self._checkout.root)
        seen: dict[str, _Signature] = {}
        for path, entry in walk(root):
            if entry.is_symlink() or entry.is_file(follow_symlinks=False):
                seen[path] = _signature(entry.stat(follow_symlinks=False))

        outputs = self._checkout.root / _OUTPUTS
        if outputs.is_dir():
            for output in outputs.iterdir():
                seen[f"{_OUTPUTS}/{output.name}"] = _signature(output.stat())

        return seen

    def _take(self) -> tuple[list[list[object]], dict[str, Content]]:
        before, now = self._seen or {}, self._look()
        self._seen = now
        files: list[list[object]] = []
        contents: dict[str, Content] = {}
        root = os.fspath(self._checkout.root)
        for path in sorted(before.keys() | now.keys()):
            if before.get(path) == now.get(path):
                continue

            found = read_content(root, path)
            if found is None:
                files.append([path, None, None])
                continue

            name = f"file{len(contents)}"
            contents[name] = self._seal(found[1])
            files.append([path, found[0], name])

        return files, contents

    def _restore(
        self, files: Sequence[Sequence[Any]], contents: Mapping[str, bytes]
    ) -> None:
        # What goes may stand where a folder is to come.
        for path, mode, name in sorted(files, key=lambda file: file[1] is not None):
            place = self._checkout.root / path
            if mode is None:
                place.unlink(missing_ok=True)
                continue

            place.parent.mkdir(parents=True, exist_ok=True)
            if mode == LINK:
                place.unlink(missing_ok=True)
                place.symlink_to(Path(os.fsdecode(contents[name])))
            else:
                replace_file(place, contents[name], mode=mode & 0o777)

            if path.startswith(_OUTPUTS):
                self._checkout.outputs += 1


def _signature(status: os.stat_result) -> _Signature:
    return status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino
