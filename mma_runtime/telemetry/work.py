"""One piece of work under way: its span, and what it has come to so far."""

import time
from contextvars import ContextVar
from decimal import Decimal

from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from mma_runtime.llm.usage import Usage
from mma_runtime.telemetry import names

Labels = dict[str, AttributeValue]

CURRENT: ContextVar["Work | None"] = ContextVar("mma_work", default=None)
"""The innermost work of the task at hand."""


class Work:
    """A run, an agent's task, a model call or a tool call while it is under way.

    *run* is the id of its run, *labels* are for figures: few values each. What a part
    spends counts in all that it is part of.
    """

    __slots__ = (
        "began",
        "error",
        "input",
        "is_chat",
        "labels",
        "output",
        "parent",
        "run",
        "span",
        "usd",
    )

    def __init__(
        self, run: str, span: Span, labels: Labels, parent: "Work | None"
    ) -> None:
        self.run: str = run
        self.span: Span = span
        self.labels: Labels = labels
        self.parent: Work | None = parent
        self.is_chat: bool = labels.get(names.OPERATION) == "chat"
        self.began: float = time.monotonic()
        self.error: str = ""
        self.input: int = 0
        self.output: int = 0
        self.usd: Decimal | None = None

    @property
    def seconds(self) -> float:
        """How long it has been under way."""
        return time.monotonic() - self.began

    def use(self, usage: Usage) -> None:
        """Count tokens, here and above."""
        work: Work | None = self
        while work is not None:
            work.input += usage.input
            work.output += usage.output
            work = work.parent

    def spend(self, usd: Decimal) -> None:
        """Count US dollars, here and above."""
        work: Work | None = self
        while work is not None:
            work.usd = usd if work.usd is None else work.usd + usd
            work = work.parent

    def fail(self, kind: str, words: str = "") -> None:
        """Mark it as failed; *kind* is one of few, *words* hold no content."""
        self.error = kind
        self.labels[names.ERROR_TYPE] = kind
        self.span.set_attribute(names.ERROR_TYPE, kind)
        self.span.set_status(Status(StatusCode.ERROR, words or kind))

    def end(self) -> None:
        """Put down what it came to and end its span."""
        if self.input or self.output:
            self.span.set_attribute(names.INPUT_TOKENS, self.input)
            self.span.set_attribute(names.OUTPUT_TOKENS, self.output)

        if self.usd is not None:
            self.span.set_attribute(names.COST, float(self.usd))

        self.span.end()
