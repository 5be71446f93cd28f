"""Providers of models; the runtime finds them by name."""
