"""Neutral turns as a request to Anthropic's Messages."""

import base64
import re
from typing import Any

from anthropic import transform_schema

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

STATE = "anthropic"  # Whose part state is replayed here.
ANSWER_TOOL = "give_answer"
_DEFAULT_OUTPUT = 32_000  # Tokens; the interface wants a limit, ours may be none.
_LEAST_BUDGET = 1_024  # Tokens of thinking that the interface accepts.
_BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384}
_CACHE = {"type": "ephemeral"}


def messages_body(request: ChatRequest, profile: Profile) -> Object:
    """Return the body to send; leaves out what the model rejects."""
    body: Object = {
        "model": request.model,
        "max_tokens": request.max_output_tokens or default_output(profile),
        "messages": _messages(request.turns),
    }
    if request.streamed:
        body["stream"] = True
    if request.system:
        body["system"] = [{"type": "text", "text": request.system}]
    effort = request.reasoning_effort
    if request.temperature is not None and may_sample(effort, profile):
        body["temperature"] = request.temperature
    if effort not in {None, "none"}:
        _think(body, str(effort), profile)
    if request.tools:
        body["tools"] = [_tool(spec) for spec in request.tools]
        _choose(body, request.tool_choice, profile)
    if request.response_schema is not None:
        _shape(body, dict(request.response_schema), profile)
    if request.tools or len(request.turns) > 1:
        _mark_for_cache(body)
    return body


def default_output(profile: Profile) -> int:
    """Return the output limit that is sent where nobody sets one, in tokens."""
    return min(_DEFAULT_OUTPUT, profile.max_output or _DEFAULT_OUTPUT)


def answers_by_tool(request: ChatRequest, profile: Profile) -> bool:
    """Tell whether a structured answer comes as a tool call, as from older models."""
    return request.response_schema is not None and not profile.json_schema


def _think(body: Object, effort: str, profile: Profile) -> None:
    if profile.thinking == "level":
        body["thinking"] = {"type": "adaptive"}
        body["output_config"] = {"effort": effort}
    elif profile.thinking == "budget":
        budget = min(_BUDGETS.get(effort, 16_384), body["max_tokens"] - 1)
        if budget >= _LEAST_BUDGET:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _choose(body: Object, choice: ToolChoice, profile: Profile) -> None:
    if choice is ToolChoice.NONE:
        body["tool_choice"] = {"type": "none"}
    elif choice is ToolChoice.REQUIRED and _may_force(body, profile):
        body["tool_choice"] = {"type": "any"}


def _may_force(body: Object, profile: Profile) -> bool:
    return profile.forced_choice and "thinking" not in body


def _shape(body: Object, schema: Object, profile: Profile) -> None:
    if profile.json_schema:
        config = {"type": "json_schema", "schema": transform_schema(schema)}
        body["output_config"] = body.get("output_config", {}) | {"format": config}
        return

    tool = {
        "name": ANSWER_TOOL,
        "description": "Give the final answer in the form that is due.",
        "input_schema": schema,
    }
    body["tools"] = [*body.get("tools", ()), tool]
    if len(body["tools"]) == 1 and _may_force(body, profile):
        body["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}


def _mark_for_cache(body: Object) -> None:
    """Set the four breakpoints: after tools, system, the first and the last message."""
    blocks = [body[part][-1] for part in ("tools", "system") if body.get(part)]
    messages = body["messages"]
    ends = messages[:1] + messages[1:][-1:]
    blocks += [message["content"][-1] for message in ends]
    for block in blocks:
        if block["type" if "type" in block else "name"] not in {
            "thinking",
            "redacted_thinking",
        }:
            block["cache_control"] = _CACHE


def _messages(turns: tuple[Turn, ...]) -> list[Object]:
    messages: list[Object] = []
    for turn in turns:
        role = "assistant" if isinstance(turn, AssistantTurn) else "user"
        content = _content(turn)
        if not content:
            continue
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += content
        else:
            messages.append({"role": role, "content": content})
    return messages


def _content(turn: Turn) -> list[Object]:
    match turn:
        case UserTurn():
            return [_part(part) for part in turn.parts if _holds(part)]
        case AssistantTurn():
            blocks = (_said(part) for part in turn.parts)
            return [block for block in blocks if block is not None]
        case ToolTurn():
            return [_result(result) for result in turn.results]


def _holds(part: Text | Image) -> bool:
    # Empty text blocks are rejected.
    return isinstance(part, Image) or bool(part.text.strip())


def _part(part: Text | Image) -> Object:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    source = {
        "type": "base64",
        "media_type": part.media_type,
        "data": base64.b64encode(part.data).decode(),
    }
    return {"type": "image", "source": source}


def _said(part: Text | Reasoning | ToolCall) -> Object | None:
    match part:
        case Text():
            return _part(part) if _holds(part) else None
        case Reasoning():
            ours = part.state is not None and part.state.provider == STATE
            return dict(part.state.data) if ours and part.state else None
        case ToolCall():
            arguments: Any = part.arguments
            if arguments is None:
                arguments = {"invalid_json": part.raw}
            return {
                "type": "tool_use",
                "id": _id(part.id),
                "name": part.name,
                "input": dict(arguments),
            }


def _result(result: ToolResult) -> Object:
    block: Object = {
        "type": "tool_result",
        "tool_use_id": _id(result.call_id),
        "content": [_part(part) for part in result.content if _holds(part)],
    }
    if result.is_error:
        block["is_error"] = True
    return block


def _id(text: str) -> str:
    # Other providers' ids may hold characters that are rejected here.
    return re.sub(r"[^a-zA-Z0-9_-]", "_", text)


def _tool(spec: ToolSpec) -> Object:
    return {
        "name": spec.name,
        "description": spec.description,
        "input_schema": dict(spec.parameters),
    }
