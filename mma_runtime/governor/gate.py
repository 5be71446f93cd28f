"""The gates of an account: one for each model, with what holds for all of them."""

from math import inf

import anyio

from mma_runtime.errors import ProviderError, ProviderFacts, RateLimited
from mma_runtime.governor.breaker import Breaker
from mma_runtime.governor.pacing import Throttle
from mma_runtime.governor.queueing import Demand, Permit, Queue, Waiter
from mma_runtime.governor.rest import Rest
from mma_runtime.governor.windows import Amounts, Windows, amounts_of
from mma_runtime.llm.usage import Usage
from mma_runtime.rate_limits import NO_LIMITS, Limits, RateLimits

OPEN = Permit(Demand(), -inf)
"""The permit of a gate that holds nobody up."""

# Shorter waits are rounding errors of the clock, in seconds.
_TICK = 1e-6


class Account:
    """What the gates of one account share: who waits, and the limits on all models.

    Without such limits each model is as if it were alone. With them, a refusal of one
    makes all of them rest.
    """

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self.queue: Queue = Queue()
        self.windows: Windows = Windows()
        self.rest: Rest = Rest()
        self.in_flight: int = 0
        self.waiting: int = 0
        self.is_limited: bool = False
        self._most = inf
        self._breakers: dict[str, Breaker] = {}
        self._keeper: Waiter | None = None
        self._wake_at = inf
        self._keeps_until = inf

    def configure(self, limits: Limits) -> None:
        """Keep to *limits* for all models together, where none is stricter already."""
        self.windows.configure(limits)
        if limits.in_flight is not None:
            self._most = min(self._most, limits.in_flight)

        self.is_limited = bool(self.windows) or self._most < inf
        if self.is_limited:
            for gate in self.gates.values():
                gate.rest = self.rest

    def breaker(self, model: str) -> Breaker:
        """Return what remembers whether *model* is available."""
        return self._breakers.setdefault(model, Breaker())

    def wait(self, amounts: Amounts, now: float) -> float:
        """Return the seconds until *amounts* may be sent; infinite: not by waiting."""
        if self.in_flight >= self._most:
            return inf

        wait = self.windows.wait(amounts, now)
        return wait if wait > _TICK else 0.0

    def pump(self) -> None:
        """Let go whoever may; note when to look again."""
        now = anyio.current_time()
        self._wake_at = inf
        held: set[str] = set()
        while (head := self.queue.head(now, held)) is not None:
            waiter, rank = head
            gate = self.gates[waiter.model]
            amounts = gate.amounts_of(waiter.demand)
            wait = gate.wait(amounts, now)
            if wait:
                self._wake_at = min(self._wake_at, now + wait)
                held.add(waiter.model)
                continue

            wait = self.wait(amounts, now)
            if wait:
                self._wake_at = min(self._wake_at, now + wait)
                break

            self.queue.pop(waiter, rank)
            waiter.permit = gate.grant(waiter.demand, amounts, now)
            waiter.news.set()
            gate.waiting -= 1
            self.waiting -= 1

        if self._keeper is not None and self._wake_at < self._keeps_until:
            self._keeper.news.set()

    async def watch(self, waiter: Waiter) -> None:
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
            self.pump()

    def leaves(self, waiter: Waiter) -> None:
        """Make somebody else keep the time, if it was *waiter* who did."""
        if self._keeper is waiter:
            self._keeper = None
            for other in self.queue:
                other.news.set()
                return


class Gate:
    """Lets requests to one model through as fast as its provider takes them.

    What is known of its limits, from configuration and from answers, is kept to here,
    so that no request is sent that would be refused. What is not known is felt for. A
    refusal stops all callers; then one of them tries, and the others follow if that
    goes well. Who waits is served by tier, by turns between runs, and by time.

    Without *adapts* only known limits hold: for models that are no service. Without
    *counts_cached* input that was read from a cache is not limited. *provider* and
    *model* are for errors. What holds for all models of an *account* is kept to, too.
    """

    def __init__(
        self,
        limits: Limits = NO_LIMITS,
        *,
        adapts: bool = True,
        counts_cached: bool = True,
        provider: str = "",
        model: str = "",
        account: Account | None = None,
    ) -> None:
        self.in_flight: int = 0
        self.waiting: int = 0
        self._facts = ProviderFacts(provider=provider, model=model)
        self._counts_cached = counts_cached
        self._most: int | None = None
        self._windows = Windows()
        self._throttle = Throttle() if adapts else None
        self._sent_at = -inf
        self._output = 512.0
        # The part of the input that counts.
        self._uncached = 1.0
        self.model: str = model
        self._account = account = account or Account()
        account.gates[model] = self
        self.rest: Rest = account.rest if account.is_limited else Rest()
        self.configure(limits)

    @property
    def is_open(self) -> bool:
        """Whether nothing at all is known that would hold a request up."""
        return (
            self._throttle is None
            and not self._windows
            and not self._account.is_limited
            and not self.rest.on_trial
        )

    @property
    def counts_tokens(self) -> bool:
        """Whether a demand needs to say how large it is."""
        return self._windows.counts_tokens or self._account.windows.counts_tokens

    @property
    def limits(self) -> dict[str, int]:
        """The model's limits a minute, by unit: `requests`, `tokens`, …"""
        return self._windows.limits

    @property
    def most_in_flight(self) -> int | None:
        """How many requests may be under way; `None`: any number."""
        return None if self._throttle is None else max(1, int(self._throttle.limit))

    def paused_for(self) -> float:
        """Return the seconds that the account rests yet."""
        return max(0.0, self.rest.until - anyio.current_time())

    def configure(self, limits: Limits) -> None:
        """Keep to *limits* where none is stricter already."""
        self._windows.configure(limits)
        most = limits.in_flight
        if most is not None and (self._most is None or most < self._most):
            self._most = most
            self._throttle = Throttle(most, most)

    def enter_nowait(self, demand: Demand) -> Permit | None:
        """Return a permit if one is free; `None` is to wait with `enter`."""
        if self.is_open:
            self.in_flight += 1
            self._account.in_flight += 1
            return OPEN

        account = self._account
        if self.waiting or (account.is_limited and account.waiting):
            return None

        now = anyio.current_time()
        amounts = self.amounts_of(demand)
        if self.wait(amounts, now) or (
            account.is_limited and account.wait(amounts, now)
        ):
            return None

        return self.grant(demand, amounts, now)

    async def enter(self, demand: Demand) -> Permit:
        """Wait for a permit.

        A cancelled wait leaves nothing behind. Raises the provider's refusal when the
        account rests for longer than the caller waits, or when it has refused everybody
        for longer than `PATIENCE`: then one caller may try after each rest.
        """
        rest = self.paused_for()
        if rest and self.rest.refusal is not None:
            now = anyio.current_time()
            refusal = self.rest.refusal
            final = self.rest.final(refusal, rest, now, demand.patience)
            if final is not None:
                raise final

        account = self._account
        waiter = Waiter(demand, demand.since or anyio.current_time(), self.model)
        account.queue.push(waiter)
        account.waiting += 1
        self.waiting += 1
        try:
            account.pump()
            while waiter.permit is None and waiter.error is None:
                await account.watch(waiter)
        except BaseException:
            if waiter.permit is not None:
                self.leave(waiter.permit, sent=False)

            raise
        finally:
            if waiter.permit is None:
                waiter.gone = True
                account.waiting -= 1
                self.waiting -= 1

            account.leaves(waiter)

        if waiter.permit is None:
            assert waiter.error is not None  # noqa: S101 - one of them ended the wait
            raise waiter.error

        return waiter.permit

    def accepted(self, permit: Permit) -> None:
        """Note that the provider has begun to answer: the request was not refused."""
        if permit.is_probe and self.rest.probe is permit:
            self.rest.ended()
            for gate in self._resting():
                gate.reopen()

            self._account.pump()

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
            pressed = isinstance(error, RateLimited) and self.waiting > 0
            self._throttle.refused(self.in_flight, permit.sent_at, now, pressed=pressed)

        rest = self.rest.refused(permit, error, now)
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
        now = anyio.current_time()
        self._windows.learn(limits, now, is_last=is_last)
        rest = limits.used_up
        if rest:
            error = RateLimited("nothing is left of a limit", self._facts)
            self.rest.pause(error, rest, now)
            self._turn_away(error, rest, now)

    # --- who may go; what the account asks --------------------------------------

    def wait(self, amounts: Amounts, now: float) -> float:
        """Return the seconds until *amounts* may be sent; infinite: not by waiting.

        The account has its own say.
        """
        wait = self.rest.wait(now)
        if wait == inf:
            return inf

        wait = max(wait, self._windows.wait(amounts, now))
        if self._throttle is not None:
            wait = max(wait, self._throttle.wait(self.in_flight, self._sent_at, now))

        return wait if wait > _TICK else 0.0

    def grant(self, demand: Demand, amounts: Amounts, now: float) -> Permit:
        """Let a request go, and count it."""
        account = self._account
        charges = self._windows.take(amounts, now)
        if account.is_limited:
            charges += account.windows.take(amounts, now)

        permit = Permit(demand, now, charges)
        self.in_flight += 1
        account.in_flight += 1
        self._sent_at = now
        if self._throttle is not None:
            self._throttle.sent(now)

        if self.rest.on_trial:
            permit.is_probe = True
            self.rest.probe = permit

        return permit

    def reopen(self) -> None:
        """Begin with one more than those under way: the account has rested."""
        if self._throttle is not None:
            self._throttle.reopened(self.in_flight)

    def amounts_of(self, demand: Demand) -> Amounts:
        """Return what *demand* is likely to count for, at most."""
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
        account = self._account
        self.in_flight -= 1
        account.in_flight -= 1
        if self.rest.probe is permit:
            self.rest.probe = None

        if account.waiting:
            account.pump()

    def _resting(self) -> "tuple[Gate, ...]":
        """Return the gates that rest together with this one."""
        account = self._account
        return tuple(account.gates.values()) if account.is_limited else (self,)

    def _turn_away(self, error: ProviderError, rest: float, now: float) -> None:
        models = {gate.model for gate in self._resting()}
        for waiter in tuple(self._account.queue):
            if waiter.model in models:
                patience = waiter.demand.patience
                waiter.error = self.rest.final(error, rest, now, patience)
                if waiter.error is not None:
                    waiter.news.set()
