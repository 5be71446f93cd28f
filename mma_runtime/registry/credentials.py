"""Keys of providers: where they are looked for, and what is said when there is none.

In this order: the environment, `.env` files, `credentials.toml` files. What is written
out in a scenario is never a key.
"""

import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import SecretStr, TypeAdapter, ValidationError

from mma_runtime.errors import (
    ConfigurationError,
    CredentialsMissing,
    CredentialsUnusable,
)
from mma_runtime.llm.base_url import base_url_problem
from mma_runtime.registry.folders import config_folder

CREDENTIALS_FILE = "credentials.toml"
ENV_FILE = ".env"
SECRET_NAME = re.compile(
    r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE
)
"""How the names of variables end whose values are secret."""

_SECTIONS = TypeAdapter(dict[str, dict[str, str]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a provider is opened with; *source* says where the key was found.

    *api_key* is `None` for a server that wants none; *base_url* is `None` for the
    provider's own address.
    """

    api_key: SecretStr | None
    base_url: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlaces:
    """The environment variables that may hold a provider's key and address.

    The first that is set and not empty counts.
    """

    keys: Sequence[str] = ()
    base_urls: Sequence[str] = ()
    required: bool = True


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    values: Mapping[str, str]


class CredentialStore:
    """Finds keys in *environment* and in the files of *folders*, read on first use.

    A `.env` in the first folder that has one never overrides the environment.
    `credentials.toml` is looked for in each folder, then in the user's configuration
    folder.
    """

    def __init__(
        self, environment: Mapping[str, str], folders: Iterable[Path] = ()
    ) -> None:
        self._environment = environment
        self._folders = tuple(dict.fromkeys(folders))
        self._dotenv: _Place | None = None
        self._tables: dict[Path, Mapping[str, Mapping[str, str]]] = {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The `credentials.toml` files that may be there, in order."""
        folders = (*self._folders, config_folder())
        return tuple(folder / CREDENTIALS_FILE for folder in folders)

    @property
    def key_files(self) -> tuple[Path, ...]:
        """All files that may hold keys, there or not."""
        return (*self.files, *(folder / ENV_FILE for folder in self._folders))

    def find(self, provider: str, places: KeyPlaces) -> Credentials:
        """Return *provider*'s key and address; opens no connection, imports no SDK.

        A provider that takes neither has none, and no file is read for it.

        Raises:
            CredentialsMissing: No place holds a key and the provider needs one.
            CredentialsUnusable: The key holds what cannot be sent.
            ConfigurationError: A file with keys is broken, others can read it, or the
                address is none.
        """
        if not places.keys and not places.base_urls:
            return Credentials(api_key=None, base_url=None, source="")

        environment = (_Place("", self._environment), *self._env_files())
        base_url = _first(environment, places.base_urls)
        key = _first(environment, places.keys)
        if key is None:
            tables = list(self._sections(provider))
            key = _first(tables, ["api_key"])
            base_url = base_url or _first(tables, ["base_url"])
        if key is None and places.required:
            raise self._missing(provider, places)

        # What can be in a header: SDKs fail on others in ways of their own.
        if key is not None and not (key.value.isascii() and key.value.isprintable()):
            raise CredentialsUnusable(provider, key.source)

        if base_url is not None and (problem := base_url_problem(base_url.value)):
            # Not told: it may be a key that was put into the wrong variable.
            raise ConfigurationError(
                f"the address for {provider!r} from {base_url.source} {problem}"
            )

        return Credentials(
            api_key=None if key is None else SecretStr(key.value),
            base_url=None if base_url is None else base_url.value,
            source="" if key is None else key.source,
        )

    def variable(self, name: str) -> str | None:
        """Return the value of the variable *name*, of the environment or of `.env`."""
        found = _first((_Place("", self._environment), *self._env_files()), [name])
        return found.value if found is not None else None

    def secrets(self) -> tuple[tuple[str, str], ...]:
        """Return names and values of what files hold, to keep it out of all writing.

        Of a `.env` that is what is called like a secret. A file with keys that cannot
        be used has none.
        """
        found: list[tuple[str, str]] = []
        with suppress(ConfigurationError):
            (dotenv,) = self._env_files()
            found += [
                one for one in dotenv.values.items() if SECRET_NAME.search(one[0])
            ]

        for path in self.files:
            with suppress(ConfigurationError):
                if path not in self._tables:
                    self._tables[path] = _read_table(path)

                found += [
                    (f"{path.stem}.{provider}", table["api_key"])
                    for provider, table in self._tables[path].items()
                    if "api_key" in table
                ]

        return tuple(found)

    def _env_files(self) -> tuple[_Place, ...]:
        if self._dotenv is None:
            found = (folder / ENV_FILE for folder in self._folders)
            path = next((path for path in found if path.is_file()), None)
            self._dotenv = _Place(str(path or ""), _read_env(path) if path else {})
        return (self._dotenv,)

    def _sections(self, provider: str) -> Iterable[_Place]:
        for path in self.files:
            if path not in self._tables:
                self._tables[path] = _read_table(path)
            section = self._tables[path].get(provider, {})
            yield _Place(str(path), section)

    def _missing(self, provider: str, places: KeyPlaces) -> CredentialsMissing:
        files = [folder / ENV_FILE for folder in self._folders]
        first = f"Set {places.keys[0]}, or write" if places.keys else "Write"
        return CredentialsMissing(
            provider,
            places.keys,
            [str(path) for path in (*files, *self.files)],
            f"{first} this into {self.files[-1]} and `chmod 600` it:\n"
            f'\n    [{provider}]\n    api_key = "..."\n',
        )


@dataclass(frozen=True, slots=True)
class _Found:
    value: str
    source: str


def _first(places: Iterable[_Place], names: Sequence[str]) -> _Found | None:
    for place in places:
        for name in names:
            value = place.values.get(name, "").strip()
            if value:
                source = f"{name} in {place.name}" if place.name else name
                return _Found(value, source)
    return None


def _read_env(path: Path) -> Mapping[str, str]:
    # By name: most programs have no such file.
    read: Callable[..., dict[str, str | None]] = import_module("dotenv").dotenv_values
    try:
        values = read(path, interpolate=False)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not chained: it holds the file, and so its keys.
        raise ConfigurationError(f"{path} is not UTF-8 text") from None

    return {name: value for name, value in values.items() if value is not None}


def _read_table(path: Path) -> Mapping[str, Mapping[str, str]]:
    """Return the sections of a file with keys; an empty table where there is none."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigurationError(
                    f"{path} holds keys and others can read it; run `chmod 600 {path}`"
                )
            sections: dict[str, Any] = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # Not chained: the parser's error may quote the line, and so the key.
        problem = f"{path} is not TOML; write [PROVIDER] and api_key below it"
        raise ConfigurationError(problem) from None

    try:
        return _SECTIONS.validate_python(sections, strict=True)
    except ValidationError:
        # Not chained either: it quotes what it was given.
        problem = f"{path} holds something else than [PROVIDER] tables of texts"
        raise ConfigurationError(problem) from None
