"""Tokens that one model call used."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one or more calls, with OpenAI's meaning of the words.

    *input* counts the tokens of the whole prompt; *cache_read* counts the tokens of it
    that were in the provider's cache, *cache_write* those tokens that came there, and
    *cache_write_1h* those among them that stay for an hour. *output* counts all tokens
    that are billed as output, *reasoning* those among them that were not shown.
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
