"""Neutral turns as a request to Gemini's generateContent."""

import base64
from collections.abc import Mapping

from mma_providers.profiles import Profile, may_sample
from mma_providers.wire_json import Object
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Image,
    ProviderState,
    Reasoning,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolTurn,
    Turn,
    UserTurn,
)

STATE = "gemini"  # Whose part state is replayed here.
SIGNATURE = "thoughtSignature"
# What the interface takes for calls that another model made, and that have none.
_NO_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()
_BUDGETS = {"none": 0, "minimal": 512, "low": 2_048, "medium": 8_192, "high": 24_576}
_LEVELS = {"none": "minimal", "xhigh": "high", "max": "high"}
_MODES = {ToolChoice.REQUIRED: "ANY", ToolChoice.NONE: "NONE"}


def content_body(request: ChatRequest, profile: Profile) -> Object:
    """Return the body to send; leaves out what the model rejects."""
    own_ids = _own_ids(request.turns)
    body: Object = {"contents": _contents(request.turns, profile, own_ids)}
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        declarations = [
            {
                "name": spec.name,
                "description": spec.description,
                "parametersJsonSchema": dict(spec.parameters),
            }
            for spec in request.tools
        ]
        body["tools"] = [{"functionDeclarations": declarations}]
        mode = _MODES.get(request.tool_choice)
        if mode is not None:
            body["toolConfig"] = {"functionCallingConfig": {"mode": mode}}
    settings = _settings(request, profile)
    if settings:
        body["generationConfig"] = settings
    return body


def _settings(request: ChatRequest, profile: Profile) -> Object:
    settings: Object = {}
    effort = request.reasoning_effort
    if request.temperature is not None and may_sample(effort, profile):
        settings["temperature"] = request.temperature
    if request.max_output_tokens is not None:
        settings["maxOutputTokens"] = request.max_output_tokens
    if request.response_schema is not None:
        settings["responseMimeType"] = "application/json"
        settings["responseJsonSchema"] = dict(request.response_schema)
    if effort is not None and profile.thinking == "level":
        settings["thinkingConfig"] = {"thinkingLevel": _LEVELS.get(effort, effort)}
    elif effort is not None and profile.thinking == "budget":
        budget = _BUDGETS.get(effort, _BUDGETS["high"])
        settings["thinkingConfig"] = {"thinkingBudget": budget}
    return settings


def _own_ids(turns: tuple[Turn, ...]) -> dict[str, str]:
    """Return the ids that the service itself gave to calls; others are ours alone."""
    return {
        part.id: str(_state(part.state)["id"])
        for turn in turns
        if isinstance(turn, AssistantTurn)
        for part in turn.tool_calls
        if "id" in _state(part.state)
    }


def _state(state: ProviderState | None) -> Mapping[str, object]:
    if state is None or state.provider != STATE:
        return {}
    data: Mapping[str, object] = state.data
    return data


def _contents(
    turns: tuple[Turn, ...], profile: Profile, own_ids: Mapping[str, str]
) -> list[Object]:
    contents: list[Object] = []
    for turn in turns:
        role = "model" if isinstance(turn, AssistantTurn) else "user"
        parts = _parts(turn, profile, own_ids)
        if not parts:
            continue
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    return contents


def _parts(turn: Turn, profile: Profile, own_ids: Mapping[str, str]) -> list[Object]:
    match turn:
        case UserTurn():
            return [_part(part) for part in turn.parts]
        case AssistantTurn():
            return _said(turn, profile, own_ids)
        case ToolTurn():
            answers = [_answer(result, own_ids) for result in turn.results]
            return answers + [
                _part(part)
                for result in turn.results
                for part in result.content
                if isinstance(part, Image)
            ]


def _part(part: Text | Image) -> Object:
    if isinstance(part, Text):
        return {"text": part.text}
    data = base64.b64encode(part.data).decode()
    return {"inlineData": {"mimeType": part.media_type, "data": data}}


def _said(
    turn: AssistantTurn, profile: Profile, own_ids: Mapping[str, str]
) -> list[Object]:
    parts: list[Object] = []
    signed = False
    for part in turn.parts:
        signature = _state(part.state).get(SIGNATURE)
        match part:
            case Text():
                sent: Object = {"text": part.text}
            case Reasoning():
                # Thoughts are not replayed, only what signs them.
                if signature is None:
                    continue
                sent = {"text": part.text, "thought": True}
            case ToolCall():
                sent = {"functionCall": _call(part, own_ids)}
                if signature is None and not signed and profile.thinking == "level":
                    signature = _NO_SIGNATURE
                signed = True
        if signature is not None:
            sent[SIGNATURE] = signature
        parts.append(sent)
    return parts


def _call(call: ToolCall, own_ids: Mapping[str, str]) -> Object:
    arguments = call.arguments
    if arguments is None:
        arguments = {"invalid_json": call.raw}
    sent: Object = {"name": call.name, "args": dict(arguments)}
    if call.id in own_ids:
        sent["id"] = own_ids[call.id]
    return sent


def _answer(result: ToolResult, own_ids: Mapping[str, str]) -> Object:
    text = "\n\n".join(part.text for part in result.content if isinstance(part, Text))
    answer: Object = {
        "name": result.name,
        "response": {"error" if result.is_error else "output": text},
    }
    if result.call_id in own_ids:
        answer["id"] = own_ids[result.call_id]
    return {"functionResponse": answer}
