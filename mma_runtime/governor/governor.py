"""The governor: one gate per provider account, for all tiers and runs of a process."""

from collections.abc import Mapping
from math import inf

import anyio
from anyio.lowlevel import RunVar

from mma_runtime.errors import ProviderError, ProviderFacts, RateLimited
from mma_runtime.governor.breaker import Breaker
from mma_runtime.governor.pacing import Throttle
from mma_runtime.governor.queueing import Demand, Permit, Queue, Waiter
from mma_runtime.governor.windows import Amounts, Windows, amounts_of
from mma_runtime.llm.provider import Provider
from mma_runtime.llm.usage import Usage
from mma_runtime.rate_limits import NO_LIMITS, Limits, RateLimits

PAUSE = (1.0, 60.0)
"""How long a refused account rests, in seconds: at first and, doubling, at most."""

PATIENCE = 300.0
"""How long an account may refuse all requests until those who wait get the error."""


OPEN = Permit(Demand(), -inf)
"""The permit of a gate that holds nobody up."""

# How many refusals a provider is believed that names a time.
_WORDS = 4

# Shorter waits are rounding errors of the clock, in seconds.
_TICK = 1e-6


class Gate:
    """Lets requests of one account through as fast as its provider takes them.

    What is known of its limits, from configuration and from answers, is kept to here,
    so that no request is sent that would be refused. What is not known is felt for. A
    refusal stops all callers; then one of them tries, and the others follow if that
    goes well. Who waits is served by tier, by turns between runs, and by time.

    Without *adapts* only known limits hold: for models that are no service. Without
    *learns* what answers say of limits is not taken over: they speak of one model.
    Without *counts_cached* input that was read from a cache is not limited. *provider*
    and *model* are for errors.
    """

    def __init__(
        self,
        limits: Limits = NO_LIMITS,
        *,
        adapts: bool = True,
        learns: bool = True,
        counts_cached: bool = True,
        provider: str = "",
        model: str = "",
    ) -> None:
        self.in_flight: int = 0
        self._facts = ProviderFacts(provider=provider, model=model)
        self._counts_cached = counts_cached
        self._learns = learns
        self._most: int | None = None
        self._windows = Windows()
        self._throttle = Throttle() if adapts else None
        self._queue = Queue()
        self._waiting = 0
        self._keeper: Waiter | None = None
        self._wake_at = inf
        self._keeps_until = inf
        self._sent_at = -inf
        self._paused_until = -inf
        self._strikes = 0
        self._refused_since = inf
        self._on_trial = False
        self._probe: Permit | None = None
        self._refusal: ProviderError | None = None
        self._output = 512.0
        # The part of the input that counts.
        self._uncached = 1.0
        self.configure(limits)

    @property
    def is_open(self) -> bool:
        """Whether nothing at all is known that would hold a request up."""
        return self._throttle is None and not self._windows and not self._on_trial

    @property
    def counts_tokens(self) -> bool:
        """Whether a demand needs to say how large it is."""
        return self._windows.counts_tokens

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return self._waiting

    @property
    def limits(self) -> dict[str, int]:
        """The limits a minute that it keeps to, by unit: `requests`, `tokens`, …"""
        return self._windows.limits

    @property
    def most_in_flight(self) -> int | None:
        """How many requests may be under way; `None`: any number."""
        return None if self._throttle is None else max(1, int(self._throttle.limit))

    def paused_for(self) -> float:
        """Return the seconds that the account rests yet."""
        return max(0.0, self._paused_until - anyio.current_time())

    def configure(self, limits: Limits) -> None:
        """Keep to *limits*; what they leave open stays as it is."""
        self._windows.configure(limits)
        if limits.in_flight is not None and limits.in_flight != self._most:
            self._most = limits.in_flight
            self._throttle = Throttle(self._most, self._most)

    def enter_nowait(self, demand: Demand) -> Permit | None:
        """Return a permit if one is free; `None` is to wait with `enter`."""
        if self.is_open:
            self.in_flight += 1
            return OPEN

        if self._waiting:
            return None

        now = anyio.current_time()
        amounts = self._amounts_of(demand)
        if self._wait(amounts, now):
            return None

        return self._grant(demand, amounts, now)

    async def enter(self, demand: Demand) -> Permit:
        """Wait for a permit.

        A cancelled wait leaves nothing behind. Raises the provider's refusal when the
        account rests for longer than the caller waits, or when it has refused everybody
        for longer than `PATIENCE`: then one caller may try after each rest.
        """
        rest = self.paused_for()
        if rest and self._refusal is not None:
            now = anyio.current_time()
            final = self._final(self._refusal, rest, now, demand.patience)
            if final is not None:
                raise final

        waiter = Waiter(demand, demand.since or anyio.current_time())
        self._queue.push(waiter)
        self._waiting += 1
        try:
            self._pump()
            while waiter.permit is None and waiter.error is None:
                await self._watch(waiter)
        except BaseException:
            if waiter.permit is not None:
                self.leave(waiter.permit, sent=False)

            raise
        finally:
            if waiter.permit is None:
                waiter.gone = True
                self._waiting -= 1

            if self._keeper is waiter:
                self._keeper = None
                self._appoint()

        if waiter.permit is None:
            assert waiter.error is not None  # noqa: S101 - one of them ended the wait
            raise waiter.error

        return waiter.permit

    def accepted(self, permit: Permit) -> None:
        """Note that the provider has begun to answer: the request was not refused."""
        if permit.is_probe and self._probe is permit:
            self._probe = None
            self._on_trial = False
            self._strikes = 0
            self._refused_since = inf
            if self._throttle is not None:
                self._throttle.reopened(self.in_flight)

            self._pump()

    def succeeded(
        self, permit: Permit, usage: Usage, limits: RateLimits | None = None
    ) -> None:
        """Give *permit* back after an answer; *limits* is what its head said."""
        if permit is OPEN and limits is None:
            self._leave(permit)
            return

        self._output += (usage.output - self._output) / 8
        throttle = self._throttle
        if throttle is not None and throttle.is_full(self.in_flight):
            now = anyio.current_time()
            throttle.succeeded(now - permit.sent_at, now)

        if permit.charges:
            self._windows.correct(permit.charges, self._counted(usage))

        if limits is not None:
            is_last = self.in_flight == 1 and permit.sent_at == self._sent_at
            self.learn(limits, is_last=is_last)

        if permit.is_probe:
            self.accepted(permit)

        self._leave(permit)

    def refused(self, permit: Permit, error: ProviderError) -> None:
        """Give *permit* back after the provider has refused: all callers rest."""
        now = anyio.current_time()
        if self._throttle is not None:
            pressed = isinstance(error, RateLimited) and self._waiting > 0
            self._throttle.refused(self.in_flight, permit.sent_at, now, pressed=pressed)

        rest = error.facts.retry_after
        if permit.is_probe or not self._on_trial:
            self._strikes += 1
            # Who names a time is taken at its word, until that has failed repeatedly.
            doublings = self._strikes - (1 if rest is None else _WORDS)
            least = PAUSE[0] * 2.0**doublings if doublings >= 0 else 0.0
            rest = max(rest or 0.0, min(least, PAUSE[1]))

        if rest is not None:
            self._paused_until = max(self._paused_until, now + rest)

        self._on_trial = True
        self._refusal = error
        self._refused_since = min(self._refused_since, now)
        if rest is not None:
            self._turn_away(error, rest, now)

        self._leave(permit)

    def leave(self, permit: Permit, *, sent: bool = True) -> None:
        """Give *permit* back after a call that says nothing of the limits."""
        if not sent:
            self._windows.give_back(permit.charges)

        self._leave(permit)

    def learn(self, limits: RateLimits, *, is_last: bool = False) -> None:
        """Keep to what an answer, good or bad, has said of the limits.

        *is_last* tells that no other request is under way, or was sent since. Where a
        day's limit is used up, all callers rest until there is something left again.
        """
        if not self._learns:
            return

        now = anyio.current_time()
        self._windows.learn(limits, now, is_last=is_last)
        rest = limits.used_up
        if rest:
            self._paused_until = max(self._paused_until, now + rest)
            self._refusal = RateLimited("nothing is left of a limit", self._facts)
            self._turn_away(self._refusal, rest, now)

    # --- who may go -----------------------------------------------------------

    def _wait(self, amounts: Amounts, now: float) -> float:
        """Return the seconds until *amounts* may be sent; infinite: not by waiting."""
        if self._on_trial and self._probe is not None:
            return inf

        wait = self._windows.wait(amounts, now)
        if self._throttle is not None:
            wait = max(wait, self._throttle.wait(self.in_flight, self._sent_at, now))

        if self._paused_until > now:
            wait = max(wait, self._paused_until - now)

        return wait if wait > _TICK else 0.0

    def _grant(self, demand: Demand, amounts: Amounts, now: float) -> Permit:
        permit = Permit(demand, now, self._windows.take(amounts, now))
        self.in_flight += 1
        self._sent_at = now
        if self._throttle is not None:
            self._throttle.sent(now)

        if self._on_trial:
            permit.is_probe = True
            self._probe = permit

        return permit

    def _amounts_of(self, demand: Demand) -> Amounts:
        tokens = demand.input * self._uncached
        return amounts_of(tokens, demand.output or self._output)

    def _counted(self, usage: Usage) -> Amounts:
        """Return what a call has used of the limits, and note it for the next ones."""
        if self._counts_cached or not usage.input:
            return amounts_of(usage.input, usage.output)

        tokens = usage.input - usage.cache_read
        share = tokens / usage.input
        # Up at once, down by and by: a call that finds little there counts in full.
        self._uncached = max(share, self._uncached + (share - self._uncached) / 8)
        return amounts_of(tokens, usage.output)

    def _leave(self, permit: Permit) -> None:
        self.in_flight -= 1
        if self._probe is permit:
            self._probe = None

        if self._waiting:
            self._pump()

    def _pump(self) -> None:
        """Let go whoever may; note when to look again."""
        now = anyio.current_time()
        self._wake_at = inf
        while (head := self._queue.head(now)) is not None:
            waiter, rank = head
            amounts = self._amounts_of(waiter.demand)
            wait = self._wait(amounts, now)
            if wait:
                self._wake_at = now + wait
                break

            self._queue.pop(waiter, rank)
            waiter.permit = self._grant(waiter.demand, amounts, now)
            self._waiting -= 1
            waiter.news.set()

        if self._keeper is not None and self._wake_at < self._keeps_until:
            self._keeper.news.set()

    async def _watch(self, waiter: Waiter) -> None:
        """Wait for news; one of the waiting keeps the time for all."""
        if self._keeper is None:
            self._keeper = waiter

        waiter.news = anyio.Event()
        if self._keeper is not waiter:
            await waiter.news.wait()
            return

        self._keeps_until = self._wake_at
        with anyio.CancelScope(deadline=self._wake_at):
            await waiter.news.wait()

        if waiter.permit is None and anyio.current_time() >= self._wake_at:
            self._pump()

    def _appoint(self) -> None:
        """Make somebody else keep the time."""
        for waiter in self._queue:
            waiter.news.set()
            return

    def _final(
        self, error: ProviderError, rest: float, now: float, patience: float
    ) -> ProviderError | None:
        """Return the error for who waits, once that would be for too long."""
        if rest > patience:
            return too_long(error, rest)

        refused = now - self._refused_since
        if refused > PATIENCE:
            return _worded(error, f"it has refused all requests for {refused:,.0f} s")

        return None

    def _turn_away(self, error: ProviderError, rest: float, now: float) -> None:
        for waiter in tuple(self._queue):
            waiter.error = self._final(error, rest, now, waiter.demand.patience)
            if waiter.error is not None:
                waiter.news.set()


def too_long(error: ProviderError, rest: float) -> ProviderError:
    """Word that the provider asks for more time than callers are left to wait."""
    return _worded(error, f"the provider asks to wait for {rest:,.0f} s", rest)


def _worded(
    error: ProviderError, message: str, rest: float | None = None
) -> ProviderError:
    facts = error.facts
    final = type(error)(
        message,
        ProviderFacts(
            provider=facts.provider,
            model=facts.model,
            status=facts.status,
            code=facts.code,
            retry_after=rest,
        ),
    )
    # Sent again at once, it would be turned away here and not by the provider.
    final.retryable = False
    return final


class Governor:
    """The gates of a process, by account and model.

    Providers count most limits per model; a limit that is configured for a whole
    provider makes one gate of all its models.
    """

    def __init__(self) -> None:
        self._gates: dict[tuple[str, str], Gate] = {}
        self._breakers: dict[tuple[str, str], Breaker] = {}

    def gate(
        self, provider: Provider, model: str, limits: Mapping[str, Limits]
    ) -> Gate:
        """Return the gate of *model*; *limits* is by `provider` or `provider:model`."""
        name, billed = provider.name, provider.priced_as(model)[2]
        own = limits.get(f"{name}:{model}")
        whole = limits.get(name)
        shared = own is None and whole is not None
        key = (_account(provider), "" if shared else model)
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(
                adapts=billed,
                learns=not shared,
                counts_cached=provider.capabilities(model).counts_cached,
                provider=name,
                model=model,
            )

        gate.configure(own or whole or NO_LIMITS)
        return gate

    def breaker(self, provider: Provider, model: str) -> Breaker:
        """Return what remembers whether *model* is to be had."""
        return self._breakers.setdefault((_account(provider), model), Breaker())


def _account(provider: Provider) -> str:
    # As `Accounted` has it; asking for a protocol's type takes longer than all else.
    account: str | None = getattr(provider, "account", None)
    return f"{provider.name}@{id(provider)}" if account is None else account


_shared: RunVar[Governor] = RunVar("governor")


def shared_governor() -> Governor:
    """Return the governor that all runtimes of this event loop share."""
    governor = _shared.get(None)
    if governor is None:
        governor = Governor()
        _shared.set(governor)

    return governor
