"""Prefixes that Gemini keeps, so that large ones are not paid for in full each time."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2
from google.genai import errors, types

from mma_providers.wire_json import Object

_PREFIX = ("systemInstruction", "tools", "toolConfig")
_SMALLEST = 16_000  # Characters; below about 4,000 tokens nothing is kept.
_RENEWAL = 0.9  # Of its time, after which a prefix is kept for longer.
_MEMORY = 3_600.0  # Seconds for which a prefix that came once is remembered.
_CLEANING = 5.0  # Seconds for removing all prefixes at the end.


@dataclass(slots=True)
class _Kept:
    """A prefix at the service; *renew_at* and *ends_at* are on the loop's clock.

    Without a *name* the service has refused to keep it, and is not asked until then.
    """

    name: str
    renew_at: float
    ends_at: float


class PrefixCache:
    """Has the service keep what is the same in many requests, for *ttl* seconds.

    That is the system prompt, the tools and the first content. It is kept when it comes
    for the second time, since keeping costs too, renewed after 90 % of its time while
    it is used, and removed by `clear`. Where the service refuses, requests go whole,
    and it is asked again after *ttl* seconds.
    """

    def __init__(self, models: Any, ttl: float) -> None:
        self._caches = models
        self._ttl = ttl
        # When each that is not kept came last; those of long ago are forgotten.
        self._seen: dict[str, float] = {}
        self._kept: dict[str, _Kept | None] = {}

    async def shortened(self, model: str, body: Object) -> Object:
        """Return *body* without the prefix that the service keeps, if it keeps it."""
        prefix = {name: body[name] for name in _PREFIX if name in body}
        prefix["contents"] = body["contents"][:1]
        rest = body["contents"][1:]
        text = json.dumps(prefix, sort_keys=True)
        if len(text) < _SMALLEST or not rest:
            return body

        key = hashlib.sha256(f"{model}\0{text}".encode()).hexdigest()
        if key not in self._kept and not self._came_before(key):
            return body

        kept = await self._find(key, model, prefix)
        if kept is None:
            return body
        others = {name: value for name, value in body.items() if name not in _PREFIX}
        return {**others, "contents": rest, "cachedContent": kept.name}

    def forget(self, body: Object) -> None:
        """Drop the prefix of *body*, which the service no longer has."""
        name = body["cachedContent"]
        gone = [key for key, kept in self._kept.items() if kept and kept.name == name]
        for key in gone:
            del self._kept[key]

    async def clear(self) -> None:
        """Remove all prefixes from the service, as far as it answers in time."""
        kept = [one for one in self._kept.values() if one is not None and one.name]
        self._kept.clear()
        with anyio.move_on_after(_CLEANING, shield=True):
            for one in kept:
                with suppress(errors.APIError, httpx2.HTTPError):
                    await self._caches.delete(name=one.name)

    async def _find(self, key: str, model: str, prefix: Object) -> _Kept | None:
        now = anyio.current_time()
        kept = self._kept.get(key)
        if key in self._kept and kept is None:
            # Another call is about to have it kept.
            return None
        if kept is not None and now < kept.renew_at:
            return kept if kept.name else None
        if kept is not None and kept.name and now < kept.ends_at:
            return await self._renew(kept)
        return await self._create(key, model, prefix)

    def _came_before(self, key: str) -> bool:
        """Tell whether *key* came in the last hour; note that it comes now."""
        now = anyio.current_time()
        old = [one for one, at in self._seen.items() if now - at > _MEMORY]
        for one in old:
            del self._seen[one]

        came = key in self._seen
        self._seen[key] = now
        return came

    async def _create(self, key: str, model: str, prefix: Object) -> _Kept | None:
        now = anyio.current_time()
        ended = [k for k, one in self._kept.items() if one and one.ends_at < now]
        for one in ended:
            del self._kept[one]

        self._seen.pop(key, None)
        self._kept[key] = None
        options = types.HttpOptions(extra_body=prefix)
        config = types.CreateCachedContentConfig(
            ttl=f"{self._ttl:g}s", http_options=options
        )
        try:
            made = await self._caches.create(model=model, config=config)
        except errors.APIError:
            self._kept[key] = self._timed("")
            return None
        except BaseException:
            del self._kept[key]
            raise

        kept = self._kept[key] = self._timed(str(made.name))
        return kept

    async def _renew(self, kept: _Kept) -> _Kept:
        # At once, so that only one of many calls does it.
        fresh = self._timed(kept.name)
        kept.renew_at, kept.ends_at = fresh.renew_at, fresh.ends_at
        config = types.UpdateCachedContentConfig(ttl=f"{self._ttl:g}s")
        with suppress(errors.APIError):
            await self._caches.update(name=kept.name, config=config)
        return kept

    def _timed(self, name: str) -> _Kept:
        now = anyio.current_time()
        return _Kept(name, now + self._ttl * _RENEWAL, now + self._ttl)
