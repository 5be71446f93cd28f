"""Providers by name: as strings that are loaded on first use, never as imports.

Third parties add theirs by an entry point of the group `mma.providers`.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from mma_runtime.credentials import Credentials, KeyPlaces, find_credentials
from mma_runtime.errors import ConfigurationError, UnknownProvider
from mma_runtime.llm.provider import Provider

ENTRY_POINTS = "mma.providers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """How a provider is found and opened.

    *target* is `package.module:Name`, called with keywords. *models* are the beginnings
    of the model names that belong to it, for addresses without a provider.
    """

    name: str
    target: str
    places: KeyPlaces = field(default_factory=lambda: KeyPlaces(required=False))
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """A model of a provider; `str` gives `provider:model`."""

    provider: str
    model: str

    def __str__(self) -> str:
        """Return the address as it is written in a scenario."""
        return f"{self.provider}:{self.model}"


BUILT_IN = (
    ProviderSpec(
        name="openai",
        target="mma_providers.openai:OpenAIProvider",
        places=KeyPlaces(keys=("OPENAI_API_KEY",), base_urls=("OPENAI_BASE_URL",)),
        models=("gpt-", "o1", "o3", "o4", "chatgpt-"),
    ),
    ProviderSpec(
        name="anthropic",
        target="mma_providers.anthropic:AnthropicProvider",
        places=KeyPlaces(
            keys=("ANTHROPIC_API_KEY",), base_urls=("ANTHROPIC_BASE_URL",)
        ),
        models=("claude-",),
    ),
    ProviderSpec(
        name="gemini",
        target="mma_providers.gemini:GeminiProvider",
        places=KeyPlaces(
            keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            base_urls=("GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"),
        ),
        models=("gemini-",),
    ),
    ProviderSpec(name="scripted", target="mma_providers.scripted:ScriptedProvider"),
)


class Registry:
    """The providers that can be named: built in, given here, or installed.

    *specs* come before installed ones and replace built-in ones of the same name.
    """

    def __init__(
        self,
        specs: Iterable[ProviderSpec] = (),
        *,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._environment = environment
        self._specs = {spec.name: spec for spec in (*BUILT_IN, *specs)}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all providers, installed ones included."""
        return (*self._specs, *(name for name in _installed() if name not in self))

    def __contains__(self, name: object) -> bool:
        """Tell whether *name* is built in or was given; installed ones are not read."""
        return name in self._specs

    def spec(self, name: str) -> ProviderSpec:
        """Return the spec of provider *name*.

        Raises:
            UnknownProvider: Nothing has that name.
        """
        spec = self._specs.get(name)
        if spec is None:
            target = _installed().get(name)
            if target is None:
                raise UnknownProvider(name, self._suggestion(name))
            key = name.upper().replace("-", "_")
            spec = ProviderSpec(
                name=name,
                target=target,
                places=KeyPlaces(
                    keys=(f"{key}_API_KEY",),
                    base_urls=(f"{key}_BASE_URL",),
                    required=False,
                ),
            )
        return spec

    def parse_address(self, text: str) -> Address:
        """Read `provider:model`, `provider/model`, or a model that only one can serve.

        The provider need not be installed; `credentials_for` and `open_provider` check.

        Raises:
            UnknownProvider: The part before the separator names no provider.
            ConfigurationError: There is no model, or no single provider for it.
        """
        provider, separator, model = _split(text.strip())
        if separator and provider not in self and provider not in _installed():
            # A model's own name may hold a separator: `ft:gpt-4o-mini:org::id`.
            by_model = self._providers_of(text)
            if separator == ":" and len(by_model) == 1:
                return Address(by_model[0], text.strip())
            raise UnknownProvider(provider, self._suggestion(provider))

        if separator:
            if not model:
                raise ConfigurationError(
                    f"{text!r} names no model; write {provider}:MODEL"
                )
            return Address(provider, model)

        candidates = self._providers_of(provider)
        if len(candidates) == 1:
            return Address(candidates[0], provider)
        raise ConfigurationError(self._no_single_provider(provider, candidates))

    def credentials_for(self, name: str) -> Credentials:
        """Return the key and address of *name*; loads no SDK and sends nothing.

        Raises:
            UnknownProvider: Nothing has that name.
            CredentialsMissing: No key was found; says where it was looked for.
        """
        spec = self.spec(name)
        return find_credentials(name, spec.places, self._environment)

    def open_provider(self, name: str, **options: Any) -> Provider:
        """Load provider *name* and make it with its credentials and *options*.

        Opens no connection. The caller closes it with `aclose`.

        Raises:
            UnknownProvider: Nothing has that name, or it cannot be loaded.
            CredentialsMissing: It needs a key and none was found.
        """
        spec = self.spec(name)
        if spec.places.keys:
            found = self.credentials_for(name)
            options = {
                "api_key": found.api_key,
                "base_url": found.base_url,
            } | options
        return cast("Provider", _load(spec)(name=name, **options))

    def _providers_of(self, model: str) -> list[str]:
        name = model.strip().removeprefix("ft:")
        return [
            spec.name for spec in self._specs.values() if name.startswith(spec.models)
        ]

    def _suggestion(self, name: str) -> str:
        near = get_close_matches(name, self.names, n=1)
        question = f"did you mean {near[0]!r}? " if near else ""
        return f"is not known; {question}Known are {', '.join(sorted(self.names))}"

    def _no_single_provider(self, model: str, candidates: list[str]) -> str:
        if not model:
            return "a model is missing; write PROVIDER:MODEL"
        if candidates:
            ways = " or ".join(f"{name}:{model}" for name in candidates)
            return f"more than one provider can serve {model!r}; write {ways}"
        if model in self or model in _installed():
            return f"{model!r} names a provider but no model; write {model}:MODEL"

        known = {part: spec for spec in self._specs.values() for part in spec.models}
        near = get_close_matches(model.partition("-")[0] + "-", known, n=1)
        question = f"; did you mean a model of {known[near[0]].name!r}?" if near else ""
        return (
            f"{model!r} does not say which provider serves it{question};"
            f" write PROVIDER:{model}"
        )


def _split(text: str) -> tuple[str, str, str]:
    colon, slash = text.find(":"), text.find("/")
    if slash != -1 and (colon == -1 or slash < colon):
        return text.partition("/")
    return text.partition(":")


def _installed() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


def _load(spec: ProviderSpec) -> Any:
    module, _, attribute = spec.target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownProvider(
            spec.name, f"{spec.target} cannot be loaded: {error}"
        ) from error
