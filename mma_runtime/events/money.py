"""What is counted, and what budgets decide."""

from dataclasses import dataclass
from decimal import Decimal

from mma_runtime.events.event import Event
from mma_runtime.events.models import CallEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class CostCounted(CallEvent):
    """A call that did not end well was counted; *state* is `estimated` or `unknown`.

    What a good one costs is told by `ModelCallFinished`. *charged_usd* is what budgets
    are charged with: for `unknown` the worst case that was reserved.
    """

    state: str
    input_tokens: int
    output_tokens: int
    usd: Decimal | None
    billed: bool
    charged_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWarning(Event):
    """A budget is used up to *per_cent* (50, 80 or 95) per cent.

    *level* is `run`, `tier`, `track` or `ticket`, *name* is which of them; *unit* is
    `usd`, `tokens`, `calls` or `seconds`. Time is looked at whenever a call has ended.
    """

    level: str
    name: str
    unit: str
    per_cent: int
    limit: str
    spent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetReached(Event):
    """A budget had no room for a model call, which was not made or was cut off.

    *unit* is `usd`, `tokens`, `calls` or `seconds`; *reserved* is held by calls in
    flight and for conclusions, *needed* is what the call could have taken. *call* and
    *model* name it; they are empty when the whole run is out of time.
    """

    unit: str
    limit: str
    spent: str
    level: str = "run"
    name: str = ""
    reserved: str = "0"
    needed: str = "0"
    call: str = ""
    model: str = ""
