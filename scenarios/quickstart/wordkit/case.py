"""Upper and lower case."""

_SMALL = frozenset({"a", "an", "and", "of", "or", "the", "to"})


def title_case(text: str) -> str:
    """Write *text* as a title: each word with a capital, small words without."""
    words = text.lower().split()
    return " ".join(
        word if place and word in _SMALL else word.capitalize()
        for place, word in enumerate(words)
    )
