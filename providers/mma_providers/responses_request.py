"""Neutral turns as a request to OpenAI's Responses."""

import json

from mma_providers.chat_request import data_uri, is_strict
from mma_providers.profiles import Profile, may_sample
from mma_providers.wire_json import Object
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Image,
    Reasoning,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolSpec,
    ToolTurn,
    Turn,
    UserTurn,
)

STATE = "openai-responses"  # Whose part state is replayed here.


def responses_body(request: ChatRequest, profile: Profile) -> Object:
    """Return the body to send; nothing of it is kept at the server."""
    body: Object = {
        "model": request.model,
        "input": [item for turn in request.turns for item in _items(turn)],
        "store": False,
    }
    if request.streamed:
        body["stream"] = True
    if request.system:
        body["instructions"] = request.system
    if request.max_output_tokens is not None:
        body["max_output_tokens"] = request.max_output_tokens
    effort = request.reasoning_effort
    if request.temperature is not None and may_sample(effort, profile):
        body["temperature"] = request.temperature
    if profile.effort:
        # Without storage the thoughts must travel with the conversation.
        body["include"] = ["reasoning.encrypted_content"]
        if effort is not None:
            body["reasoning"] = {"effort": effort}
    if request.tools:
        body["tools"] = [_tool(spec, profile) for spec in request.tools]
        if request.tool_choice is not ToolChoice.AUTO:
            body["tool_choice"] = request.tool_choice.value
    if request.response_schema is not None and profile.json_schema:
        shape = {
            "type": "json_schema",
            "name": "answer",
            "schema": dict(request.response_schema),
            "strict": profile.strict and is_strict(request.response_schema),
        }
        body["text"] = {"format": shape}
    return body


def _items(turn: Turn) -> list[Object]:
    match turn:
        case UserTurn():
            content = [_part(part) for part in turn.parts]
            return [{"type": "message", "role": "user", "content": content}]
        case AssistantTurn():
            said = (_said(part) for part in turn.parts)
            return [item for item in said if item is not None]
        case ToolTurn():
            return [_output(result) for result in turn.results]


def _part(part: Text | Image) -> Object:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    return {"type": "input_image", "image_url": data_uri(part)}


def _said(part: Text | Reasoning | ToolCall) -> Object | None:
    match part:
        case Text():
            said: Object = {"type": "output_text", "text": part.text, "annotations": []}
            return {"type": "message", "role": "assistant", "content": [said]}
        case Reasoning():
            if part.state is None or part.state.provider != STATE:
                return None
            return dict(part.state.data)
        case ToolCall():
            raw = part.raw or json.dumps(dict(part.arguments or {}))
            if part.arguments is None:
                raw = json.dumps({"invalid_json": part.raw})
            return {
                "type": "function_call",
                "call_id": part.id,
                "name": part.name,
                "arguments": raw,
            }


def _output(result: ToolResult) -> Object:
    parts = [_part(part) for part in result.content]
    if result.is_error:
        parts.insert(0, {"type": "input_text", "text": "Error:"})
    return {
        "type": "function_call_output",
        "call_id": result.call_id,
        "output": parts,
    }


def _tool(spec: ToolSpec, profile: Profile) -> Object:
    return {
        "type": "function",
        "name": spec.name,
        "description": spec.description,
        "parameters": dict(spec.parameters),
        "strict": profile.strict and is_strict(spec.parameters),
    }
