"""What a wire server says, in no provider's dialect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call; *raw* stands for arguments that are no JSON."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    raw: str | None = None
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer; a format turns it into JSON or into a stream.

    *finish* is the provider's own word; empty picks what fits. *pieces* is how many
    chunks the text comes in when it is streamed.
    """

    text: str = ""
    calls: Sequence[Call] = ()
    reasoning: str = ""
    finish: str = ""
    input_tokens: int = 10
    cached_tokens: int = 0
    output_tokens: int = 5
    reasoning_tokens: int = 0
    pieces: int = 3
    usage: bool = True

    @property
    def text_pieces(self) -> list[str]:
        """The text, cut into *pieces* parts of about the same length."""
        size = max(1, -(-len(self.text) // self.pieces))
        return [self.text[at : at + size] for at in range(0, len(self.text), size)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error by its HTTP *status*; a format words it as the provider would.

    *headers* are sent beside the provider's own, such as `retry-after`.
    """

    status: int
    message: str = "scripted"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
