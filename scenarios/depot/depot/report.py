"""Reports for people."""

from depot.stock import STOCK


def line(article: str) -> str:
    """Return one line: an article and how many there are."""
    return f"{article}: {STOCK[article]}"


def report() -> str:
    """Return a line for each article."""
    return "\n".join(line(article) for article in sorted(STOCK))
