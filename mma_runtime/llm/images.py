"""Which images models take, told by their content."""

_GIF = (b"GIF87a", b"GIF89a")


def image_type(content: bytes) -> str | None:
    """Return the media type of *content*: PNG, JPEG, WebP or GIF; `None` is no image.

    A name may lie; the first bytes do not.
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"

    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"

    if content.startswith(_GIF):
        return "image/gif"

    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"

    return None
