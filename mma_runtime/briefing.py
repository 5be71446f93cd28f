"""What is read of the project for the tiers before they are asked.

Documents for tiers 1 and 2, an overview of the code for Tier 2, a ticket's files for
Tier 3. Everything is bounded and says what it leaves out.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath

from anyio import to_thread

from mma_runtime.errors import ConfigurationError, WorkspaceError
from mma_runtime.frozen import dataclass
from mma_runtime.llm.chat import Image
from mma_runtime.llm.images import image_type
from mma_runtime.llm.tokens import estimate_tokens
from mma_runtime.plan import Ticket, Track
from mma_runtime.tiers import ShownFile
from mma_runtime.workspace import Files
from mma_runtime.workspace.files import VIEW_LIMIT
from mma_runtime.workspace.languages import language_of
from mma_runtime.workspace.tree import walk

DOCUMENT_BYTES = 60_000
"""The largest document that is shown."""

IMAGE_BYTES = 5_000_000
"""The largest image that is sent; providers take no larger ones."""

FILE_CHARACTERS = 40_000
"""The longest view of one file that a worker is shown before it asks."""

SHORT_BYTES = 1_500
"""A file up to this size is shown whole: its outline would hardly be shorter."""

VIEW_TOKENS = 16_000
"""How long Tier 2's overview of the code is at most, estimated in tokens."""

OWN_PART = 0.7
"""The part of the overview that is for the track's own modules."""

LEAST_ROOM = VIEW_TOKENS // 50
"""The room, in tokens, below which no further file is tried."""

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
    for entry in _entries(ticket):
        try:
            found = _show(files, entry, raw=entry == ticket.target_file)
        except WorkspaceError as error:
            found = ShownFile(path=entry, view="not shown", text=str(error))

        if isinstance(found, Image):
            images.append(found)
            continue

        shown.append(found)
        if found.view == "raw":
            known[entry] = files.read_bytes(entry, limit=FILE_CHARACTERS * 4)

    return tuple(shown), tuple(images), known


def _entries(ticket: Ticket) -> Iterator[str]:
    for entry in dict.fromkeys(ticket.context):
        if entry != ticket.target_file:
            yield entry

    if ticket.target_file is not None:
        yield ticket.target_file


def _show(files: Files, entry: str, *, raw: bool) -> ShownFile | Image:
    path, symbol = _split(files, entry)
    content = files.read_bytes(path, limit=VIEW_LIMIT)
    if symbol:
        view = files.views.raw(path, content, symbol)
        return ShownFile(path=entry, view="definition", text=str(view))

    media_type = image_type(content)
    if media_type is not None:
        return Image(media_type, content)

    outline = files.views.skeleton(path, content)
    is_short = len(content) <= SHORT_BYTES
    if not (raw or is_short or language_of(path) is None):
        return ShownFile(path=path, view="outline", text=str(outline))

    view = files.views.raw(path, content)
    if len(view.text) <= FILE_CHARACTERS:
        return ShownFile(path=path, view="raw", text=str(view))

    note = f"(it has {len(view.text):,} characters: read what you need of it)"
    return ShownFile(path=path, view="outline", text=f"{note}\n{outline}")


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
