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

    Raises:
        TypeError: A count is no whole number.
        ValueError: A count is less than 0; it would lower what is charged.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no count: budgets and bills go by it."""
        for name in self.__slots__:
            count = getattr(self, name)
            # Not `isinstance`: true and false are whole numbers to it.
            if type(count) is not int:
                raise TypeError(f"{name} is no number of tokens: {count!r}")

            if count < 0:
                raise ValueError(f"{name} is less than no tokens: {count}")

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
