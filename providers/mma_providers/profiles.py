"""What may be sent to which model, by the beginning of its name."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a family of models takes.

    *output_limit* is the name of that field. *sampling* is `yes`, `no`, or `unless
    reasoning` where a reasoning effort rules it out. *context* and *max_output* are in
    tokens, *shutdown* is the day the family ends; `None` is unknown.
    """

    output_limit: str = "max_completion_tokens"
    system_role: str = "system"
    sampling: str = "yes"
    effort: bool = False
    tools: bool = True
    parallel_switch: bool = True
    images: bool = True
    json_schema: bool = True
    strict: bool = True
    context: int | None = None
    max_output: int | None = None
    shutdown: date | None = None


_GPT = Profile()
_REASONING = Profile(system_role="developer", sampling="no", effort=True)

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
        effort=True,
        shutdown=date(2026, 12, 11),
    ),
    **dict.fromkeys(
        ("gpt-5.1", "gpt-5.2", "gpt-5.3", "gpt-5.4"),
        Profile(system_role="developer", sampling="unless reasoning", effort=True),
    ),
    **dict.fromkeys(("gpt-5.5", "gpt-5.6", "gpt-6"), _REASONING),
    "o1": Profile(
        system_role="developer",
        sampling="no",
        effort=True,
        parallel_switch=False,
        context=200_000,
        max_output=100_000,
        shutdown=date(2026, 10, 23),
    ),
    "o1-mini": Profile(
        system_role="user",
        sampling="no",
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
        effort=True,
        parallel_switch=False,
        context=200_000,
        max_output=100_000,
        shutdown=date(2026, 12, 11),
    ),
    "o3-mini": Profile(
        system_role="developer",
        sampling="no",
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
        effort=True,
        parallel_switch=False,
        context=200_000,
        max_output=100_000,
        shutdown=date(2026, 10, 23),
    ),
}


def openai_profile(model: str) -> Profile:
    """Return the profile of *model*: that of the longest name that it begins with."""
    name = model.removeprefix("ft:")
    prefix = max((key for key in _OPENAI if name.startswith(key)), key=len, default="")
    return _OPENAI.get(prefix, _GPT)
