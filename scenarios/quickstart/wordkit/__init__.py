"""Small functions for words."""

from wordkit.case import title_case

__all__ = ["title_case"]
