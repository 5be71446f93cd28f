"""What may be sent to which model, by the beginning of its name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from typing import Any, Literal

from mma_runtime.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a family of models takes.

    *output_limit* is the name of that field. *stream_usage* asks for usage at the end
    of a stream. *responses* sends the model to the Responses interface. *sampling* is
    `yes`, `no`, or `unless reasoning` where a reasoning effort rules it out. *thinking*
    is how an effort is said: `none`, `budget` in tokens, or `level`. *reasoning* is
    when it thinks unseen, as in `Capabilities`. *context* and *max_output* are in
    tokens, *shutdown* is the day the family ends; `None` is not known. *counts_cached*
    is whether input that was read from a cache counts against the limits of tokens a
    minute.
    """

    output_limit: str = "max_completion_tokens"
    system_role: str = "system"
    stream_usage: bool = True
    responses: bool = False
    sampling: str = "yes"
    effort: bool = False
    thinking: str = "none"
    reasoning: Literal["always", "asked", "never"] = "never"
    tools: bool = True
    forced_choice: bool = True
    parallel_switch: bool = True
    images: bool = True
    json_schema: bool = True
    strict: bool = True
    context: int | None = None
    max_output: int | None = None
    shutdown: date | None = None
    counts_cached: bool = True


_COMPATIBLE = Profile(output_limit="max_tokens", strict=False)
_SWITCHES: dict[str, type] = {
    **dict.fromkeys(("output_limit", "system_role", "sampling"), str),
    **dict.fromkeys(
        ("stream_usage", "effort", "tools", "images", "json_schema", "strict"), bool
    ),
    **dict.fromkeys(("context", "max_output"), int),
}

_GPT = Profile()
_REASONING = Profile(
    system_role="developer", sampling="no", effort=True, reasoning="always"
)

_OPENAI: dict[str, Profile] = {
    "gpt-3.5": Profile(
        images=False, json_schema=False, strict=False, shutdown=date(2026, 10, 23)
    ),
    "gpt-4": Profile(images=False, json_schema=False, strict=False),
    "gpt-4-turbo": Profile(
        json_schema=False, strict=False, context=128_000, shutdown=date(2026, 10, 23)
    ),
    "gpt-4o": Profile(context=128_000, max_output=16_384, shutdown=date(2027, 1, 14)),
    "gpt-4.1": Profile(
        context=1_047_576, max_output=32_768, shutdown=date(2027, 1, 14)
    ),
    "gpt-5": Profile(
        system_role="developer",
        sampling="no",
        reasoning="always",
        effort=True,
        shutdown=date(2026, 12, 11),
    ),
    **dict.fromkeys(
        ("gpt-5.1", "gpt-5.2", "gpt-5.3", "gpt-5.4"),
        Profile(
            system_role="developer",
            sampling="unless reasoning",
            effort=True,
            reasoning="asked",
        ),
    ),
    **dict.fromkeys(("gpt-5.5", "gpt-5.6", "gpt-6"), _REASONING),
    **dict.fromkeys(
        (
            "codex-",
            "gpt-5-codex",
            "gpt-5-pro",
            "gpt-5.1-codex",
            "gpt-5.2-codex",
            "gpt-5.2-pro",
            "o1-pro",
            "o3-pro",
        ),
        replace(_REASONING, responses=True),
    ),
    "o1": Profile(
        system_role="developer",
        sampling="no",
        reasoning="always",
        effort=True,
        parallel_switch=False,
        context=200_000,
        max_output=100_000,
        shutdown=date(2026, 10, 23),
    ),
    "o1-mini": Profile(
        system_role="user",
        sampling="no",
        reasoning="always",
        tools=False,
        parallel_switch=False,
        images=False,
        json_schema=False,
        strict=False,
        context=128_000,
        max_output=65_536,
        shutdown=date(2026, 10, 23),
    ),
    "o3": Profile(
        system_role="developer",
        sampling="no",
        reasoning="always",
        effort=True,
        parallel_switch=False,
        context=200_000,
        max_output=100_000,
        shutdown=date(2026, 12, 11),
    ),
    "o3-mini": Profile(
        system_role="developer",
        sampling="no",
        reasoning="always",
        effort=True,
        parallel_switch=False,
        images=False,
        context=200_000,
        max_output=100_000,
        shutdown=date(2026, 10, 23),
    ),
    "o4-mini": Profile(
        system_role="developer",
        sampling="no",
        reasoning="always",
        effort=True,
        parallel_switch=False,
        context=200_000,
        max_output=100_000,
        shutdown=date(2026, 10, 23),
    ),
}


_CLAUDE = Profile(
    sampling="no",
    thinking="level",
    reasoning="asked",
    context=200_000,
    max_output=64_000,
)
_ANTHROPIC: dict[str, Profile] = {
    "claude-3": Profile(json_schema=False, context=200_000, max_output=4_096),
    "claude-3-5": Profile(json_schema=False, context=200_000, max_output=8_192),
    "claude-3-7": Profile(
        sampling="unless reasoning",
        thinking="budget",
        reasoning="asked",
        json_schema=False,
        context=200_000,
        max_output=64_000,
    ),
    **dict.fromkeys(
        ("claude-sonnet-4", "claude-opus-4"),
        Profile(
            sampling="unless reasoning",
            thinking="budget",
            reasoning="asked",
            json_schema=False,
            context=200_000,
            max_output=32_000,
        ),
    ),
    **dict.fromkeys(
        ("claude-opus-4-5", "claude-haiku-4-5"),
        Profile(
            sampling="unless reasoning",
            thinking="budget",
            reasoning="asked",
            context=200_000,
            max_output=64_000,
        ),
    ),
    "claude-sonnet-4-5": Profile(
        sampling="unless reasoning",
        thinking="budget",
        reasoning="asked",
        context=200_000,
        max_output=64_000,
        shutdown=date(2026, 11, 30),
    ),
    **dict.fromkeys(
        ("claude-opus-4-6", "claude-sonnet-4-6"),
        Profile(
            sampling="unless reasoning",
            thinking="level",
            reasoning="asked",
            context=200_000,
            max_output=64_000,
        ),
    ),
    "claude-opus-4-7": _CLAUDE,
    **dict.fromkeys(
        ("claude-fable-5", "claude-mythos-5"),
        Profile(
            sampling="no",
            thinking="level",
            reasoning="asked",
            forced_choice=False,
            context=200_000,
            max_output=64_000,
        ),
    ),
}

_GEMINI_3 = Profile(
    thinking="level", reasoning="always", context=1_048_576, max_output=65_536
)
_GEMINI: dict[str, Profile] = {
    "gemini-1": Profile(context=1_048_576, max_output=8_192),
    "gemini-2.0": Profile(context=1_048_576, max_output=8_192),
    "gemini-2.5": Profile(
        thinking="budget", reasoning="always", context=1_048_576, max_output=65_536
    ),
}


def compatible_profile(switches: Mapping[str, object]) -> Profile:
    """Return the profile of another server that speaks Chat Completions.

    Raises:
        ConfigurationError: A switch is unknown or has a value of a wrong type.
    """
    for name, value in switches.items():
        if name not in _SWITCHES:
            near = get_close_matches(name, _SWITCHES, n=1)
            question = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"a profile has no switch {name!r}{question}")
        if not isinstance(value, _SWITCHES[name]):
            wanted = _SWITCHES[name].__name__
            raise ConfigurationError(f"the switch {name!r} of a profile is a {wanted}")
    known: dict[str, Any] = dict(switches)
    if known.get("effort"):
        known["reasoning"] = "asked"
    return replace(_COMPATIBLE, **known)


def openai_profile(model: str) -> Profile:
    """Return the profile of an OpenAI model."""
    return _longest(_OPENAI, model.removeprefix("ft:"), _GPT)


def anthropic_profile(model: str) -> Profile:
    """Return the profile of a Claude model; one unknown counts as a new one."""
    profile = _longest(_ANTHROPIC, model, _CLAUDE)
    # Of Claude 3 and 3.5 the models differ in this: they are held to the stricter.
    is_old = model.startswith("claude-3") and not model.startswith("claude-3-7")
    return replace(profile, counts_cached=is_old)


def gemini_profile(model: str) -> Profile:
    """Return the profile of a Gemini model; one unknown counts as a new one."""
    return _longest(_GEMINI, model.removeprefix("models/"), _GEMINI_3)


def may_sample(effort: str | None, profile: Profile) -> bool:
    """Tell whether a temperature may be sent with a reasoning effort of *effort*."""
    if profile.sampling == "unless reasoning":
        return effort in {None, "none"}
    return profile.sampling == "yes"


def _longest(table: dict[str, Profile], name: str, default: Profile) -> Profile:
    prefix = max((key for key in table if name.startswith(key)), key=len, default="")
    return table.get(prefix, default)
