"""Text as lines of bytes, and which lines of two texts are the same."""

from collections import Counter
from collections.abc import Sequence
from difflib import Match, SequenceMatcher
from itertools import accumulate

Opcode = tuple[str, int, int, int, int]
"""A stretch of two texts as difflib puts it: kind, its range before, its range after.

The kinds are `equal`, `replace`, `delete` and `insert`.
"""

_PAIRS = 1_000_000
"""How many pairs of equal lines are looked through: some 0.4 s of CPU."""

_LOOKS = 3_000_000
"""How many pairs are looked at in all: the sides of each match are looked through."""

# What difflib takes for popular: more than one line of a hundred, in 200 lines or more.
_POPULAR_FROM = 200


def split_lines(content: bytes) -> list[bytes]:
    """Split after each newline; a carriage return does not end a line, as in git."""
    lines = content.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def match_lines(before: Sequence[bytes], after: Sequence[bytes]) -> list[Opcode]:
    """Match lines as difflib does, in bounded time: equal ends first.

    Where lines recur so often that it would take long, only the rarer ones are looked
    for, and those beside them are matched along; where all recur, or a huge middle was
    rewritten, it is taken as replaced whole.
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
    opcodes += [
        (kind, a1 + head, a2 + head, b1 + head, b2 + head)
        for kind, a1, a2, b1, b2 in _match(before[head:i2], after[head:j2])
    ]
    if tail:
        opcodes.append(("equal", i2, len(before), j2, len(after)))

    return opcodes


class _Matcher(SequenceMatcher[bytes]):
    """Finds no more matches after so many looks: coarser then, never wrong."""

    def __init__(
        self,
        before: Sequence[bytes],
        after: Sequence[bytes],
        pairs: Sequence[int],
        *,
        autojunk: bool,
    ) -> None:
        super().__init__(None, before, after, autojunk)
        self._cost = list(accumulate((1 + count for count in pairs), initial=0))
        self._left = _LOOKS

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        end = len(self._cost) - 1 if ahi is None else ahi
        self._left -= self._cost[end] - self._cost[alo]
        if self._left < 0:
            return Match(alo, blo, 0)

        return super().find_longest_match(alo, end, blo, bhi)


def _match(before: Sequence[bytes], after: Sequence[bytes]) -> Sequence[Opcode]:
    counts = Counter(after)
    pairs = [counts[line] for line in before]
    if sum(pairs) <= _PAIRS:
        return _Matcher(before, after, pairs, autojunk=False).get_opcodes()

    most = len(after) // 100 + 1 if len(after) >= _POPULAR_FROM else len(after)
    rare = [count if count <= most else 0 for count in pairs]
    if sum(rare) <= _PAIRS:
        return _Matcher(before, after, rare, autojunk=True).get_opcodes()

    return [("replace", 0, len(before), 0, len(after))]
