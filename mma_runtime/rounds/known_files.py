"""The files that a worker has in its context, and what became of them since."""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from anyio import to_thread

from mma_runtime.errors import WorkspaceError
from mma_runtime.llm.chat import Text, ToolCall, ToolResult
from mma_runtime.workspace import Checkout, Diff, FileChange

MOST_BYTES = 200_000
"""The biggest file that is watched."""

DIFF_CHARACTERS = 6_000
"""How much of a diff is shown after one round."""

_MODE = 0o100644

# What `read_file` says above a file that it shows from its first to its last line.
_WHOLE = re.compile(r".*: lines 1-(\d+) of \1")


@dataclass(frozen=True, slots=True)
class FileNews:
    """What a round has made of known files.

    *diff* is what the worker has not seen yet, *changed* whether any file is another
    than it was before the round.
    """

    diff: str = ""
    changed: bool = False


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

    async def after_round(
        self, calls: Sequence[ToolCall], results: Sequence[ToolResult]
    ) -> FileNews:
        """Return what became of known files since they were seen last.

        From then on the worker knows it. A file that it has read or written as a whole
        is known as it was then: a later call of the same round may have changed it.
        """
        met: dict[str, str | None] = {}
        written: set[str] = set()
        for call, result in zip(calls, results, strict=True):
            if call.name in _SHOWN and call.arguments and not result.is_error:
                path = str(call.arguments["path"])
                met[path] = _SHOWN[call.name](call, result) or met.get(path)
                if call.name == "write_file":
                    written.add(path)

        if not self._contents and not met:
            return FileNews()

        return await to_thread.run_sync(partial(self._compare, met, written))

    def _compare(
        self, met: Mapping[str, str | None], written: AbstractSet[str]
    ) -> FileNews:
        shown = {self._named(path): text for path, text in met.items()}
        # What nobody had seen before has changed when it was written, not when read.
        new = {self._named(path) for path in written} - self._contents.keys()
        unseen: list[FileChange] = []
        changed = bool(new)
        for path in {**self._contents, **shown}:
            content = self._read(path)
            known, before = path in self._contents, self._contents.get(path)
            changed = changed or (known and content != before)
            text = shown.get(path)
            if text is not None:
                known, before = True, _as_stored(text, content)

            self._contents[path] = content
            if known and content != before:
                unseen.append(
                    FileChange(
                        path=path,
                        before=before,
                        after=content,
                        mode_before=None if before is None else _MODE,
                        mode_after=None if content is None else _MODE,
                    )
                )

        return FileNews(_shortened(Diff(tuple(unseen)).text), changed)

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


def _written(call: ToolCall, _: ToolResult) -> str | None:
    """Return the text that `write_file` has written."""
    content = call.arguments["content"] if call.arguments else None
    return content if isinstance(content, str) else None


def _whole(_: ToolCall, result: ToolResult) -> str | None:
    """Return the text that `read_file` has shown, if it was all of the file."""
    said = "".join(part.text for part in result.content if isinstance(part, Text))
    header, _newline, text = said.partition("\n")
    return text if _WHOLE.fullmatch(header) else None


_SHOWN = {"read_file": _whole, "write_file": _written}
"""What a call of these tools has shown the model of a file: all of it, or `None`."""


def _as_stored(text: str, content: bytes | None) -> bytes:
    """Return the bytes of a file that was shown as *text*.

    Whether the last line ended, and what no text could show, is as in *content*.
    """
    stored = content.decode(errors="replace") if content is not None else ""
    if content is not None and text.removesuffix("\n") == stored.removesuffix("\n"):
        return content

    return (text.removesuffix("\n") + "\n" * stored.endswith("\n")).encode()


def _shortened(diff: str) -> str:
    missing = len(diff) - DIFF_CHARACTERS
    if missing <= 0:
        return diff

    return f"{diff[:DIFF_CHARACTERS]}\n[… {missing:,} characters left out …]"
