"""When a model call that failed is sent again; pure decisions."""

from dataclasses import dataclass

from mma_runtime.errors import ProviderError, RateLimited


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed call is sent again.

    At most *attempts* calls in all; what fails later than *seconds* after the first
    failure is final. The wait is random between 0 and *base* · 2ⁿ seconds, at most
    *longest*.

    A rate limit is another matter: the account's gate does the waiting, for all callers
    at once, so it may take *refusals* attempts. A provider that names a time is obeyed
    up to *patience* seconds; beyond that the error is final.

    Nothing is sent again after output has begun, which would be paid for twice, unless
    *resend_begun* says so.
    """

    attempts: int = 4
    refusals: int = 20
    seconds: float = 300.0
    base: float = 0.5
    longest: float = 20.0
    patience: float = 60.0
    resend_begun: bool = False

    def delay(
        self, error: ProviderError, attempt: int, draw: float, elapsed: float = 0.0
    ) -> float | None:
        """Return the wait in seconds before the next attempt, `None` to give up.

        *attempt* counts from 1, *draw* is a random number from 0 to 1, *elapsed* is in
        seconds since the first failure.
        """
        if self.why_final(error, attempt, elapsed):
            return None

        wait = error.facts.retry_after
        if isinstance(error, RateLimited) or wait is not None:
            return wait or 0.0

        return draw * min(self.longest, self.base * 2.0 ** (attempt - 1))

    def why_final(self, error: ProviderError, attempt: int, elapsed: float) -> str:
        """Return why there is no further attempt; empty: there is one."""
        facts = error.facts
        if not error.retryable:
            return "it would fail again"

        if facts.in_stream and facts.partial_text and not self.resend_begun:
            return "output had begun"

        if elapsed > self.seconds:
            return f"more than {self.seconds:g} s have passed since the first failure"

        if facts.retry_after is not None and facts.retry_after > self.patience:
            return f"the provider asks for more than {self.patience:g} s"

        most = self.refusals if isinstance(error, RateLimited) else self.attempts
        if attempt >= most:
            return f"it was tried {most} times"

        return ""
