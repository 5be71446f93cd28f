"""From a failed command to what Tier 4 gets to see of it, and back to the worker."""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import PurePosixPath

from anyio import to_thread

from mma_runtime.errors import CommandFailed, WorkspaceError
from mma_runtime.kernel import Ref
from mma_runtime.supervisor.crew import UNUSABLE
from mma_runtime.supervisor.failure import Place, error_text, failed_test, places
from mma_runtime.tiers import FixLint, GiveHint, GiveTestHint, LintPatch
from mma_runtime.workspace import Checkout
from mma_runtime.workspace.outline import Outline

AROUND = 20
"""How many lines around a reported place are shown."""

MOST_BYTES = 2_000_000
LINTED_FILES = 4
LINTED_LINES = 200

_WORD = re.compile(r"[A-Za-z_]\w+")


class Hints:
    """Asks Tier 4 about failures in *checkout*.

    What goes there is the error and its surroundings: 20 lines around the place that
    the output names last, or the failing test with the function that it tests.
    """

    __slots__ = ("_checkout", "_qa", "_target")

    def __init__(self, qa: Ref, checkout: Checkout, target: str | None) -> None:
        self._qa = qa
        self._checkout = checkout
        self._target = target

    async def hint(self, failure: CommandFailed) -> str:
        """Return what to change in one or two sentences; nothing when nobody knows."""
        request = await self._test_hint(failure) or await self._plain_hint(failure)
        try:
            return await self._qa.ask(request)
        except UNUSABLE:
            # A hint is a help, not a need: the worker has the output itself, and the
            # event of the failed call tells why there was none.
            return ""

    async def fix_lint(
        self, command: str, output: str, changed: Iterable[str]
    ) -> tuple[str, ...]:
        """Have a linter's complaints mended in the *changed* files.

        Returns the files that were written; none when the patch did not fit.
        """
        reported = dict.fromkeys(place.path for place in places(output))
        mine = set(changed)
        paths = [path for path in map(self._inside, reported) if path in mine]
        texts = [
            (path, text)
            for path in dict.fromkeys(paths[:LINTED_FILES])
            if (text := await self._text(path)) is not None
            and text.count("\n") <= LINTED_LINES
        ]
        if not texts:
            return ()

        request = FixLint(
            command=command, output=error_text(output), files=tuple(texts)
        )
        try:
            patch = await self._qa.ask(request)
        except UNUSABLE:
            return ()

        return await self._apply(patch, dict(texts))

    async def _apply(self, patch: LintPatch, texts: dict[str, str]) -> tuple[str, ...]:
        before = dict(texts)
        for edit in patch.edits:
            text = texts.get(edit.path)
            if text is None or text.count(edit.old) != 1:
                return ()

            texts[edit.path] = text.replace(edit.old, edit.new)

        written = [path for path, text in texts.items() if text != before[path]]
        for path in written:
            content = texts[path].encode()
            await to_thread.run_sync(self._checkout.write_bytes, path, content)

        return tuple(written)

    async def _plain_hint(self, failure: CommandFailed) -> GiveHint:
        shown = ""
        for place in places(failure.output):
            text = await self._text(place.path)
            if text is not None:
                shown = _around(text, place)
                break

        return GiveHint(
            command=failure.command,
            exit_code=failure.exit_code,
            error=error_text(failure.output),
            place=shown,
            raw_characters=len(failure.output),
        )

    async def _test_hint(self, failure: CommandFailed) -> GiveTestHint | None:
        failed = failed_test(failure.output)
        if failed is None:
            return None

        test = await self._symbol(f"{failed.path}:{failed.symbol}")
        if not test:
            return None

        function = await self._function_under(test, failed.path, failure.output)
        if not function:
            return None

        return GiveTestHint(
            command=failure.command,
            error=error_text(failure.output),
            test=test,
            function=function,
            raw_characters=len(failure.output),
        )

    async def _function_under(self, test: str, test_path: str, output: str) -> str:
        """Find what the test is about: where it broke, else what it calls by name."""
        for place in places(output):
            if place.path != test_path:
                path = self._inside(place.path)
                symbol = await self._symbol_at(path, place.line) if path else ""
                if symbol:
                    return f"{path}\n{await self._symbol(f'{path}:{symbol}')}"

        words = set(_WORD.findall(test))
        if self._target is not None and self._target != test_path:
            for name in await self._names(self._target):
                if name.rpartition(".")[2] in words:
                    shown = await self._symbol(f"{self._target}:{name}")
                    return f"{self._target}\n{shown}"

        return ""

    async def _symbol(self, place: str) -> str:
        try:
            return (await self._checkout.raw(place)).text
        except WorkspaceError:
            return ""

    async def _symbol_at(self, path: str, line: int) -> str:
        """Return the innermost function around a line, by its path."""
        outlined = await self._outlined(path)
        if outlined is None:
            return ""

        content, found = outlined
        around = [
            (one.end - one.start, one.path)
            for one in found.walk()
            if one.kind == "function"
            and _line(content, one.start) <= line <= _line(content, one.end)
        ]
        return min(around)[1] if around else ""

    async def _names(self, path: str) -> list[str]:
        outlined = await self._outlined(path)
        return [one.path for one in outlined[1].walk()] if outlined else []

    async def _outlined(self, path: str) -> tuple[bytes, Outline] | None:
        def read() -> tuple[bytes, Outline] | None:
            content = self._checkout.read_bytes(path, limit=MOST_BYTES)
            found = self._checkout.views.outline(path, content)
            return (content, found) if found is not None else None

        try:
            return await to_thread.run_sync(read)
        except WorkspaceError:
            return None

    async def _text(self, path: str) -> str | None:
        inside = self._inside(path)
        if not inside:
            return None

        read = partial(self._checkout.read_bytes, inside, limit=MOST_BYTES)
        try:
            return (await to_thread.run_sync(read)).decode()
        except (WorkspaceError, UnicodeDecodeError):
            return None

    def _inside(self, path: str) -> str:
        """Return the path from the checkout's root; empty for what lies elsewhere."""
        if ".venv" in PurePosixPath(path).parts:
            return ""

        try:
            return self._checkout.relative(self._checkout.resolve(path))
        except WorkspaceError:
            return ""


def _line(content: bytes, offset: int) -> int:
    return content.count(b"\n", 0, offset) + 1


def _around(text: str, place: Place) -> str:
    lines = text.splitlines()
    first = max(1, min(place.line - AROUND // 2, len(lines) - AROUND + 1))
    shown = lines[first - 1 : first - 1 + AROUND]
    return "\n".join(
        [
            f"{place.path}, line {place.line}:",
            *(f"{number:>5}  {line}" for number, line in enumerate(shown, start=first)),
        ]
    )
