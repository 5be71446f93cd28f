"""Where the user's own configuration and caches lie, on any system."""

from importlib import import_module
from pathlib import Path

APPLICATION = "mma-runtime"


def config_folder() -> Path:
    """Return the folder of the user's configuration, there or not."""
    return _folder("user_config_path")


def cache_folder() -> Path:
    """Return the folder of what can be fetched again, there or not."""
    return _folder("user_cache_path")


def _folder(which: str) -> Path:
    # By name: most runs of an embedding program never look there.
    path: Path = getattr(import_module("platformdirs"), which)(APPLICATION)
    return path
