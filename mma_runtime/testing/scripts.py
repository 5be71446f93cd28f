"""A scripted model from plain tables, without a file."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from mma_runtime.llm.provider import Provider


def scripted_provider(
    *replies: Mapping[str, Any],
    stands_in_for: Mapping[str, str] | None = None,
    name: str = "replies",
) -> Provider:
    """Return a provider that says *replies*, as one with a script file would.

    A reply is a table with `tier` and, where need be, the other matchers (`task`,
    `track`, `ticket`, `attempt`, `turn`, `contains`), and with what is said: `text`,
    `tool_calls`, `usage` and so on. *stands_in_for* maps tiers to `provider:model`,
    whose prices then count. Give it to `Runtime(providers=[...])`, and each tier the
    model `replies:TIER`.

    Raises:
        pydantic.ValidationError: A reply is none; names every problem.
    """
    # By its name: the runtime does not know the providers.
    module = import_module("mma_providers.scripted")
    script = module.Script(stands_in_for=stands_in_for or {}, replies=replies)
    provider: Provider = module.ScriptedProvider(script, name=name)
    return provider
