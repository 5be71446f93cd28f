"""Prices in euros."""

PRICES = {"bolt": 0.10, "nut": 0.05, "plate": 2.35}


def price(article: str) -> float:
    """Return the price of one piece."""
    return PRICES[article]


def total(order: dict[str, int]) -> float:
    """Return what an order costs."""
    return sum(price(article) * count for article, count in order.items())
