"""How many tokens a request is likely to have, and how many at most."""

import json

from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Image,
    Reasoning,
    Text,
    ToolCall,
    ToolSpec,
    ToolTurn,
    Turn,
    UserTurn,
)

CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English text; of ASCII alone."""

TOKENS_PER_IMAGE = 1_000
"""About what the three providers count for an image of a million pixels."""


def estimate_tokens(text: str) -> int:
    """Return the likely number of tokens in *text*; at least one for any text.

    What is not ASCII counts as a token a character: tokenizers make about as many of
    Chinese, and fewer of letters with accents, of which there are few.
    """
    if text.isascii():
        return -(-len(text) // CHARACTERS_PER_TOKEN)

    plain = len(text.encode("ascii", "ignore"))
    return len(text) - plain - (-plain // CHARACTERS_PER_TOKEN)


def estimate_request(request: ChatRequest) -> int:
    """Return the likely number of input tokens of *request*."""
    counted, turns = request.counted, request.turns
    if counted is not None and counted.bounds(request.model, request.tools):
        tokens, turns = counted.tokens, turns[counted.turns :]
    else:
        tokens = estimate_tokens(request.system)
        for tool in request.tools:
            tokens += estimate_tokens(f"{tool.name}{tool.description}{tool.parameters}")

    for turn in turns:
        match turn:
            case UserTurn(parts):
                tokens += sum(_estimate_part(part) for part in parts)
            case ToolTurn(results):
                tokens += sum(
                    _estimate_part(part)
                    for result in results
                    for part in result.content
                )
            case _:
                tokens += estimate_tokens(turn.text)
                tokens += sum(estimate_tokens(call.raw) for call in turn.tool_calls)

    return tokens


def _estimate_part(part: Text | Image) -> int:
    return estimate_tokens(part.text) if isinstance(part, Text) else TOKENS_PER_IMAGE


class InputBound:
    """Bounds the input tokens of requests from above; keeps what it measured of tools.

    No tokenizer in use makes more tokens of a text than it has bytes. What was counted
    by the provider is taken as it is, so a long conversation's bound is a close one.
    """

    def __init__(self) -> None:
        self._tools: dict[int, tuple[tuple[ToolSpec, ...], int]] = {}

    def of(self, request: ChatRequest) -> int:
        """Return how many input tokens *request* has at most."""
        counted = request.counted
        if counted is not None and counted.bounds(request.model, request.tools):
            new = request.turns[counted.turns :]
            return counted.tokens + sum(map(bound_turn, new))

        tokens = _PER_REQUEST + _bytes(request.system)
        if request.tools:
            tokens += self._of_tools(request.tools)

        if request.response_schema is not None:
            tokens += len(json.dumps(request.response_schema)) + _PER_TOOL

        return tokens + sum(map(bound_turn, request.turns))

    def _of_tools(self, tools: tuple[ToolSpec, ...]) -> int:
        known = self._tools.get(id(tools))
        if known is not None:
            return known[1]

        tokens = _WITH_TOOLS + sum(
            _PER_TOOL
            + _bytes(tool.name)
            + _bytes(tool.description)
            + len(json.dumps(tool.parameters))
            for tool in tools
        )
        if len(self._tools) >= _KEPT:
            self._tools.clear()

        # The tools are kept too: nothing else may get their id meanwhile.
        self._tools[id(tools)] = (tools, tokens)
        return tokens


MOST_PER_IMAGE = 50_000
"""More than any of the three providers counts for one image."""

# What providers add of their own: marks around turns and tools, and instructions on
# how to use tools (Anthropic's are the longest, about 530 tokens).
_PER_REQUEST = 32
_PER_TURN = 16
_PER_TOOL = 32
_WITH_TOOLS = 600
_KEPT = 64


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def bound_turn(turn: Turn) -> int:
    """Return how many tokens *turn* has at most."""
    tokens = _PER_TURN
    match turn:
        case UserTurn(parts):
            tokens += sum(map(_bound_part, parts))
        case AssistantTurn(parts):
            tokens += sum(map(_bound_said, parts))
        case ToolTurn(results):
            for result in results:
                tokens += _PER_TURN + _bytes(result.name)
                tokens += sum(map(_bound_part, result.content))

    return tokens


def _bound_part(part: Text | Image) -> int:
    return _bytes(part.text) if isinstance(part, Text) else MOST_PER_IMAGE


def _bound_said(part: Text | Reasoning | ToolCall) -> int:
    tokens = len(repr(part.state.data)) if part.state is not None else 0
    if isinstance(part, ToolCall):
        return (
            tokens
            + _PER_TURN
            + _bytes(part.name)
            + _bytes(part.raw or str(part.arguments))
        )

    return tokens + _bytes(part.text)
