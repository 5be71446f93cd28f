"""Keys of providers: where they are looked for, and what is said when there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from mma_runtime.errors import CredentialsMissing


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


def find_credentials(
    provider: str, places: KeyPlaces, environment: Mapping[str, str]
) -> Credentials:
    """Return *provider*'s key and address; opens no connection, imports no SDK.

    Raises:
        CredentialsMissing: No place holds a key and the provider needs one.
    """
    set_urls = (environment.get(name, "").strip() for name in places.base_urls)
    base_url = next(filter(None, set_urls), None)
    for name in places.keys:
        value = environment.get(name, "").strip()
        if value:
            return Credentials(api_key=SecretStr(value), base_url=base_url, source=name)

    if places.required:
        looked_in = [f"environment variable {name}" for name in places.keys]
        raise CredentialsMissing(provider, looked_in, f"Set {places.keys[0]}")

    return Credentials(api_key=None, base_url=base_url, source="")
