"""What a scenario can say of money and of the providers' patience."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from mma_runtime.governor.retries import RetryPolicy
from mma_runtime.scenario.table import MOST, Table

Usd = Annotated[Decimal, Field(ge=0, le=MOST, allow_inf_nan=False)]


class LevelBudget(Table):
    """What may be used up at one level; what is left out is not limited."""

    usd: Annotated[Decimal, Field(gt=0, le=MOST, allow_inf_nan=False)] | None = Field(
        default=None, description="US dollars."
    )
    tokens: int | None = Field(
        default=None, gt=0, le=MOST, description="Tokens, input and output."
    )
    calls: int | None = Field(default=None, gt=0, le=MOST, description="Model calls.")
    seconds: float | None = Field(
        default=None,
        gt=0,
        le=MOST,
        allow_inf_nan=False,
        description="Seconds of wall time.",
    )


class Budget(LevelBudget):
    """What a whole run may use up, and each track and ticket of it."""

    track: LevelBudget = Field(
        default=LevelBudget(), description="What each track may use, by all tiers."
    )
    ticket: LevelBudget = Field(
        default=LevelBudget(), description="What each ticket may use, by all tiers."
    )
    min_output_tokens: int = Field(
        default=256,
        gt=0,
        le=MOST,
        description="The smallest output limit that a call is shrunk to; 256.",
    )


class AccountLimits(Table):
    """What a provider allows an account; what is left out is learnt from it."""

    requests_per_minute: int | None = Field(
        default=None, gt=0, le=MOST, description="Requests in any minute."
    )
    tokens_per_minute: int | None = Field(
        default=None,
        gt=0,
        le=MOST,
        description="Tokens in any minute, input and output.",
    )
    input_tokens_per_minute: int | None = Field(
        default=None, gt=0, le=MOST, description="Input tokens in any minute."
    )
    output_tokens_per_minute: int | None = Field(
        default=None, gt=0, le=MOST, description="Output tokens in any minute."
    )
    in_flight: int | None = Field(
        default=None, gt=0, le=MOST, description="Requests at the same time."
    )


class Price(Table):
    """The price of the models whose name matches; US dollars per million tokens."""

    match: str = Field(description="A regular expression that finds the model's name.")
    input: Usd = Field(description="Input tokens.")
    output: Usd = Field(description="Output tokens.")
    cached: Usd | None = Field(
        default=None,
        description="Input read from the provider's cache; as input if left out.",
    )
    cache_write: Usd | None = Field(
        default=None, description="Input written to that cache; as input if left out."
    )


class Retries(Table):
    """When a model call that failed is sent again; rate limits are waited for."""

    attempts: int = Field(
        default=4, gt=0, le=MOST, description="Attempts in all; 1 is no second one."
    )
    seconds: float = Field(
        default=300.0,
        ge=0,
        le=MOST,
        allow_inf_nan=False,
        description="Seconds after its first failure in which a call is sent again.",
    )
    after_output: bool = Field(
        default=False,
        description="Send again what broke off after output had begun, too; that output"
        " is then paid for twice.",
    )

    def policy(self) -> RetryPolicy:
        """Return it in the runtime's own words."""
        return RetryPolicy(
            attempts=self.attempts,
            seconds=self.seconds,
            resend_begun=self.after_output,
        )
