"""Secrets are taken out of everything before it is written, and put back when read.

In the place of a secret stands its name with a check, `[secret NAME 1f0c]`: who knows
the secret can put it back, so that a file that is set back to what was recorded is byte
for byte what it was. To others all of them are `[secret]`.
"""

import json
import re
from collections.abc import Callable, Iterable
from hashlib import pbkdf2_hmac
from typing import Any

from mma_runtime.journal.record import Content, digest_of

_SHORTEST = 6
_HIDDEN = b"[secret]"
_BEGINS = b"[secret "
# What begins so by itself is written as a secret without a name.
_ITSELF = b"[secret ]"
_IN_ITS_PLACE = re.compile(rb"\[secret (?:([\w.-]+)(~[12])? ([0-9a-f]{4}))?\]")
_NO_NAME = re.compile(r"[^\w.-]", re.ASCII)

# Slow, so that a weak password is not found by trying out: two bytes tell its check.
_CHECK_ROUNDS = 50_000

_NAMES = frozenset(
    (
        "actor",
        "apply",
        "by",
        "call",
        "depends_on",
        "digest",
        "dirty",
        "failed",
        "finish",
        "folder",
        "forked",
        "id",
        "level",
        "loose",
        "model",
        "model_call",
        "models",
        "on_no_answer",
        "order",
        "outcome",
        "priced_as",
        "priority",
        "sandbox",
        "scripted",
        "severity",
        "state",
        "target_file",
        "unit",
    )
)
"""Facts that name things or say how they stand; a secret that is such a word stays."""


class Scrubber:
    """Replaces known *secrets*, given with their names, in what goes into a journal.

    Finds them as they are and as JSON writes them. Values of fewer than six characters
    are left alone: they would be found in every other word.
    """

    def __init__(self, secrets: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, set[str]] = {}
        self._checks: dict[tuple[str, str], str] = {}
        places: dict[bytes, tuple[str, str, str]] = {}
        for given, value in secrets:
            if len(value) < _SHORTEST:
                continue

            name = _NO_NAME.sub("_", given)
            self._values.setdefault(name, set()).add(value)
            for number, form in enumerate(_forms(value)):
                places.setdefault(form, (name, f"~{number}" if number else "", value))

        # The longest first: one secret may begin like another.
        self._forms = sorted(places, key=len, reverse=True)
        self._places = places
        self._secret = re.compile(b"|".join(map(re.escape, self._forms)))
        self._written = re.compile(b"|".join(map(re.escape, (*self._forms, _BEGINS))))

    def finds(self, content: bytes) -> bool:
        """Whether something in *content* has to be written in another way."""
        return _BEGINS in content or any(form in content for form in self._forms)

    def __call__(self, content: bytes) -> bytes:
        """Return *content* without the secrets, for others to see."""
        if not any(form in content for form in self._forms):
            return content

        return self._secret.sub(_HIDDEN, content)

    def take_out(self, content: bytes) -> bytes:
        """Return *content* without the secrets, as `put_back` reads it."""
        return self._written.sub(self._place, content)

    def put_back(self, content: bytes) -> bytes:
        """Return what `take_out` was given.

        Raises `KeyError`, with its name, for a secret that is not known, or is another
        by now.
        """
        if _BEGINS not in content:
            return content

        return _IN_ITS_PLACE.sub(self._value, content)

    def seal(self, content: bytes) -> Content:
        """Return *content* without the secrets, as it can be kept."""
        text = self.take_out(content) if self.finds(content) else content
        return Content(text, digest_of(text))

    def _place(self, found: re.Match[bytes]) -> bytes:
        if found[0] == _BEGINS:
            return _ITSELF

        name, form, value = self._places[found[0]]
        return f"[secret {name}{form} {self._check(name, value)}]".encode()

    def _value(self, found: re.Match[bytes]) -> bytes:
        if found[0] == _ITSELF:
            return _BEGINS

        name, check = found[1].decode(), found[3].decode()
        for value in self._values.get(name, ()):
            if self._check(name, value) == check:
                return _forms(value)[int((found[2] or b"~0")[1:])]

        raise KeyError(name)

    def _check(self, name: str, value: str) -> str:
        """Tell a secret from others of its *name*, without telling what it is."""
        known = self._checks.get((name, value))
        if known is None:
            text, salt = value.encode(errors="surrogatepass"), name.encode()
            made = pbkdf2_hmac("sha256", text, salt, _CHECK_ROUNDS, dklen=2)
            known = self._checks[name, value] = made.hex()

        return known


def has_secrets(content: bytes) -> bool:
    """Whether something in *content* may stand for what `Scrubber.take_out` took."""
    return _BEGINS in content


def hide(content: bytes) -> bytes:
    """Return what `Scrubber.take_out` returned as others may see it."""
    if _BEGINS not in content:
        return content

    return _IN_ITS_PLACE.sub(
        lambda found: _BEGINS if found[0] == _ITSELF else _HIDDEN, content
    )


def in_texts(value: Any, change: Callable[[bytes], bytes]) -> Any:
    """Return plain *values* with their texts changed, but for those that are names."""
    if isinstance(value, str):
        text = value.encode(errors="surrogatepass")
        return change(text).decode(errors="surrogatepass")

    return _in_many(value, change) if isinstance(value, dict | list) else value


def _in_many(value: Any, change: Callable[[bytes], bytes]) -> Any:
    if not hasattr(value, "items"):
        return [in_texts(one, change) for one in value]

    return {
        name: one if name in _NAMES else in_texts(one, change)
        for name, one in value.items()
    }


def _forms(value: str) -> list[bytes]:
    """Return a secret as it is, and as JSON writes it in two ways."""
    return [
        value.encode(errors="surrogatepass"),
        json.dumps(value)[1:-1].encode(),
        json.dumps(value, ensure_ascii=False)[1:-1].encode(errors="surrogatepass"),
    ]


NO_SECRETS = Scrubber()
"""Takes nothing out, and puts nothing back."""
