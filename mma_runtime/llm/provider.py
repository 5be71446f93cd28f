"""The one seam between the runtime and a provider of models."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol, runtime_checkable

from mma_runtime.llm.chat import ChatRequest, Chunk, Completion
from mma_runtime.llm.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One model that a key can use.

    *context* and *max_output* are in tokens; *shutdown* is the day it ends. `None` is
    unknown.
    """

    id: str
    context: int | None = None
    max_output: int | None = None
    shutdown: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What may be sent to a model; *shutdown* is the day it ends, if that is known.

    *max_output* is the most tokens that one answer may have, hidden reasoning included,
    *context* how many tokens one request may have; `None` is unknown. *default_output*
    is the limit in tokens that is sent where nobody sets one; `None` is none.
    *reasoning* tells when it thinks what may not be shown: `always` unless the effort
    is `none`, `asked` where an effort is asked for, or `never`. *counts_cached* tells
    whether input that is read from a cache counts against limits of tokens a minute.
    """

    tools: bool = True
    images: bool = True
    temperature: bool = True
    json_schema: bool = True
    shutdown: date | None = None
    max_output: int | None = None
    context: int | None = None
    counts_cached: bool = True
    default_output: int | None = None
    reasoning: Literal["always", "asked", "never"] = "never"

    def thinks(self, effort: str | None) -> bool:
        """Whether tokens that nobody sees may be billed with this reasoning effort."""
        if self.reasoning == "always":
            return effort != "none"

        return self.reasoning == "asked" and effort not in {None, "none"}


@runtime_checkable
class Accounted(Protocol):
    """What a `Provider` may have besides, where several of it share rate limits."""

    @property
    def account(self) -> str:
        """What the limits are counted for: the service, and whose key it is.

        Two providers with the same one share a gate. The key itself is not in it.
        """
        ...


class Provider(Protocol):
    """A source of completions: one account at one service, or a double of it.

    Raises only `ProviderError` and its kin. Made by a plain call without an event loop;
    it opens connections on first use and `aclose` closes them.
    """

    @property
    def name(self) -> str:
        """The name in `provider:model` addresses."""
        ...

    def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Usage | Completion, None]:
        """Send *request*, yield chunks as they come and one `Completion` at the end.

        A `Usage` between them says what is billed as far as the service has told it:
        what counts where the answer breaks off. Its output is 0 until that is told.

        Close the generator (`contextlib.aclosing`) to leave early. Cancellation closes
        the connection and is never caught.
        """
        ...

    async def models(self) -> tuple[ModelInfo, ...]:
        """List the models that the key can use. Cancellation ends the request."""
        ...

    def capabilities(self, model: str) -> Capabilities:
        """Say what may be sent to *model*; asks nobody."""
        ...

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        """Return the price list's provider and model for *model*, and if it is billed.

        A scripted model is priced as the one it stands in for and is never billed.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections. Safe to call twice, also after a cancelled call."""
        ...
