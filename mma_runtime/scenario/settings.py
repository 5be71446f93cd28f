"""Settings for all runs of a folder: `mma.toml`.

Prices, rate limits, MCP servers, and what walls commands in.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from mma_runtime.arguments import check_flag, check_kind, several
from mma_runtime.errors import ConfigurationError
from mma_runtime.llm.pricing import PriceOverride
from mma_runtime.rate_limits import Limits
from mma_runtime.registry.table import SETTINGS_FILE as FILE
from mma_runtime.scenario.checks import server_findings
from mma_runtime.scenario.spending import AccountLimits, Price
from mma_runtime.scenario.table import Table
from mma_runtime.scenario.toolset import McpServerEntry, Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for all runs where their scenario does not say otherwise.

    *limits* is by `provider` or `provider:model`, *mcp_servers* by name. Without
    *capture_content* no run's prompts and replies are recorded.

    Raises:
        ArgumentInvalid: One of them is of another kind.
    """

    prices: tuple[PriceOverride, ...] = ()
    limits: Mapping[str, Limits] = field(default_factory=dict[str, Limits])
    sandbox: Sandbox | None = None
    capture_content: bool = True
    mcp_servers: Mapping[str, McpServerEntry] = field(
        default_factory=dict[str, McpServerEntry]
    )

    def __post_init__(self) -> None:
        """Check what was given."""
        for place, price in enumerate(several("prices", self.prices, "several prices")):
            check_kind(f"prices[{place}]", price, PriceOverride, "a `PriceOverride`")

        check_kind("limits", self.limits, Mapping, "a table of addresses and `Limits`")
        check_kind("mcp_servers", self.mcp_servers, Mapping, "a table of servers")
        check_flag("capture_content", self.capture_content)

    def before(self, others: "Settings") -> "Settings":
        """Return both, these first."""
        return Settings(
            prices=(*self.prices, *others.prices),
            limits={**others.limits, **self.limits},
            sandbox=self.sandbox or others.sandbox,
            capture_content=self.capture_content and others.capture_content,
            mcp_servers={**others.mcp_servers, **self.mcp_servers},
        )


NO_SETTINGS = Settings()


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error

    return text


class _Price(Price):
    match: Annotated[str, AfterValidator(_pattern)]


class _File(Table):
    # The file's other keys are read, and checked, where they are used.
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", frozen=True)

    prices: tuple[_Price, ...] = ()
    limits: dict[str, AccountLimits] = Field(default_factory=dict[str, AccountLimits])
    sandbox: Sandbox | None = None
    capture_content: bool = True
    mcp_servers: dict[str, McpServerEntry] = Field(
        default_factory=dict[str, McpServerEntry]
    )


def load_settings(folders: Iterable[Path]) -> Settings:
    """Read the `mma.toml` files in *folders*, the first folder's before the others'.

    A folder without one has no settings.

    Raises:
        ConfigurationError: One cannot be read or says what it cannot say.
    """
    settings = NO_SETTINGS
    for folder in dict.fromkeys(folders):
        settings = settings.before(_read(folder / FILE))

    return settings


def _read(path: Path) -> Settings:
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

    servers = {name: entry.model_dump() for name, entry in found.mcp_servers.items()}
    if problems := "; ".join(map(str, server_findings(servers))):
        raise ConfigurationError(f"{path}: {problems}")

    return Settings(
        prices=tuple(
            PriceOverride(**price.model_dump(), source=FILE) for price in found.prices
        ),
        limits={
            address: Limits(**limits.model_dump())
            for address, limits in found.limits.items()
        },
        sandbox=found.sandbox,
        capture_content=found.capture_content,
        mcp_servers={
            name: entry.beside(path.parent) for name, entry in found.mcp_servers.items()
        },
    )
