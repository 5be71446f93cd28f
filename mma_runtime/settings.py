"""Settings for all runs of a folder: `mma.toml`, with prices and rate limits."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, ValidationError

from mma_runtime.errors import ConfigurationError
from mma_runtime.governor import Limits
from mma_runtime.llm.pricing import PriceOverride
from mma_runtime.provider_table import ProviderEntry
from mma_runtime.scenario.schema import AccountLimits, Price, Table

FILE = "mma.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for all runs where their scenario does not say otherwise.

    *limits* is by `provider` or `provider:model`.
    """

    prices: tuple[PriceOverride, ...] = ()
    limits: Mapping[str, Limits] = field(default_factory=dict[str, Limits])


NO_SETTINGS = Settings()


class _File(Table):
    # Used by the registry, which must know them before there is a scenario.
    providers: dict[str, ProviderEntry] = Field(default_factory=dict)
    prices: tuple[Price, ...] = ()
    limits: dict[str, AccountLimits] = Field(default_factory=dict)


def load_settings(folder: Path) -> Settings:
    """Read `mma.toml` in *folder*; without the file there are no settings.

    Raises:
        ConfigurationError: It cannot be read or says what it cannot say.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file:
            found = _File.model_validate(tomllib.load(file))
    except FileNotFoundError:
        return NO_SETTINGS
    except ValidationError as error:
        problems = "; ".join(
            ".".join(str(step) for step in detail["loc"]) + f": {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False)
        )
        raise ConfigurationError(f"{path}: {problems}") from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from error

    return Settings(
        prices=tuple(
            PriceOverride(**price.model_dump(), source=FILE) for price in found.prices
        ),
        limits={
            address: Limits(**limits.model_dump())
            for address, limits in found.limits.items()
        },
    )
