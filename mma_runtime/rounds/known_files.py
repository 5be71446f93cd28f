"""The files that a worker has in its context, and what became of them since."""

from collections.abc import Sequence
from functools import partial

from anyio import to_thread

from mma_runtime.errors import WorkspaceError
from mma_runtime.llm.chat import ToolCall, ToolResult
from mma_runtime.workspace import Checkout, Diff, FileChange

MOST_BYTES = 200_000
"""The biggest file that is watched."""

DIFF_CHARACTERS = 6_000
"""How much of a diff is shown after one round."""

# Tools after which the model has all of a file before it.
_SHOWS = {"read_file", "write_file"}
_MODE = 0o100644


class KnownFiles:
    """What a worker believes that the files of *checkout* contain.

    Compares contents, not times: a file that was written as it was has not changed.
    """

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._contents: dict[str, bytes | None] = {}

    def know(self, path: str, content: bytes) -> None:
        """Take note that the worker was shown *path*."""
        if len(content) <= MOST_BYTES:
            self._contents[path] = content

    async def changes(
        self, calls: Sequence[ToolCall], results: Sequence[ToolResult]
    ) -> str:
        """Return the diff of what changed in known files since they were seen last.

        From then on the worker knows it. What it has just read or written as a whole is
        known without.
        """
        seen = {
            str(call.arguments["path"])
            for call, result in zip(calls, results, strict=True)
            if call.name in _SHOWS
            and not result.is_error
            and call.arguments is not None
            and "path" in call.arguments
        }
        if not self._contents and not seen:
            return ""

        return await to_thread.run_sync(partial(self._compare, seen))

    def _compare(self, seen: set[str]) -> str:
        changes: list[FileChange] = []
        just_seen = {self._named(path) for path in seen}
        for path in {**self._contents, **dict.fromkeys(just_seen)}:
            content = self._read(path)
            before = self._contents.get(path)
            known = path in self._contents
            self._contents[path] = content
            if known and content != before and path not in just_seen:
                changes.append(
                    FileChange(
                        path=path,
                        before=before,
                        after=content,
                        mode_before=None if before is None else _MODE,
                        mode_after=None if content is None else _MODE,
                    )
                )

        text = Diff(tuple(changes)).text
        if len(text) <= DIFF_CHARACTERS:
            return text

        missing = len(text) - DIFF_CHARACTERS
        return f"{text[:DIFF_CHARACTERS]}\n[… {missing:,} characters left out …]"

    def _named(self, path: str) -> str:
        """Return the one name of a file that has many: `./a.py` is `a.py`."""
        try:
            return self._checkout.relative(self._checkout.resolve(path))
        except WorkspaceError:
            return path

    def _read(self, path: str) -> bytes | None:
        try:
            return self._checkout.read_bytes(path, limit=MOST_BYTES)
        except WorkspaceError:
            return None
