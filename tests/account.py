"""A provider's account with limits, simulated: it answers 429 when they are passed."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from random import Random

import anyio

from mma_runtime.costs import CostAggregator, Ledger
from mma_runtime.errors import ProviderError, ProviderFacts, RateLimited
from mma_runtime.events import Origin
from mma_runtime.governor import Gate
from mma_runtime.kernel import ActorSystem
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Text,
    TextDelta,
)
from mma_runtime.llm.usage import Usage
from mma_runtime.model import Model
from mma_runtime.model.route import Route
from mma_runtime.rate_limits import RateLimit, RateLimits
from mma_runtime.testing import FunctionProvider

WAY = (0.02, 0.2)
"""How long a request takes to arrive, in seconds."""

WORK = (1.0, 3.0)
"""How long an answer takes, in seconds."""


class Bucket:
    """Holds a minute's worth and is filled up evenly, as providers' limits are."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.level = float(limit)
        self.at = anyio.current_time()

    def advance(self) -> None:
        now = anyio.current_time()
        gained = (now - self.at) * self.limit / 60
        self.level = min(self.limit, self.level + gained)
        self.at = now


@dataclass
class Count:
    """What has come in since the counting began; *failed* calls gave up."""

    accepted: int = 0
    refused: int = 0
    tokens: int = 0
    failed: int = 0

    @property
    def share_refused(self) -> float:
        return self.refused / max(1, self.accepted + self.refused)


class Account(FunctionProvider):
    """A provider whose account has limits; `None` is no limit.

    *tells* puts the limits into the head of each answer, *asks* says with each refusal
    how long to wait.
    """

    def __init__(
        self,
        *,
        requests: int | None = None,
        tokens: int | None = None,
        in_flight: int | None = None,
        tells: bool = False,
        asks: bool = False,
    ) -> None:
        super().__init__(lambda _: "", name="account")
        self.requests_bucket = Bucket(requests) if requests else None
        self.tokens_bucket = Bucket(tokens) if tokens else None
        self.most = in_flight
        self.in_flight = 0
        self.tells = tells
        self.asks = asks
        self.count = Count()
        self.arrivals: list[tuple[str, float]] = []
        self._random = Random(1)  # noqa: S311 - the same in every run

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        return "account", model, True

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion, None]:
        draw = self._random
        await anyio.sleep(draw.uniform(*WAY))
        self.arrivals.append((request.origin.tier, anyio.current_time()))
        self._admit(request)
        usage = Usage(input=1_000, output=draw.randint(50, 500))
        self.in_flight += 1
        try:
            yield TextDelta("on")
            await anyio.sleep(draw.uniform(*WORK))
        finally:
            self.in_flight -= 1
        self.count.accepted += 1
        self.count.tokens += usage.total
        if self.tokens_bucket is not None:
            # The guess that it was let in with is replaced by what it came to.
            self.tokens_bucket.level += self._guess(request) - usage.total
        yield Completion(
            turn=AssistantTurn((Text("on"),)),
            finish=Finish.STOP,
            usage=usage,
            model="m",
            limits=self._limits() if self.tells else None,
        )

    def halve(self) -> None:
        """Halve all limits."""
        for bucket in (self.requests_bucket, self.tokens_bucket):
            if bucket is not None:
                bucket.advance()
                bucket.limit //= 2
                bucket.level = min(bucket.level, bucket.limit)

        if self.most is not None:
            self.most //= 2

    def allows(self, seconds: float) -> float:
        """Return how many requests the limits allow in so many seconds."""
        allowed: list[float] = []
        if self.requests_bucket is not None:
            allowed.append(self.requests_bucket.limit * seconds / 60)
        if self.tokens_bucket is not None:
            each = self.count.tokens / self.count.accepted
            allowed.append(self.tokens_bucket.limit * seconds / 60 / each)
        if self.most is not None:
            each = (sum(WORK) + sum(WAY)) / 2
            allowed.append(self.most * seconds / each)

        return min(allowed)

    def _guess(self, request: ChatRequest) -> int:
        return 1_000 + (request.max_output_tokens or 0)

    def _admit(self, request: ChatRequest) -> None:
        wait = 0.0
        wanted = ((self.requests_bucket, 1), (self.tokens_bucket, self._guess(request)))
        for bucket, amount in wanted:
            if bucket is not None:
                bucket.advance()
                missing = amount - bucket.level
                wait = max(wait, missing * 60 / bucket.limit)

        if wait > 0 or (self.most is not None and self.in_flight >= self.most):
            self.count.refused += 1
            refusal = RateLimited(
                "too many",
                ProviderFacts(
                    provider="account",
                    status=429,
                    retry_after=wait if self.asks and wait > 0 else None,
                ),
            )
            refusal.limits = self._limits() if self.tells else None
            raise refusal

        for bucket, amount in wanted:
            if bucket is not None:
                bucket.level -= amount

    def _limits(self) -> RateLimits:
        def said(bucket: Bucket | None) -> RateLimit | None:
            if bucket is None:
                return None
            missing = bucket.limit - bucket.level
            return RateLimit(
                limit=bucket.limit,
                remaining=max(0, int(bucket.level)),
                reset=missing * 60 / bucket.limit,
            )

        return RateLimits(
            requests=said(self.requests_bucket), tokens=said(self.tokens_bucket)
        )


async def crowd(
    account: Account, gate: Gate, *, seconds: float, workers: int = 50
) -> Count:
    """Let *workers* ask without a break; return what came of it in that time."""
    began = Count(**vars(account.count))
    async with ActorSystem() as system:
        costs = await system.spawn("costs", CostAggregator, Ledger(), lambda _: None)
        route = Route(
            account, "m", costs=costs, emit=lambda _: None, rates=None, gate=gate
        )
        model = Model(route)

        async def work(name: str) -> None:
            while True:
                try:
                    await model.complete(ask(ticket=name))
                except ProviderError:
                    account.count.failed += 1

        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                for number in range(workers):
                    group.start_soon(work, f"t{number}")

    now = account.count
    return Count(
        accepted=now.accepted - began.accepted,
        refused=now.refused - began.refused,
        tokens=now.tokens - began.tokens,
        failed=now.failed - began.failed,
    )


def ask(*, tier: str = "worker", ticket: str = "", run: str = "r") -> ChatRequest:
    """Return a request of 1,000 tokens that wants at most 500."""
    return ChatRequest(
        model="m",
        system="s" * 4_000,
        turns=(),
        max_output_tokens=500,
        origin=Origin(run=run, tier=tier, ticket=ticket, task="ticket"),
    )
