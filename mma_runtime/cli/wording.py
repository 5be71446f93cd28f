"""How figures and other people's words are written on a terminal."""

from decimal import Decimal
from textwrap import fill

# Where a sentence of a model or a command is cut.
WIDTH = 160

# Stands before what goes on from the line above.
INDENT = "    "

_LEAST = Decimal("0.0001")


def one_line(text: str, width: int = WIDTH) -> str:
    """Return the first line of *text* without control characters, cut at *width*.

    What models and commands write must not steer the terminal.
    """
    line = next((line for line in text.splitlines() if line.strip()), "")
    line = printable(line).strip()
    return line if len(line) <= width else line[: width - 1] + "…"


def printable(text: str) -> str:
    """Replace control characters but line ends by spaces."""
    if text.isprintable():
        return text

    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def visible(text: str) -> str:
    """Replace what cannot be seen, but line ends, by its escape: nothing is hidden."""
    return "".join(
        char
        if char.isprintable() or char == "\n"
        else char.encode("unicode_escape").decode()
        for char in text
    )


def wrapped(text: str, width: int) -> str:
    """Break the lines of *text* between words, what goes on being indented.

    Words that are longer, such as paths, stay whole.
    """
    return "\n".join(
        fill(
            line,
            width,
            subsequent_indent=INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.split("\n")
    )


def count(number: int, noun: str) -> str:
    """Return `1 ticket`, `1,200 tickets`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def dollars(amount: Decimal) -> str:
    """Return *amount* in US dollars; a little is not rounded to nothing."""
    if 0 < amount < _LEAST:
        return f"<${_LEAST}"

    return f"${amount:,.{2 if amount >= 1 else 4}f}"


def price(usd: Decimal, calls: int, unknown: int) -> str:
    """Return *usd*, the known cost of *calls*; what is not known is never zero.

    *unknown* counts the calls that are not in it.
    """
    if not unknown:
        return dollars(usd)

    return "unknown" if unknown >= calls else f"{dollars(usd)} + unknown"
