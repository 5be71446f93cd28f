"""What changed in a folder of files: file by file, as a patch, and counted."""

import string
from base64 import b85encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from os import fsencode
from zlib import compress

from mma_runtime.workspace.lines import Opcode, match_lines, split_lines
from mma_runtime.workspace.tree import LINK

_CONTEXT = 3
_BINARY_SAMPLE = 8_000
_CONTROL = frozenset(range(0x20)) | {0x7F}
_LETTERS = string.ascii_uppercase + string.ascii_lowercase


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file or link that changed; a side is `None` where there is no such file.

    *path* is POSIX and relative. The content of a link is the path it points to. The
    modes are git's: 0o100644, 0o100755 (executable), 0o120000 (link).
    """

    path: str
    before: bytes | None
    after: bytes | None
    mode_before: int | None
    mode_after: int | None

    @property
    def binary(self) -> bool:
        """Whether it is to be shown as "binary" and not line by line."""
        return any(is_binary(side) for side in (self.before, self.after) if side)

    def reversed(self) -> "FileChange":
        """Return the change that takes this one back."""
        return FileChange(
            path=self.path,
            before=self.after,
            after=self.before,
            mode_before=self.mode_after,
            mode_after=self.mode_before,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    """How many lines a change adds and removes; both 0 for a binary file.

    *state* is `added`, `deleted` or `modified`.
    """

    path: str
    state: str
    added: int
    removed: int
    binary: bool


@dataclass(frozen=True, slots=True)
class Diff:
    """Changes of files, sorted by path; false when there are none."""

    changes: tuple[FileChange, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that changed."""
        return tuple(change.path for change in self.changes)

    def within(self, place: str) -> "Diff":
        """Return the part of it at or below a POSIX path; `.` is all."""
        if place == ".":
            return self

        return Diff(
            tuple(
                change
                for change in self.changes
                if change.path == place or change.path.startswith(place + "/")
            )
        )

    @property
    def text(self) -> str:
        """The unified diff to read; binary files are only named."""
        patch = b"".join(_patch(change, literal=False) for change in self.changes)
        return patch.decode(errors="replace")

    @property
    def patch(self) -> bytes:
        """The unified diff for `git apply`, with binary files, byte for byte.

        `patch -p1` takes it too, but leaves out binary files.
        """
        return b"".join(_patch(change, literal=True) for change in self.changes)

    @property
    def stat(self) -> tuple[FileStat, ...]:
        """Lines added and removed, file by file."""
        return tuple(_count(change) for change in self.changes)


def is_binary(content: bytes) -> bool:
    """Tell text from anything else as git does: by a zero byte near the start."""
    return b"\0" in content[:_BINARY_SAMPLE]


def _count(change: FileChange) -> FileStat:
    added = removed = 0
    if not change.binary:
        before = split_lines(change.before or b"")
        after = split_lines(change.after or b"")
        for kind, i1, i2, j1, j2 in match_lines(before, after):
            if kind != "equal":
                removed += i2 - i1
                added += j2 - j1

    state = "modified"
    if change.before is None:
        state = "added"
    elif change.after is None:
        state = "deleted"

    return FileStat(
        path=change.path,
        state=state,
        added=added,
        removed=removed,
        binary=change.binary,
    )


def _patch(change: FileChange, *, literal: bool) -> bytes:
    modes = (change.mode_before, change.mode_after)
    if None not in modes and (modes[0] == LINK) != (modes[1] == LINK):
        # git knows no change from a file to a link: one goes, the other comes.
        gone = FileChange(
            path=change.path,
            before=change.before,
            after=None,
            mode_before=change.mode_before,
            mode_after=None,
        )
        come = FileChange(
            path=change.path,
            before=None,
            after=change.after,
            mode_before=None,
            mode_after=change.mode_after,
        )
        return _patch(gone, literal=literal) + _patch(come, literal=literal)

    return b"".join(_header(change)) + b"".join(_body(change, literal=literal))


def _header(change: FileChange) -> Iterator[bytes]:
    old, new = _quoted("a/" + change.path), _quoted("b/" + change.path)
    yield b"diff --git " + old + b" " + new + b"\n"
    match change.mode_before, change.mode_after:
        case None, int(mode):
            yield b"new file mode %o\n" % mode
        case int(mode), None:
            yield b"deleted file mode %o\n" % mode
        case int(before), int(after) if before != after:
            yield b"old mode %o\nnew mode %o\n" % (before, after)
        case _:
            pass


def _body(change: FileChange, *, literal: bool) -> Iterator[bytes]:
    if change.before == change.after:
        return

    old = b"/dev/null"
    new = b"/dev/null"
    if change.before is not None:
        old = _quoted("a/" + change.path)
    if change.after is not None:
        new = _quoted("b/" + change.path)

    before, after = change.before or b"", change.after or b""
    if change.binary and literal:
        yield b"index " + _blob(change.before) + b".." + _blob(change.after) + b"\n"
        yield b"GIT binary patch\n" + _literal(after) + _literal(before)
    elif change.binary:
        yield b"Binary files " + old + b" and " + new + b" differ\n"
    elif before or after:
        # A tab ends a name with a blank in it, for `patch`; git writes it as well.
        tab = b"\t" if " " in change.path else b""
        yield b"--- " + old + (tab if change.before is not None else b"") + b"\n"
        yield b"+++ " + new + (tab if change.after is not None else b"") + b"\n"
        yield from _hunks(split_lines(before), split_lines(after))


def _hunks(before: Sequence[bytes], after: Sequence[bytes]) -> Iterator[bytes]:
    for group in _grouped(match_lines(before, after)):
        i1, i2, j1, j2 = group[0][1], group[-1][2], group[0][3], group[-1][4]
        yield b"@@ -%s +%s @@\n" % (_range(i1, i2), _range(j1, j2))
        for kind, a1, a2, b1, b2 in group:
            if kind == "equal":
                yield from (_line(b" ", line) for line in before[a1:a2])
            else:
                yield from (_line(b"-", line) for line in before[a1:a2])
                yield from (_line(b"+", line) for line in after[b1:b2])


def _grouped(opcodes: Sequence[Opcode]) -> Iterator[list[Opcode]]:
    """Cut long equal stretches, so that each group is one hunk with its context."""
    group: list[Opcode] = []
    last = len(opcodes) - 1
    for number, (kind, i1, i2, j1, j2) in enumerate(opcodes):
        if kind != "equal":
            group.append((kind, i1, i2, j1, j2))
            continue

        before = 0 if number == 0 else min(_CONTEXT, i2 - i1)
        after = 0 if number == last else min(_CONTEXT, i2 - i1)
        if before + after >= i2 - i1:
            group.append((kind, i1, i2, j1, j2))
            continue

        if before:
            group.append((kind, i1, i1 + before, j1, j1 + before))
        if group:
            yield group
        group = [(kind, i2 - after, i2, j2 - after, j2)] if after else []

    if any(opcode[0] != "equal" for opcode in group):
        yield group


def _range(start: int, stop: int) -> bytes:
    count = stop - start
    if count == 1:
        return b"%d" % (start + 1)

    return b"%d,%d" % (start + 1 if count else start, count)


def _line(sign: bytes, line: bytes) -> bytes:
    if line.endswith(b"\n"):
        return sign + line

    return sign + line + b"\n\\ No newline at end of file\n"


def _quoted(path: str) -> bytes:
    """Write a path as git does: in quotes where it would else be ambiguous."""
    raw = fsencode(path)
    if not any(byte in _CONTROL or byte in b'"\\' for byte in raw):
        return raw

    plain = {ord('"'): b'\\"', ord("\\"): b"\\\\", ord("\n"): b"\\n", ord("\t"): b"\\t"}
    escaped = (
        plain.get(byte) or (b"\\%03o" % byte if byte in _CONTROL else bytes([byte]))
        for byte in raw
    )
    return b'"' + b"".join(escaped) + b'"'


def _blob(content: bytes | None) -> bytes:
    """Name the content as git does; the name is no safeguard, git's choice is SHA-1."""
    if content is None:
        return b"0" * 40

    blob = b"blob %d\0" % len(content) + content
    return sha1(blob, usedforsecurity=False).hexdigest().encode()


def _literal(content: bytes) -> bytes:
    packed = compress(content)
    lines = [b"literal %d\n" % len(content)]
    for start in range(0, len(packed), 52):
        part = packed[start : start + 52]
        size = _LETTERS[len(part) - 1].encode()
        lines.append(size + b85encode(part, pad=True) + b"\n")

    return b"".join(lines) + b"\n"
