"""A run's private copy of a project: checkouts, diffs, merging, and the way back."""

from mma_runtime.workspace.checkout import Checkout
from mma_runtime.workspace.diff import Diff, FileChange, FileStat
from mma_runtime.workspace.directory_map import directory_map
from mma_runtime.workspace.files import Files
from mma_runtime.workspace.tree import EXCLUDED
from mma_runtime.workspace.views import View, Views
from mma_runtime.workspace.workspace import Workspace

__all__ = [
    "EXCLUDED",
    "Checkout",
    "Diff",
    "FileChange",
    "FileStat",
    "Files",
    "View",
    "Views",
    "Workspace",
    "directory_map",
]
