"""What an agent and its model have said so far, and how it is kept within bounds."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Counted,
    Image,
    Reasoning,
    Text,
    ToolTurn,
    Turn,
    UserTurn,
    user,
)
from mma_runtime.llm.tokens import TOKENS_PER_IMAGE, bound_turn, estimate_tokens
from mma_runtime.rounds.shortening import shortened

KEPT = 0.7
"""The part of its budget that a history has left after it was trimmed.

Trimming changes the beginning of all later requests, and so costs a provider's cache;
with room gained it happens seldom.
"""


@dataclass(frozen=True, slots=True)
class Cut:
    """What was left out of a history: how many turns, of about how many tokens."""

    turns: int
    tokens: int


@dataclass(slots=True, kw_only=True)
class Conversation:
    """What was said so far; grows with every round and can be gone on with.

    Turns are only ever added at the end, so that each request begins as the one before
    did and a provider's cache is hit; `refresh` and `fit` are the exceptions. *calls*
    counts the model calls that were made in it; *counted* is what the provider said
    last of its length.
    """

    system: str
    turns: list[Turn] = field(default_factory=list[Turn])
    calls: int = 0
    counted: Counted | None = None
    _refresh: UserTurn | None = None
    _note: UserTurn | None = None
    _left_out: int = 0
    _sizes: list[int] = field(default_factory=list[int])
    _tokens: int = 0

    def say(self, text: str, images: Iterable[Image] = ()) -> None:
        """Add a user turn."""
        self.turns.append(UserTurn((Text(text), *images)))

    def refresh(self, text: str) -> None:
        """Say *text* until the next refresh; the older one is dropped. May be empty."""
        if self._refresh is not None:
            self._remove(self._refresh)
            self._refresh = None

        if text:
            self._refresh = user(text)
            self.turns.append(self._refresh)

    def count(self, request: ChatRequest, tokens: int) -> None:
        """Keep that *request*, its last, came to *tokens* of input.

        A request without tools tells nothing of those with them, which come again when
        the work goes on: then the older count is of more use.
        """
        if request.tools or self.counted is None or not self.counted.tools:
            self.counted = Counted(
                request.model, len(request.turns), tokens, request.tools
            )

    def conclude(self, text: str, room: int) -> None:
        """Say *text*, the last word of a task, after its last round.

        What the tools said in that round is shortened until the round and *text* have
        at most *room* tokens, as far as it is the tools that take it.
        """
        self.say(text)
        places = reversed(range(len(self.turns)))
        start = next(
            (one for one in places if isinstance(self.turns[one], AssistantTurn)), 0
        )
        last = self.turns[start:]
        for place, turn in enumerate(last, start):
            if isinstance(turn, ToolTurn):
                others = sum(bound_turn(one) for one in last if one is not turn)
                self.turns[place] = shortened(turn, room - others)
                del self._sizes[place:]
                self._tokens = sum(self._sizes)

    def fit(self, budget: int) -> Cut | None:
        """Leave out the oldest rounds if it is beyond *budget*, an estimate in tokens.

        What comes before the first answer stays, and so does the last round; a call is
        never parted from its result. A note says how much is missing. Returns `None`
        when nothing was left out.
        """
        self._measure()
        if self._tokens <= budget:
            return None

        starts = [
            place
            for place, turn in enumerate(self.turns)
            if isinstance(turn, AssistantTurn)
        ]
        if len(starts) < 2:  # noqa: PLR2004 - the last round has to stay
            return None

        tokens, first = 0, starts[0]
        stop = starts[-1]
        for start, end in pairwise(starts):
            if self._tokens - tokens <= budget * KEPT:
                stop = start
                break

            tokens += sum(self._sizes[start:end])

        cut = Cut(turns=stop - first, tokens=tokens)
        self.counted = None
        if self._refresh in self.turns[first:stop]:
            self._refresh = None

        del self.turns[first:stop]
        del self._sizes[first:stop]
        self._tokens -= tokens
        self._left_out += cut.turns
        self._tell_what_is_missing(first)
        return cut

    def _tell_what_is_missing(self, place: int) -> None:
        if self._note is not None:
            self._remove(self._note)
            place -= 1

        self._note = user(
            f"[The {self._left_out} oldest turns after this were left out: the history"
            " was too long.]"
        )
        size = _size(self._note)
        self.turns.insert(place, self._note)
        self._sizes.insert(place, size)
        self._tokens += size

    def _remove(self, turn: Turn) -> None:
        self._measure()
        place = next(
            (place for place, one in enumerate(self.turns) if one is turn), None
        )
        if place is not None:
            self.counted = None
            self._tokens -= self._sizes.pop(place)
            del self.turns[place]

    def _measure(self) -> None:
        for turn in self.turns[len(self._sizes) :]:
            size = _size(turn)
            self._sizes.append(size)
            self._tokens += size


def _size(turn: Turn) -> int:
    """Estimate the length of a turn in tokens."""
    match turn:
        case AssistantTurn(parts):
            return sum(
                estimate_tokens(part.text)
                if isinstance(part, Text | Reasoning)
                else estimate_tokens(part.name) + estimate_tokens(part.raw)
                for part in parts
            )
        case ToolTurn(results):
            return sum(_size_of(part) for one in results for part in one.content)
        case UserTurn(parts):
            return sum(map(_size_of, parts))


def _size_of(part: Text | Image) -> int:
    return estimate_tokens(part.text) if isinstance(part, Text) else TOKENS_PER_IMAGE
