"""The governor: the gates of a process, for all tiers and runs."""

import weakref
from collections.abc import Mapping

from anyio.lowlevel import RunVar

from mma_runtime.governor.breaker import Breaker
from mma_runtime.governor.gate import Account, Gate
from mma_runtime.llm.provider import Provider
from mma_runtime.rate_limits import Limits


class Governor:
    """The gates of a process: one for each model of each provider account.

    Providers count most limits per model. What is configured for a whole provider holds
    for all its models together, besides. Where runs configure different figures for the
    same thing, the stricter one holds.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._kept: list[Provider] = []

    def gate(
        self, provider: Provider, model: str, limits: Mapping[str, Limits]
    ) -> Gate:
        """Return the gate of *model*; *limits* is by `provider` or `provider:model`."""
        name, account = provider.name, self._account(provider)
        gate = account.gates.get(model)
        if gate is None:
            gate = Gate(
                adapts=provider.priced_as(model)[2],
                counts_cached=provider.capabilities(model).counts_cached,
                provider=name,
                model=model,
                account=account,
            )

        if name in limits:
            account.configure(limits[name])

        address = f"{name}:{model}"
        if address in limits:
            gate.configure(limits[address])

        return gate

    def breaker(self, provider: Provider, model: str) -> Breaker:
        """Return what remembers whether *model* is available."""
        return self._account(provider).breaker(model)

    def _account(self, provider: Provider) -> Account:
        # As `Accounted` has it; asking for a protocol's type takes long.
        name: str | None = getattr(provider, "account", None)
        key = f"{provider.name}@{id(provider)}" if name is None else name
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account()
            if name is None:
                self._forget_with(provider, key)

        return account

    def _forget_with(self, provider: Provider, key: str) -> None:
        """Drop its account when *provider* is gone: another may get its `id`."""
        try:
            weakref.finalize(provider, self._accounts.pop, key, None).atexit = False
        except TypeError:
            # Its class has slots, and none for weak references.
            self._kept.append(provider)


_shared: RunVar[Governor] = RunVar("governor")


def shared_governor() -> Governor:
    """Return the governor that all runtimes of this event loop share."""
    governor = _shared.get(None)
    if governor is None:
        governor = Governor()
        _shared.set(governor)

    return governor
