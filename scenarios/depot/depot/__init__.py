"""Stock and prices of a small depot."""
