"""What is on the shelves."""

STOCK = {"bolt": 120, "nut": 0, "plate": 7}


def take(article: str, count: int) -> None:
    """Take pieces from the shelf."""
    STOCK[article] -= count
