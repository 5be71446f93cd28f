"""The providers that are known by name: built in, and from a `providers` table."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mma_runtime.errors import ConfigurationError
from mma_runtime.llm.base_url import base_url_problem
from mma_runtime.registry.credentials import KeyPlaces

SETTINGS_FILE = "mma.toml"

Kind = Literal["openai", "openai-responses", "anthropic", "gemini"]
TARGETS: Mapping[str, str] = {
    "openai": "mma_providers.openai:OpenAIProvider",
    "openai-responses": "mma_providers.openai:OpenAIResponsesProvider",
    "anthropic": "mma_providers.anthropic:AnthropicProvider",
    "gemini": "mma_providers.gemini:GeminiProvider",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """How a provider is found and opened.

    *target* is `package.module:Name`, called with keywords; *options* are some of them.
    *models* are the beginnings of the model names that belong to it, for addresses
    without a provider.
    """

    name: str
    target: str
    places: KeyPlaces = field(default_factory=lambda: KeyPlaces(required=False))
    models: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _checked(address: str) -> str:
    if problem := base_url_problem(address):
        raise ValueError(problem)

    return address


# The pattern is for editors: it says less than the check.
_BaseUrl = Annotated[
    str,
    AfterValidator(_checked),
    Field(json_schema_extra={"pattern": "^https?://"}),
]


class ProviderEntry(BaseModel):
    """A provider of a `providers` table: a server that speaks a known interface."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = Field(default="openai", description="The interface that it speaks.")
    base_url: _BaseUrl | None = Field(
        default=None,
        description="Its address, as the interface's own client takes it.",
    )
    api_key_env: str | None = Field(
        default=None,
        description="The environment variable with its key; none needs no key.",
    )
    profile: Mapping[str, str | int | bool] = Field(
        default={},
        description="For kind `openai`: what it takes, as `output_limit: max_tokens`.",
    )
    cache_ttl: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="For kind `gemini`: seconds that it keeps large prefixes.",
    )
    prices: str | None = Field(
        default=None, description="The provider whose price list holds for its models."
    )

    def spec(self, name: str) -> ProviderSpec:
        """Return how the provider is opened under *name*."""
        options: dict[str, Any] = {"base_url": self.base_url}
        if self.prices is not None:
            options["prices"] = self.prices
        if self.kind == "openai":
            options["profile"] = dict(self.profile)
        if self.kind == "gemini":
            options["cache_ttl"] = self.cache_ttl
        return ProviderSpec(
            name=name,
            target=TARGETS[self.kind],
            places=KeyPlaces(
                keys=(self.api_key_env,) if self.api_key_env else (),
                base_urls=(f"{_upper(name)}_BASE_URL",),
                required=self.api_key_env is not None,
            ),
            options=options,
        )


class _Settings(BaseModel):
    # The file's other keys are read, and checked, where they are used.
    providers: dict[str, ProviderEntry] = {}


def read_providers(folder: Path) -> tuple[ProviderSpec, ...]:
    """Return the providers of *folder*'s `mma.toml`; none where there is no such file.

    Raises:
        ConfigurationError: The file cannot be read or used.
    """
    path = folder / SETTINGS_FILE
    try:
        settings = _Settings.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(key) for key in one['loc'])}:"
            f" {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_input=False)
        )
        raise ConfigurationError(f"{path}: {problems}") from error
    return tuple(entry.spec(name) for name, entry in settings.providers.items())


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")


def _service(
    name: str, keys: tuple[str, ...], models: tuple[str, ...], *base_urls: str
) -> ProviderSpec:
    return ProviderSpec(
        name=name,
        target=TARGETS[name],
        places=KeyPlaces(keys=keys, base_urls=base_urls),
        models=models,
    )


def _preset(
    name: str,
    base_url: str,
    *,
    models: tuple[str, ...] = (),
    key: bool = True,
    **profile: Any,
) -> ProviderSpec:
    upper = _upper(name)
    return ProviderSpec(
        name=name,
        target=TARGETS["openai"],
        places=KeyPlaces(
            keys=(f"{upper}_API_KEY",),
            base_urls=(f"{upper}_BASE_URL",),
            required=key,
        ),
        models=models,
        options={"base_url": base_url, "profile": profile},
    )


BUILT_IN = (
    _service(
        "openai",
        ("OPENAI_API_KEY",),
        ("gpt-", "o1", "o3", "o4", "chatgpt-", "codex-"),
        "OPENAI_BASE_URL",
    ),
    _service("openai-responses", ("OPENAI_API_KEY",), (), "OPENAI_BASE_URL"),
    _service("anthropic", ("ANTHROPIC_API_KEY",), ("claude-",), "ANTHROPIC_BASE_URL"),
    _service(
        "gemini",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        ("gemini-",),
        "GEMINI_BASE_URL",
        "GOOGLE_GEMINI_BASE_URL",
    ),
    ProviderSpec(name="scripted", target="mma_providers.scripted:ScriptedProvider"),
    # Servers that speak Chat Completions; what is said of each is what it lacks.
    _preset(
        "deepseek",
        "https://api.deepseek.com/v1",
        models=("deepseek-",),
        images=False,
        json_schema=False,
    ),
    _preset("openrouter", "https://openrouter.ai/api/v1"),
    _preset(
        "groq",
        "https://api.groq.com/openai/v1",
        output_limit="max_completion_tokens",
    ),
    _preset("xai", "https://api.x.ai/v1", models=("grok-",)),
    _preset(
        "mistral",
        "https://api.mistral.ai/v1",
        models=("mistral-", "ministral-", "codestral-", "magistral-"),
        stream_usage=False,
    ),
    _preset("ollama", "http://127.0.0.1:11434/v1", key=False),
    _preset("vllm", "http://127.0.0.1:8000/v1", key=False),
    _preset("lmstudio", "http://127.0.0.1:1234/v1", key=False),
)
