"""How many tokens a text is likely to be, where nobody has counted."""

from mma_runtime.llm.chat import ChatRequest, Image, Text, ToolTurn, UserTurn

CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English text."""

TOKENS_PER_IMAGE = 1_000
"""About what the three providers count for an image of a million pixels."""


def estimate_tokens(text: str) -> int:
    """Return the likely number of tokens in *text*; at least one for any text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def estimate_request(request: ChatRequest) -> int:
    """Return the likely number of input tokens of *request*."""
    tokens = estimate_tokens(request.system)
    for tool in request.tools:
        tokens += estimate_tokens(f"{tool.name}{tool.description}{tool.parameters}")

    for turn in request.turns:
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
