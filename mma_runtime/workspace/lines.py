"""Text as lines of bytes, and which lines of two texts are the same."""

from collections.abc import Sequence
from difflib import SequenceMatcher

Opcode = tuple[str, int, int, int, int]
"""A stretch of two texts as difflib puts it: kind, its range before, its range after.

The kinds are `equal`, `replace`, `delete` and `insert`.
"""

_MATCHABLE_LINES = 20_000


def split_lines(content: bytes) -> list[bytes]:
    """Split after each newline; a carriage return does not end a line, as in git."""
    lines = content.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def match_lines(before: Sequence[bytes], after: Sequence[bytes]) -> list[Opcode]:
    """Match lines as difflib does, in bounded time: equal ends first.

    A huge rewritten middle is taken as replaced whole; matching it is quadratic.
    """
    shorter = min(len(before), len(after))
    head = 0
    while head < shorter and before[head] == after[head]:
        head += 1

    tail = 0
    while tail < shorter - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1

    i2, j2 = len(before) - tail, len(after) - tail
    opcodes: list[Opcode] = [("equal", 0, head, 0, head)] if head else []
    if max(i2 - head, j2 - head) > _MATCHABLE_LINES:
        opcodes.append(("replace", head, i2, head, j2))
    else:
        matcher = SequenceMatcher(None, before[head:i2], after[head:j2], autojunk=False)
        opcodes += [
            (kind, a1 + head, a2 + head, b1 + head, b2 + head)
            for kind, a1, a2, b1, b2 in matcher.get_opcodes()
        ]

    if tail:
        opcodes.append(("equal", i2, len(before), j2, len(after)))

    return opcodes
