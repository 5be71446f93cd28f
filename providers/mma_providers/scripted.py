"""A provider whose models say what a script has for them; no network, no key.

Everything else of a run stays real: it is the words of the models that are given.
"""

import json
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import anyio

from mma_providers.script import Reply, Script
from mma_runtime.errors import ProviderFacts, ScriptUnmatched
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Reasoning,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolTurn,
    Turn,
    UserTurn,
)
from mma_runtime.llm.provider import Capabilities, ModelInfo
from mma_runtime.llm.usage import Usage
from mma_runtime.registry import Registry

CHARACTERS_PER_TOKEN = 4
_SHOWN = 200  # Characters of the last turn that an error message repeats.

_Key = tuple[str, str | None, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A reply with its place in the file and its answer made ready."""

    reply: Reply
    order: int
    weight: int
    answer: "_Answer"


class ScriptedProvider:
    """A `Provider` that answers from a script.

    The entry with the most matchers wins, then the first in the file; which one is
    found depends on the request alone, never on earlier calls. The model's name is a
    free label. Where an entry gives no usage it is estimated as one token for each
    `CHARACTERS_PER_TOKEN` characters of the request and of the answer.
    """

    def __init__(self, script: Script | Path | str, *, name: str = "scripted") -> None:
        self._script = script if isinstance(script, Script) else _read(Path(script))
        self._name = name
        self._entries = self._index(self._script.replies)
        self._shapes = sorted(
            {
                (ticket is not None, turn is not None)
                for _, ticket, turn in self._entries
            }
        )
        registry = Registry()
        self._prices = {
            tier: registry.parse_address(address)
            for tier, address in self._script.stands_in_for.items()
        }

    @property
    def name(self) -> str:
        """The name in `provider:model` addresses."""
        return self._name

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion, None]:
        """Yield the matching reply's parts and its completion.

        Raises:
            ScriptUnmatched: No entry matches; says what was asked and what is near.
        """
        entry = self._find(request)
        if entry is None:
            raise ScriptUnmatched(
                self._describe(request),
                ProviderFacts(provider=self._name, model=request.model),
            )

        if entry.reply.delay:
            await anyio.sleep(entry.reply.delay)
        answer = entry.answer.at_turn(request.turn)
        for chunk in answer.chunks:
            yield chunk
        yield Completion(
            turn=answer.turn,
            finish=answer.finish,
            usage=answer.usage or _estimate(request, answer),
            model=request.model,
            raw_finish=answer.finish.value,
        )

    async def models(self) -> tuple[ModelInfo, ...]:
        """List the tiers that the script has replies for."""
        tiers = dict.fromkeys(reply.tier for reply in self._script.replies)
        return tuple(ModelInfo(id=tier) for tier in tiers)

    def capabilities(self, model: str) -> Capabilities:  # noqa: ARG002 - Protocol
        """Say that anything may be sent."""
        return Capabilities()

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        """Return what the tier *model* stands in for; it is never billed."""
        address = self._prices.get(model)
        if address is None:
            return self._name, model, False
        return address.provider, address.model, False

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""

    def _index(self, replies: Iterable[Reply]) -> dict[_Key, list[_Entry]]:
        index: dict[_Key, list[_Entry]] = {}
        for order, reply in enumerate(replies):
            entry = _Entry(
                reply=reply,
                order=order,
                weight=len(reply.matchers),
                answer=_Answer.of(reply),
            )
            index.setdefault((reply.tier, reply.ticket, reply.turn), []).append(entry)
        for entries in index.values():
            entries.sort(key=lambda entry: (-entry.weight, entry.order))
        return index

    def _find(self, request: ChatRequest) -> _Entry | None:
        origin = request.origin
        best: _Entry | None = None
        for by_ticket, by_turn in self._shapes:
            key = (
                origin.tier,
                origin.ticket if by_ticket else None,
                request.turn if by_turn else None,
            )
            for entry in self._entries.get(key, ()):
                if not _holds(entry.reply, request):
                    continue
                if best is None or (-entry.weight, entry.order) < (
                    -best.weight,
                    best.order,
                ):
                    best = entry
                break
        return best

    def _describe(self, request: ChatRequest) -> str:
        asked = _asked(request)
        last = _text_of(request.turns[-1]) if request.turns else ""
        shown = last[:_SHOWN] + ("…" if len(last) > _SHOWN else "")
        near = sorted(
            self._script.replies,
            key=lambda reply: (
                -sum(asked.get(name) == value for name, value in reply.matchers.items())
            ),
        )
        listed = "; ".join(_words(reply.matchers) for reply in near[:3])
        return (
            f"asked for {_words(asked)};"
            f" the nearest entries: {listed or 'none, the script is empty'};"
            f" the last turn begins with {shown!r}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A reply as chunks and a turn, made once."""

    chunks: tuple[Chunk, ...]
    turn: AssistantTurn
    finish: Finish
    usage: Usage | None
    characters: int

    @classmethod
    def of(cls, reply: Reply) -> "_Answer":
        parts: list[Text | Reasoning | ToolCall] = []
        chunks: list[Chunk] = []
        if reply.reasoning:
            parts.append(Reasoning(reply.reasoning))
            chunks.append(ReasoningDelta(reply.reasoning))
        if reply.text:
            parts.append(Text(reply.text))
            chunks.append(TextDelta(reply.text))
        for index, call in enumerate(reply.tool_calls):
            arguments = None if call.raw is not None else dict(call.arguments or {})
            raw = call.raw if call.raw is not None else json.dumps(arguments)
            identifier = f"call_{reply.turn or 0}_{index}"
            parts.append(ToolCall(identifier, call.name, arguments, raw))
            chunks.append(ToolCallDelta(index, identifier, call.name, raw))

        default = Finish.TOOL_CALLS if reply.tool_calls else Finish.STOP
        return cls(
            chunks=tuple(chunks),
            turn=AssistantTurn(tuple(parts)),
            finish=reply.finish or default,
            usage=Usage(**reply.usage.model_dump()) if reply.usage else None,
            characters=sum(_length(part) for part in parts),
        )

    def at_turn(self, turn: int) -> "_Answer":
        """Return this answer with call ids that no other turn of the task has."""
        calls = self.turn.tool_calls
        if not calls or calls[0].id.startswith(f"call_{turn}_"):
            return self

        ids = {call.id: f"call_{turn}_{index}" for index, call in enumerate(calls)}
        return _Answer(
            chunks=tuple(
                ToolCallDelta(chunk.index, ids[chunk.id], chunk.name, chunk.fragment)
                if isinstance(chunk, ToolCallDelta)
                else chunk
                for chunk in self.chunks
            ),
            turn=AssistantTurn(
                tuple(
                    ToolCall(ids[part.id], part.name, part.arguments, part.raw)
                    if isinstance(part, ToolCall)
                    else part
                    for part in self.turn.parts
                )
            ),
            finish=self.finish,
            usage=self.usage,
            characters=self.characters,
        )


def _holds(reply: Reply, request: ChatRequest) -> bool:
    """Tell whether the matchers that are not in the index hold."""
    origin = request.origin
    return (
        reply.task in (None, origin.task)
        and reply.track in (None, origin.track)
        and reply.attempt in (None, origin.attempt)
        and (
            reply.contains is None
            or (bool(request.turns) and reply.contains in _text_of(request.turns[-1]))
        )
    )


def _asked(request: ChatRequest) -> dict[str, str | int]:
    origin = request.origin
    return {
        "tier": origin.tier,
        "task": origin.task,
        "track": origin.track,
        "ticket": origin.ticket,
        "attempt": origin.attempt,
        "turn": request.turn,
    }


def _words(matchers: dict[str, str | int]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in matchers.items())


def _text_of(turn: Turn) -> str:
    match turn:
        case UserTurn():
            parts = turn.parts
        case ToolTurn():
            parts = tuple(part for result in turn.results for part in result.content)
        case AssistantTurn():
            return turn.text
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def _length(part: Text | Reasoning | ToolCall) -> int:
    if isinstance(part, ToolCall):
        return len(part.name) + len(part.raw)
    return len(part.text)


def _read(path: Path) -> Script:
    # By name: who builds scripts in Python does not load what reads YAML.
    script: Script = import_module("mma_providers.script_file").load_script(path)
    return script


def _estimate(request: ChatRequest, answer: _Answer) -> Usage:
    characters = len(request.system) + sum(
        len(_text_of(turn)) for turn in request.turns
    )
    return Usage(
        input=max(1, characters // CHARACTERS_PER_TOKEN),
        output=max(1, answer.characters // CHARACTERS_PER_TOKEN),
    )
