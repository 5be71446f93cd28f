"""The agents of the four tiers; the runtime finds them by name."""
