"""Neutral words for language models; no SDK is imported below this floor."""
