"""The models that a key can use, with their prices; asked for once a day."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import anyio
from pydantic import TypeAdapter, ValidationError

from mma_runtime.llm.pricing import PriceList
from mma_runtime.llm.provider import ModelInfo, Provider
from mma_runtime.llm.usage import Usage
from mma_runtime.registry.credentials import Credentials
from mma_runtime.registry.folders import cache_folder

FRESH_FOR = 24 * 3600.0  # Seconds.
_SAMPLE = 1_000  # Tokens; long requests cost more with some models.


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A model at a provider; *input* and *output* are US dollars per million tokens.

    *context* and *max_output* are in tokens, *shutdown* is the day it ends. `None` is
    unknown.
    """

    address: str
    context: int | None
    max_output: int | None
    shutdown: date | None
    input: Decimal | None
    output: Decimal | None


async def list_models(
    provider: Provider, prices: PriceList, cache: "ListingCache | None" = None
) -> tuple[ListedModel, ...]:
    """Ask *provider* for its models, or *cache* if it was asked within a day.

    Raises:
        ProviderError: The provider did not answer.
    """
    models = await cache.read() if cache is not None else None
    if models is None:
        models = await provider.models()
        if cache is not None:
            await cache.write(models)

    listed = (_listed(provider, model, prices) for model in models)
    return tuple(sorted(listed, key=lambda one: one.address))


class ListingCache:
    """The models of one account in the user's cache folder.

    The file is named for a digest of address and key, so that another key never gets
    its list. A file that cannot be read counts as none.
    """

    def __init__(self, provider: str, credentials: Credentials) -> None:
        key = credentials.api_key.get_secret_value() if credentials.api_key else ""
        account = f"{provider}\0{credentials.base_url}\0{key}".encode()
        name = f"{provider}-{hashlib.sha256(account).hexdigest()[:16]}.json"
        folder = anyio.Path(cache_folder())
        self._path = folder / "models" / name

    async def read(self, now: float | None = None) -> tuple[ModelInfo, ...] | None:
        """Return the models, `None` if they were not asked for within a day."""
        try:
            kept = _KEPT.validate_json(await self._path.read_bytes())
        except (OSError, ValidationError):
            return None

        age = (time.time() if now is None else now) - kept.asked
        return kept.models if 0 <= age < FRESH_FOR else None

    async def write(self, models: tuple[ModelInfo, ...]) -> None:
        """Keep *models*; where that cannot be done they are asked for again."""
        content = _KEPT.dump_json(_Kept(asked=time.time(), models=models))
        temporary = self._path.with_suffix(".new")
        try:
            await self._path.parent.mkdir(parents=True, exist_ok=True)
            await temporary.write_bytes(content)
            await temporary.replace(self._path)
        except OSError:
            return

    async def forget(self) -> None:
        """Drop what is kept."""
        await self._path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    asked: float
    models: tuple[ModelInfo, ...]


_KEPT = TypeAdapter(_Kept)


def record(model: ListedModel) -> Mapping[str, object]:
    """Return *model* as plain values for JSON."""
    return {
        "model": model.address,
        "context": model.context,
        "max_output": model.max_output,
        "shutdown": model.shutdown.isoformat() if model.shutdown else None,
        "input_usd_per_million": _text(model.input),
        "output_usd_per_million": _text(model.output),
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount.normalize():f}"


def _listed(provider: Provider, model: ModelInfo, prices: PriceList) -> ListedModel:
    priced_by, priced_as, _ = provider.priced_as(model.id)
    rates = prices.rates(priced_by, priced_as)

    def per_million(usage: Usage) -> Decimal | None:
        return None if rates is None else rates.cost(usage) * (1_000_000 // _SAMPLE)

    return ListedModel(
        address=f"{provider.name}:{model.id}",
        context=model.context,
        max_output=model.max_output,
        shutdown=model.shutdown,
        input=per_million(Usage(input=_SAMPLE)),
        output=per_million(Usage(output=_SAMPLE)),
    )
