"""What tools said last, shortened to what a concluding turn has room for."""

from mma_runtime.llm.chat import Image, Text, ToolResult, ToolTurn
from mma_runtime.llm.tokens import bound_turn


def shortened(turn: ToolTurn, room: int) -> ToolTurn:
    """Cut the longest results of *turn* until it has at most *room* tokens in all.

    A result is cut in the middle, and says so; its name stays, and so does that note,
    however little room there is. Images are left out where anything is.
    """
    if bound_turn(turn) <= room:
        return turn

    bare = ToolTurn(tuple(_with(result, "") for result in turn.results))
    room -= bound_turn(bare)
    texts = [_text(result) for result in turn.results]
    order = sorted(range(len(texts)), key=lambda place: len(texts[place].encode()))
    for done, place in enumerate(order):
        # The short ones first: what they do not need is for the long ones.
        texts[place] = _cut(texts[place], room // (len(order) - done))
        room -= len(texts[place].encode())

    return ToolTurn(tuple(map(_with, turn.results, texts)))


def _with(result: ToolResult, text: str) -> ToolResult:
    return ToolResult(result.call_id, result.name, (Text(text),), result.is_error)


def _text(result: ToolResult) -> str:
    return "\n".join(
        "[an image]" if isinstance(part, Image) else part.text
        for part in result.content
    )


def _cut(text: str, room: int) -> str:
    """Leave at most *room* bytes of *text*, the note of what is missing included."""
    data = text.encode()
    if len(data) <= room:
        return text

    half = max(0, room - _NOTE_ROOM) // 2
    first = data[:half].decode(errors="ignore")
    last = data[len(data) - half :].decode(errors="ignore")
    missing = len(text) - len(first) - len(last)
    note = f"[… {missing:,} characters are left out: no budget to read them …]"
    return f"{first}\n{note}\n{last}"


_NOTE_ROOM = 80
