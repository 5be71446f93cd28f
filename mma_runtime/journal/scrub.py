"""Secrets are taken out of everything before it is written."""

import json
import re
from collections.abc import Iterable

from mma_runtime.journal.record import Content, digest_of

_SHORTEST = 6
_IN_ITS_PLACE = b"[secret]"


class Scrubber:
    """Replaces the known *secrets* in what goes into a journal.

    Finds them as they are and as JSON writes them. Values of fewer than six characters
    are left alone: they would be found in every other word.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms: set[bytes] = set()
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                forms.add(secret.encode(errors="surrogatepass"))
                forms.add(json.dumps(secret)[1:-1].encode())
                plain = json.dumps(secret, ensure_ascii=False)[1:-1]
                forms.add(plain.encode(errors="surrogatepass"))

        # The longest first: one secret may begin like another.
        self._forms = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms)))

    def finds(self, content: bytes) -> bool:
        """Whether there is a secret in *content*."""
        return any(form in content for form in self._forms)

    def __call__(self, content: bytes) -> bytes:
        """Return *content* without the secrets."""
        if not self.finds(content):
            return content

        return self._pattern.sub(_IN_ITS_PLACE, content)

    def seal(self, content: bytes) -> Content:
        """Return *content* without the secrets, as it can be kept."""
        text = self(content) if self._forms else content
        return Content(text, digest_of(text))


NO_SECRETS = Scrubber()
