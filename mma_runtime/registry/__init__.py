"""Providers by name: where they are found, with which key, and what they list."""

from mma_runtime.registry.registry import (
    Address,
    Registry,
)

__all__ = [
    "Address",
    "Registry",
]
