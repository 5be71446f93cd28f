"""Providers by name: as strings that are loaded on first use, never as imports.

Third parties add theirs by an entry point of the group `mma.providers`.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from mma_runtime.errors import (
    ConfigurationError,
    UnknownProvider,
    did_you_mean,
    nearest,
)
from mma_runtime.llm.provider import Provider
from mma_runtime.registry.credentials import Credentials, CredentialStore, KeyPlaces
from mma_runtime.registry.table import BUILT_IN, ProviderSpec, read_providers

ENTRY_POINTS = "mma.providers"


@dataclass(frozen=True, slots=True)
class Address:
    """A model of a provider; `str` gives `provider:model`."""

    provider: str
    model: str

    def __str__(self) -> str:
        """Return the address as it is written in a scenario."""
        return f"{self.provider}:{self.model}"


class Registry:
    """The providers that can be named: built in, given here, or installed.

    *specs* come before installed ones and replace built-in ones of the same name, and
    so do those of `mma.toml` in *folders*. Keys are looked for in *environment* and in
    the files of *folders*.
    """

    def __init__(
        self,
        specs: Iterable[ProviderSpec] = (),
        *,
        environment: Mapping[str, str] = os.environ,
        folders: Iterable[Path] = (),
    ) -> None:
        self._environment = environment
        self.folders: tuple[Path, ...] = tuple(folders)
        self._given = tuple(specs)
        found = (spec for folder in self.folders for spec in read_providers(folder))
        self._specs = {spec.name: spec for spec in (*BUILT_IN, *found, *self._given)}
        self._credentials = CredentialStore(environment, self.folders)

    def extended(
        self, specs: Iterable[ProviderSpec] = (), *, folders: Iterable[Path] = ()
    ) -> "Registry":
        """Return a registry that knows *specs* too and looks into *folders* first."""
        return Registry(
            (*specs, *self._given),
            environment=self._environment,
            folders=(*folders, *self.folders),
        )

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
            ConfigurationError: The key or the address cannot be used, or a file that
                may hold them.
        """
        spec = self.spec(name)
        found = self._credentials.find(name, spec.places)
        return replace(found, base_url=found.base_url or spec.options.get("base_url"))

    @property
    def key_files(self) -> tuple[Path, ...]:
        """The files in which keys are looked for, there or not."""
        return self._credentials.key_files

    def secrets(self) -> tuple[tuple[str, str], ...]:
        """Return the keys that files hold, of any provider, to keep them hidden.

        Each comes after a name that tells people which one it is.
        """
        return self._credentials.secrets()

    def variable(self, name: str) -> str | None:
        """Return the value of a variable, of the environment or of a `.env` file."""
        return self._credentials.variable(name)

    def is_loaded(self, name: str) -> bool:
        """Whether opening *name* imports nothing; raises as `spec`."""
        return self.spec(name).target.partition(":")[0] in sys.modules

    def load(self, names: Iterable[str]) -> None:
        """Import the SDKs of the providers with these *names*: up to seconds.

        Raises:
            UnknownProvider: Nothing has one of the names, or it cannot be loaded.
        """
        for name in names:
            _load(self.spec(name))

    def open_provider(self, name: str, **options: Any) -> Provider:
        """Load provider *name* and make it with its credentials and *options*.

        Opens no connection. The caller closes it with `aclose`.

        Raises:
            UnknownProvider: Nothing has that name, or it cannot be loaded.
            CredentialsMissing: It needs a key and none was found.
            ConfigurationError: As in `credentials_for`.
        """
        spec = self.spec(name)
        settings = dict(spec.options)
        if spec.places.keys or spec.places.base_urls:
            found = self.credentials_for(name)
            settings["api_key"] = found.api_key
            if found.base_url is not None:
                settings["base_url"] = found.base_url
        return cast("Provider", _load(spec)(name=name, **(settings | options)))

    def _providers_of(self, model: str) -> list[str]:
        name = model.strip().removeprefix("ft:")
        return [
            spec.name for spec in self._specs.values() if name.startswith(spec.models)
        ]

    def _suggestion(self, name: str) -> str:
        known = ", ".join(sorted(self.names))
        return f"is not known{did_you_mean(name, self.names)} (known are {known})"

    def _no_single_provider(self, model: str, candidates: list[str]) -> str:
        if not model:
            return "a model is missing; write PROVIDER:MODEL"
        if candidates:
            ways = " or ".join(f"{name}:{model}" for name in candidates)
            return f"more than one provider can serve {model!r}; write {ways}"
        if model in self or model in _installed():
            return f"{model!r} names a provider but no model; write {model}:MODEL"

        known = {part: spec for spec in self._specs.values() for part in spec.models}
        near = nearest(model.partition("-")[0] + "-", known)
        question = f"; did you mean a model of `{known[near].name}`?" if near else ""
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
