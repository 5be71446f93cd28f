"""What a request is, in a few bytes: the same request has the same digest."""

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b

from mma_runtime.frozen import dataclass
from mma_runtime.journal.codec import encode
from mma_runtime.llm.chat import ChatRequest, ToolSpec, ToolTurn, Turn

_BYTES = 16
_CONVERSATIONS = 256

_Whose = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class _Asked:
    """An agent's last request: its turns, their chained digests, and the rest."""

    turns: tuple[Turn, ...] = ()
    links: Sequence[bytes] = ()
    tools: tuple[ToolSpec, ...] | None = None
    frame: bytes = b""


class RequestDigests:
    """Digests requests, and tells what in each is new since the last of its agent.

    A request repeats its whole conversation; each turn is encoded once, so that the
    work grows with what is new. *scrub* takes secrets out of the turns.
    """

    def __init__(self, scrub: Callable[[bytes], bytes]) -> None:
        self._scrub = scrub
        self._known: OrderedDict[_Whose, _Asked] = OrderedDict()
        # By identity: it is the very object that comes again, and it is held here.
        self._ahead: OrderedDict[int, tuple[object, bytes]] = OrderedDict()

    def encoded(self, turn: Turn) -> bytes:
        """Encode a *turn* that is going to be part of the next request."""
        content = self._scrub(encode(turn))
        anchor = _anchor(turn)
        self._ahead[id(anchor)] = (anchor, content)
        if len(self._ahead) > _CONVERSATIONS:
            self._ahead.popitem(last=False)

        return content

    def _encoded_once(self, turn: Turn) -> bytes:
        anchor = _anchor(turn)
        found = self._ahead.pop(id(anchor), None)
        if found is not None and found[0] is anchor:
            return found[1]

        return self._scrub(encode(turn))

    def digest(self, request: ChatRequest) -> tuple[str, list[bytes]]:
        """Return the digest of *request* and its new turns, encoded.

        Left out is how the answer is to be made: the model's name, the temperature and
        the like. Who asks a second time may ask another model.
        """
        origin = request.origin
        whose = (origin.tier, origin.track, origin.ticket, origin.attempt)
        asked = self._known.pop(whose, None) or _Asked()
        same = 0
        for old, new in zip(asked.turns, request.turns, strict=False):
            if old is not new:
                break

            same += 1

        links = list(asked.links[:same])
        fresh: list[bytes] = []
        for turn in request.turns[same:]:
            content = self._encoded_once(turn)
            before = links[-1] if links else b"\0"
            links.append(blake2b(content, digest_size=_BYTES, key=before).digest())
            fresh.append(content)

        frame = asked.frame
        if request.tools is not asked.tools or request.response_schema is not None:
            frame = _frame(request)

        self._known[whose] = _Asked(request.turns, links, request.tools, frame)
        if len(self._known) > _CONVERSATIONS:
            self._known.popitem(last=False)

        last = links[-1] if links else b"\0"
        return blake2b(frame, digest_size=_BYTES, key=last).hexdigest(), fresh


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
