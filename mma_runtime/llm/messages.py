"""Turns as plain messages, in the form that telemetry of language models agrees on.

This is content: it goes only where somebody has asked for it.
"""

from collections.abc import Sequence
from typing import Any

from mma_runtime.llm.chat import (
    AssistantTurn,
    Completion,
    Image,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    ToolTurn,
    Turn,
    UserTurn,
)

Part = Text | Reasoning | Image | ToolCall | ToolResult


def messages_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return *turns* as messages with a role and parts; images without their bytes."""
    return [_message(turn) for turn in turns]


def newest(turns: Sequence[Turn]) -> Sequence[Turn]:
    """Return what was said since the model last spoke."""
    for place in range(len(turns), 0, -1):
        if isinstance(turns[place - 1], AssistantTurn):
            return turns[place:]

    return turns


def answer_of(completion: Completion) -> dict[str, Any]:
    """Return an answer as a message, with why it ended."""
    return {**_message(completion.turn), "finish_reason": completion.finish.value}


def text_of(content: Sequence[Text | Image]) -> str:
    """Return what a tool gave back, as text."""
    return "\n".join(
        part.text if isinstance(part, Text) else f"({part.media_type})"
        for part in content
    )


def _message(turn: Turn) -> dict[str, Any]:
    match turn:
        case UserTurn(parts):
            return {"role": "user", "parts": [_part(part) for part in parts]}
        case AssistantTurn(parts):
            return {"role": "assistant", "parts": [_part(part) for part in parts]}
        case ToolTurn(results):
            return {"role": "tool", "parts": [_part(result) for result in results]}


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text", "content": text}
        case Reasoning(text):
            return {"type": "reasoning", "content": text}
        case Image(media_type):
            return {"type": "image", "mime_type": media_type}
        case ToolCall(id=call, name=name, arguments=arguments, raw=raw):
            given = raw if arguments is None else dict(arguments)
            return {"type": "tool_call", "id": call, "name": name, "arguments": given}
        case ToolResult(call_id=call, content=content):
            said = text_of(content)
            return {"type": "tool_call_response", "id": call, "response": said}
