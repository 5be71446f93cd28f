"""The names in a folder and how they nest: all that Tier 1 sees of a project."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from anyio import to_thread

from mma_runtime.errors import WorkspaceError
from mma_runtime.workspace.tree import walk

MAX_ENTRIES = 500
"""How many names a map shows unless told otherwise."""


async def directory_map(
    root: Path, *, max_entries: int = MAX_ENTRIES, max_depth: int | None = None
) -> str:
    """Draw the folder *root*: one name a line, two blanks a level, folders with `/`.

    Of what is beyond *max_entries* names the deepest is left out first; the map says
    where and how much. *max_depth* counts levels from 1; `None` is all.

    Raises:
        WorkspaceError: the folder cannot be read.
    """
    return await to_thread.run_sync(draw_map, root, max_entries, max_depth)


def draw_map(
    root: Path, max_entries: int, max_depth: int | None, within: str = ""
) -> str:
    """Do the work of `directory_map` in a worker thread.

    *within* is a folder below *root* to draw alone, ending with a slash.
    """
    folders: dict[str, _Folder] = {"": _Folder()}
    levels: dict[int, list[tuple[str, str, bool]]] = {}
    try:
        for full, entry in walk(os.fspath(root), within=within, max_depth=max_depth):
            path = full[len(within) :]
            parent, _, name = path.rpartition("/")
            depth = path.count("/") + 1
            levels.setdefault(depth, []).append(
                (parent, name, entry.is_dir(follow_symlinks=False))
            )
    except OSError as error:
        raise WorkspaceError(
            f"cannot list {error.filename}: {error.strerror}"
        ) from error

    shown = total = 0
    for depth in sorted(levels):
        for parent, name, is_folder in levels[depth]:
            total += 1
            path = f"{parent}/{name}" if parent else name
            visible = parent in folders
            if visible and shown < max_entries:
                shown += 1
                folders[parent].names.append((name, is_folder))
                if is_folder:
                    folders[path] = _Folder()
            elif visible:
                folders[parent].hidden += 1

    lines = _draw(folders, "", 0)
    if shown < total:
        lines.append(f"({total - shown:,} of {total:,} names are not shown)")

    return "\n".join(lines) or "(empty)"


@dataclass(slots=True)
class _Folder:
    names: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    hidden: int = 0


def _draw(folders: dict[str, _Folder], path: str, depth: int) -> list[str]:
    lines: list[str] = []
    folder = folders[path]
    for name, is_folder in folder.names:
        lines.append("  " * depth + name + ("/" if is_folder else ""))
        if is_folder:
            lines += _draw(folders, f"{path}/{name}" if path else name, depth + 1)

    if folder.hidden:
        lines.append("  " * depth + f"… {folder.hidden:,} more")

    return lines
