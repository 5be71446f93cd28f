"""Tokens that one model call used."""

from typing import Self

from mma_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one or more calls, with OpenAI's meaning of the words.

    *input* is the whole prompt with the cached tokens in it; *cache_read* and
    *cache_write* are parts of it (*cache_write_1h* is part of *cache_write*). *output*
    is all that is billed as output; *reasoning* is the part that was not shown.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Input and output together, in tokens."""
        return self.input + self.output

    def __add__(self, other: Self) -> "Usage":
        """Add two usages field by field."""
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            reasoning=self.reasoning + other.reasoning,
        )


NO_USAGE = Usage()
