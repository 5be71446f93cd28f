"""Scenario files: what they can say, and how they are read."""
