"""What a request is, in a few bytes: the same request has the same digest."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import is_

from mma_runtime.journal.codec import encode, encode_in_ascii
from mma_runtime.journal.record import Content
from mma_runtime.journal.scrub import Scrubber
from mma_runtime.llm.chat import ChatRequest, ToolSpec, ToolTurn, Turn

_BYTES = 12
_FORMER_BYTES = 16
_CONVERSATIONS = 256

_Whose = tuple[str, str, str, int]


@dataclass(slots=True)
class _Asked:
    """An agent's last request: its turns, their chained digests, and the rest."""

    turns: tuple[Turn, ...] = ()
    links: list[bytes] = field(default_factory=list[bytes])
    tools: tuple[ToolSpec, ...] | None = None
    frame: bytes = b""


class RequestDigests:
    """Digests requests, and tells what in each is new since the last of its agent.

    A request repeats its whole conversation; each turn is encoded once, so that the
    work grows with what is new. *scrub* takes secrets out of the turns.
    """

    def __init__(self, scrub: Scrubber) -> None:
        self._scrub = scrub
        self._known: OrderedDict[_Whose, _Asked] = OrderedDict()
        # By identity: it is the very object that comes again, and it is held here.
        self._ahead: OrderedDict[int, tuple[object, Content]] = OrderedDict()

    def encoded(self, turn: Turn) -> Content:
        """Encode a *turn* that is going to be part of the next request."""
        content = self._scrub.seal(encode(turn))
        anchor = _anchor(turn)
        self._ahead[id(anchor)] = (anchor, content)
        if len(self._ahead) > _CONVERSATIONS:
            self._ahead.popitem(last=False)

        return content

    def _encoded_once(self, turn: Turn) -> Content:
        anchor = _anchor(turn)
        found = self._ahead.pop(id(anchor), None)
        if found is not None and found[0] is anchor:
            return found[1]

        return self._scrub.seal(encode(turn))

    def digest(self, request: ChatRequest) -> tuple[str, list[Content]]:
        """Return the digest of *request* and its new turns, encoded.

        Left out is how the answer is to be made: the model's name, the temperature and
        the like. Who asks a second time may ask another model.
        """
        origin, turns = request.origin, request.turns
        whose = (origin.tier, origin.track, origin.ticket, origin.attempt)
        asked = self._known.pop(whose, None) or _Asked()
        same = _same(asked.turns, turns)
        links = asked.links
        del links[same:]
        last = links[-1] if links else b"\0"
        fresh: list[Content] = []
        for turn in turns[same:]:
            content = self._encoded_once(turn)
            last = blake2b(content.digest, digest_size=_BYTES, key=last).digest()
            links.append(last)
            fresh.append(content)

        if request.tools is not asked.tools or request.response_schema is not None:
            asked.frame = _frame(request)

        asked.turns, asked.tools = turns, request.tools
        self._known[whose] = asked
        if len(self._known) > _CONVERSATIONS:
            self._known.popitem(last=False)

        return blake2b(asked.frame, digest_size=_BYTES, key=last).hexdigest(), fresh

    def is_same(self, recorded: str, digest: str, request: ChatRequest) -> bool:
        """Whether *request*, with this *digest*, has the *recorded* one.

        Up to the second format of the journal digests were made in another way.
        """
        if len(recorded) == 2 * _FORMER_BYTES:
            return recorded == self._former(request)

        return recorded == digest

    def _former(self, request: ChatRequest) -> str:
        last = b"\0"
        for turn in request.turns:
            content = self._scrub(encode_in_ascii(turn))
            last = blake2b(content, digest_size=_FORMER_BYTES, key=last).digest()

        frame = _frame(request)
        return blake2b(frame, digest_size=_FORMER_BYTES, key=last).hexdigest()


def _same(old: Sequence[Turn], new: Sequence[Turn]) -> int:
    """Count the turns with which both begin."""
    if len(old) <= len(new) and all(map(is_, old, new)):
        return len(old)

    pairs = enumerate(zip(old, new, strict=False))
    return next((at for at, (one, other) in pairs if one is not other), len(new))


def _anchor(turn: Turn) -> object:
    # The tool loop makes a turn of its own of the same results.
    return turn.results if isinstance(turn, ToolTurn) else turn


def _frame(request: ChatRequest) -> bytes:
    frame = [
        request.system,
        request.tool_choice.value,
        [[one.name, one.description, one.parameters] for one in request.tools],
        request.response_schema,
    ]
    return json.dumps(frame, sort_keys=True, default=dict).encode()


def settings_of(request: ChatRequest) -> list[object]:
    """Return how the answer to *request* is to be made."""
    return [
        request.model,
        request.temperature,
        request.max_output_tokens,
        request.reasoning_effort,
    ]
