"""What is read of the project for the tiers before they are asked.

Documents for tiers 1 and 2, an overview of the code for Tier 2, a ticket's files for
Tier 3. Everything is bounded and says what it leaves out.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from anyio import to_thread

from mma_runtime.errors import ConfigurationError, WorkspaceError
from mma_runtime.llm.chat import Image
from mma_runtime.llm.images import image_type
from mma_runtime.llm.tokens import estimate_tokens
from mma_runtime.plan import Ticket, Track
from mma_runtime.tiers.tiers import ShownFile
from mma_runtime.workspace import Files
from mma_runtime.workspace.files import VIEW_LIMIT
from mma_runtime.workspace.languages import language_of
from mma_runtime.workspace.tree import walk
from mma_runtime.workspace.views import Views

DOCUMENT_BYTES = 60_000
"""The largest document that is shown."""

IMAGE_BYTES = 5_000_000
"""The largest image that is sent; providers take no larger ones."""

FILE_CHARACTERS = 40_000
"""The longest view of one file that a worker is shown before it asks."""

CONTEXT_CHARACTERS = 12_000
"""The longest curated view of a file that a worker does not work on itself."""

SHORT_BYTES = 1_500
"""A file up to this size is shown whole: its outline would hardly be shorter."""

VIEW_TOKENS = 16_000
"""How long Tier 2's overview of the code is at most, estimated in tokens."""

OWN_PART = 0.7
"""The part of the overview that is for the track's own modules."""

LEAST_ROOM = VIEW_TOKENS // 50
"""The room, in tokens, below which no further file is tried."""

_WORDS = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::)[A-Za-z_]\w*)*")
_DOCUMENTS = frozenset({"", ".adoc", ".md", ".mdx", ".org", ".rst", ".txt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the whole team is told of the project.

    *rules* go to tiers 1 to 3, *docs* and *images* to those that plan.
    """

    rules: str = ""
    docs: str = ""
    images: tuple[Image, ...] = ()


NO_GROUND = Ground()


async def read_ground(
    files: Files, rules: Sequence[str], context: Sequence[str]
) -> Ground:
    """Read the files that a scenario names in `rules` and `context`.

    They are typed by their content: images, and documents by their names. Source is
    refused: Tier 1 would see it.

    Raises:
        ConfigurationError: a file is missing, too big, source, or neither text nor an
            image; nothing has been paid for yet.
    """
    return await to_thread.run_sync(partial(_read_ground, files, rules, context))


async def overview(files: Files, track: Track) -> str:
    """Show the code to the tech lead of *track*, in at most `VIEW_TOKENS`.

    Files in its modules are curated, others are outlined; what has no room is outlined
    or named.
    """
    return await to_thread.run_sync(partial(_overview, files, track))


async def ticket_files(
    files: Files, ticket: Ticket
) -> tuple[tuple[ShownFile, ...], tuple[Image, ...], dict[str, bytes]]:
    """Read what a ticket names: its target raw, its context as outlines and images.

    A file of which definitions are named, as `path:Class.method`, is curated: their
    bodies are shown and others hidden. So is a target that is too long to be shown
    whole, by what the ticket's words name of it.

    Returns the files as they are shown, the images, and the contents of what is shown
    in full.
    """
    return await to_thread.run_sync(partial(_ticket_files, files, ticket))


# --- the project's own words --------------------------------------------------


def _read_ground(files: Files, rules: Sequence[str], context: Sequence[str]) -> Ground:
    said = [_document(files, path, "rules") for path in rules]
    docs: list[str] = []
    images: list[Image] = []
    for path in context:
        image = _image(files, path)
        if image is not None:
            images.append(image)
        else:
            docs.append(_document(files, path, "context"))

    return Ground(rules="\n\n".join(said), docs="\n\n".join(docs), images=tuple(images))


def _document(files: Files, path: str, key: str) -> str:
    if PurePosixPath(path).suffix.lower() not in _DOCUMENTS:
        raise ConfigurationError(
            f"`{key}` names {path!r}, which is no document; the upper tiers see"
            f" {', '.join(sorted(_DOCUMENTS - {''}))} and images only. Name it in a"
            " ticket's `context` instead"
        )

    try:
        content = files.read_bytes(path, limit=DOCUMENT_BYTES)
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"`{key}` names {path!r}, which is neither text nor an image"
        ) from error
    except WorkspaceError as error:
        raise ConfigurationError(f"`{key}`: {error}") from error

    return f"### {path}\n\n{text.strip()}"


def _image(files: Files, path: str) -> Image | None:
    try:
        content = files.read_bytes(path, limit=IMAGE_BYTES)
    except WorkspaceError as error:
        raise ConfigurationError(f"`context`: {error}") from error

    media_type = image_type(content)
    return Image(media_type, content) if media_type else None


# --- an overview of the code --------------------------------------------------


def _overview(files: Files, track: Track) -> str:
    own, foreign = _sources(files, track)
    room = VIEW_TOKENS
    shown: list[str] = []
    missing: list[str] = []
    for path in own:
        left = room - int(VIEW_TOKENS * (1 - OWN_PART))
        # Without room nothing is read: a track's modules may be a whole project.
        view = _fitting(files, path, left) if left >= LEAST_ROOM else None
        if view is None:
            missing.append(path)
            continue

        shown.append(view)
        room -= estimate_tokens(view)

    for path in foreign:
        view = _skeleton(files, path)
        if view is None:
            continue

        if estimate_tokens(view) > room:
            missing.append(path)
            # One that is smaller may fit, but not for ever: a project has thousands.
            if room < LEAST_ROOM:
                break

            continue

        shown.append(view)
        room -= estimate_tokens(view)

    total = len(own) + len(foreign)
    if len(shown) < total:
        names = ", ".join(missing[:20])
        shown.append(
            f"({total - len(shown):,} of {total:,} source files are not shown, such as"
            f" {names})"
        )

    return "\n\n".join(shown)


def _sources(files: Files, track: Track) -> tuple[list[str], list[str]]:
    """List the files in the track's modules, and the others, the nearest first."""
    own: list[str] = []
    foreign: list[str] = []
    for path, entry in walk(os.fspath(files.root)):
        if language_of(path) is not None and entry.is_file(follow_symlinks=False):
            (own if track.allows(path) else foreign).append(path)

    folders = {part for module in track.modules for part in PurePosixPath(module).parts}
    foreign.sort(key=lambda path: -len(folders & set(PurePosixPath(path).parts)))
    return own, foreign


def _fitting(files: Files, path: str, room: int) -> str | None:
    for view in (_curated(files, path), _skeleton(files, path)):
        if view is not None and estimate_tokens(view) <= room:
            return view

    return None


def _curated(files: Files, path: str) -> str | None:
    try:
        content = files.read_bytes(path, limit=VIEW_LIMIT)
        return f"### {path}\n\n{files.views.curated(path, content)}"
    except WorkspaceError:
        return None


def _skeleton(files: Files, path: str) -> str | None:
    try:
        content = files.read_bytes(path, limit=VIEW_LIMIT)
        return f"### {path} (outline)\n\n{files.views.skeleton(path, content)}"
    except WorkspaceError:
        return None


# --- a ticket's files ---------------------------------------------------------


def _ticket_files(
    files: Files, ticket: Ticket
) -> tuple[tuple[ShownFile, ...], tuple[Image, ...], dict[str, bytes]]:
    images: list[Image] = []
    shown: list[ShownFile] = []
    known: dict[str, bytes] = {}
    # Outlines first and the target last: what changes from ticket to ticket is near
    # the end, and what is worked on is nearest to the task.
    for path, symbols in _entries(files, ticket).items():
        try:
            content = files.read_bytes(path, limit=VIEW_LIMIT)
            media_type = image_type(content)
            if media_type is not None:
                images.append(Image(media_type, content))
                continue

            if path == ticket.target_file:
                found = _target(files.views, path, content, symbols, ticket)
            else:
                found = _other(files.views, path, content, symbols)

            if found.view == "raw":
                known[path] = content
        except WorkspaceError as error:
            names = ", ".join(symbols)
            entry = f"{path}:{names}" if names else path
            found = ShownFile(path=entry, view="not shown", text=str(error))

        shown.append(found)

    return tuple(shown), tuple(images), known


def _entries(files: Files, ticket: Ticket) -> dict[str, list[str]]:
    """Return the paths that *ticket* names, and the symbols that it names of each."""
    entries: dict[str, list[str]] = {}
    for entry in dict.fromkeys(ticket.context):
        path, symbol = _split(files, entry)
        entries.setdefault(path, []).extend([symbol] if symbol else [])

    if ticket.target_file is not None:
        entries[ticket.target_file] = entries.pop(ticket.target_file, [])

    return entries


def _target(
    views: Views, path: str, content: bytes, symbols: Sequence[str], ticket: Ticket
) -> ShownFile:
    """Show the file that is worked on: whole, or else as much of it as has room."""
    raw = views.raw(path, content)
    if len(raw.text) <= FILE_CHARACTERS:
        return ShownFile(path=path, view="raw", text=str(raw))

    note = f"(it has {len(raw.text):,} characters: read what you need of it)"
    outline = views.outline(path, content)
    if outline is not None:
        known = {name for one in outline.walk() for name in (one.path, one.name)}
        words = _WORDS.findall(f"{ticket.title} {ticket.description}")
        said = known.intersection(word.replace("::", ".") for word in words)
        for named in ({*symbols, *said}, symbols):
            view = views.curated(path, content, named=named)
            if len(view.text) <= FILE_CHARACTERS:
                return ShownFile(path=path, view="curated", text=f"{note}\n{view}")

    skeleton = views.skeleton(path, content)
    return ShownFile(path=path, view="outline", text=f"{note}\n{skeleton}")


def _other(
    views: Views, path: str, content: bytes, symbols: Sequence[str]
) -> ShownFile:
    """Show a file that has to be known, with the bodies of *symbols*."""
    if not symbols:
        raw = views.raw(path, content)
        is_short = len(content) <= SHORT_BYTES or language_of(path) is None
        if is_short and len(raw.text) <= FILE_CHARACTERS:
            return ShownFile(path=path, view="raw", text=str(raw))

        skeleton = views.skeleton(path, content)
        return ShownFile(path=path, view="outline", text=str(skeleton))

    # They are looked for one by one: who names one that is not there is told so.
    alone = [str(views.raw(path, content, symbol)) for symbol in symbols]
    view = views.curated(path, content, named=symbols)
    if len(view.text) <= CONTEXT_CHARACTERS:
        return ShownFile(path=path, view="curated", text=str(view))

    name = f"{path}:{', '.join(symbols)}"
    return ShownFile(path=name, view="definition", text="\n…\n".join(alone))


def _split(files: Files, entry: str) -> tuple[str, str]:
    """Part `path:Class.method`; a path may have a colon of its own."""
    path, _, symbol = entry.rpartition(":")
    if path and not files.resolve(entry).exists():
        return path, symbol

    return entry, ""


def check_images(images: Iterable[Image], model: str, *, takes_images: bool) -> None:
    """Refuse images for a model that takes none.

    Raises:
        ConfigurationError: names the model and what to do.
    """
    if any(images) and not takes_images:
        raise ConfigurationError(
            f"there are images in the context, and {model!r} does not take images;"
            " choose another model or leave them out"
        )
