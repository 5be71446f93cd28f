"""Neutral turns as a Chat Completions request."""

import base64
import json
from typing import Any

from mma_providers.profiles import Profile, may_sample
from mma_providers.wire_json import Object, is_list, is_object
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Image,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolSpec,
    ToolTurn,
    Turn,
    UserTurn,
)


def chat_body(request: ChatRequest, profile: Profile) -> Object:
    """Return the body to send; leaves out what the model rejects."""
    body: Object = {
        "model": request.model,
        "messages": _messages(request, profile),
    }
    if request.streamed:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    if request.max_output_tokens is not None:
        body[profile.output_limit] = request.max_output_tokens
    effort = request.reasoning_effort
    if request.temperature is not None and may_sample(effort, profile):
        body["temperature"] = request.temperature
    if effort is not None and profile.effort:
        body["reasoning_effort"] = effort
    if request.tools:
        body["tools"] = [_tool(spec, profile) for spec in request.tools]
        if request.tool_choice is not ToolChoice.AUTO:
            body["tool_choice"] = request.tool_choice.value
    if request.response_schema is not None and profile.json_schema:
        schema = {
            "name": "answer",
            "schema": request.response_schema,
            "strict": profile.strict and is_strict(request.response_schema),
        }
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def is_strict(schema: Any) -> bool:
    """Tell whether *schema* keeps the rules that strict decoding wants.

    Every object must close itself and require all of its properties.
    """
    if is_list(schema):
        return all(is_strict(item) for item in schema)
    if not is_object(schema):
        return True

    if schema.get("type") == "object":
        names = set(schema.get("properties", {}))
        if schema.get("additionalProperties") is not False:
            return False
        if names != set(schema.get("required", ())):
            return False
    return all(is_strict(value) for value in schema.values())


def data_uri(image: Image) -> str:
    """Return *image* as a data URI."""
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


def _messages(request: ChatRequest, profile: Profile) -> list[Object]:
    messages: list[Object] = []
    if request.system:
        messages.append({"role": profile.system_role, "content": request.system})
    for turn in request.turns:
        messages += _turn(turn)
    return messages


def _turn(turn: Turn) -> list[Object]:
    match turn:
        case UserTurn():
            return [{"role": "user", "content": _content(turn.parts)}]
        case AssistantTurn():
            return [_assistant(turn)]
        case ToolTurn():
            return _tool_messages(turn)


def _content(parts: tuple[Text | Image, ...]) -> str | list[Object]:
    if all(isinstance(part, Text) for part in parts):
        return "\n\n".join(part.text for part in parts if isinstance(part, Text))
    return [_part(part) for part in parts]


def _part(part: Text | Image) -> Object:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    return {"type": "image_url", "image_url": {"url": data_uri(part)}}


def _assistant(turn: AssistantTurn) -> Object:
    message: Object = {"role": "assistant", "content": turn.text}
    if turn.tool_calls:
        message["content"] = turn.text or None
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in turn.tool_calls
        ]
    return message


def _arguments(call: ToolCall) -> str:
    if call.arguments is None:
        # Some servers parse what comes back and would reject the whole request.
        return json.dumps({"invalid_json": call.raw})
    return call.raw or json.dumps(dict(call.arguments))


def _tool_messages(turn: ToolTurn) -> list[Object]:
    """Return one message for each result, and one for the images of them all.

    This interface takes no images in a tool's result.
    """
    messages: list[Object] = []
    images: list[Object] = []
    for result in turn.results:
        shown = [part for part in result.content if isinstance(part, Image)]
        messages.append(
            {
                "role": "tool",
                "tool_call_id": result.call_id,
                "content": _result_text(result, len(shown)),
            }
        )
        if shown:
            label = f"The result of {result.name} ({result.call_id}):"
            images.append({"type": "text", "text": label})
            images += [_part(image) for image in shown]
    if images:
        messages.append({"role": "user", "content": images})
    return messages


def _result_text(result: ToolResult, images: int) -> str:
    text = "\n\n".join(part.text for part in result.content if isinstance(part, Text))
    if images and not text:
        text = "The image follows."
    return f"Error: {text}" if result.is_error else text


def _tool(spec: ToolSpec, profile: Profile) -> Object:
    function: Object = {
        "name": spec.name,
        "description": spec.description,
        "parameters": spec.parameters,
    }
    if profile.strict and is_strict(spec.parameters):
        function["strict"] = True
    return {"type": "function", "function": function}
