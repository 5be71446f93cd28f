"""How much of what the lower tiers produce is kept from the upper ones."""

from dataclasses import dataclass

from mma_runtime.events import Event, ModelCallFinished, OutputCut, ToolCallFinished
from mma_runtime.llm.tokens import CHARACTERS_PER_TOKEN

_BELOW = ("worker", "qa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """What was produced below and what of it went up, estimated in tokens.

    *produced* is what workers and QA said and what tools and commands put out, also
    what was cut from that; *passed* is what tiers 1 and 2 were shown of it: diffs,
    verdicts and summaries. A diff repeats lines that it does not change, so that of
    little work more may go up than was produced.
    """

    produced: int = 0
    passed: int = 0

    @property
    def kept_back(self) -> float | None:
        """The part that did not go up, from 0 to 1; 0 where nothing was produced.

        `None` where more went up than was produced: there is no such part.
        """
        if self.passed > self.produced:
            return None

        return 1 - self.passed / self.produced if self.produced else 0.0


NO_FIREWALL = Firewall()


class FirewallMeter:
    """Counts while a run goes on; `note` is a sink for its bus."""

    def __init__(self) -> None:
        self._characters = 0
        self._tokens = 0
        self._passed = 0
        self._commands: dict[str, None] = {}

    def note(self, event: Event) -> None:
        """Count what *event* tells of the lower tiers."""
        if isinstance(event, ToolCallFinished):
            self._characters += event.characters
        elif isinstance(event, OutputCut):
            # What commands put out has been counted whole.
            if event.what not in self._commands:
                self._characters += event.characters
        elif isinstance(event, ModelCallFinished) and event.origin.tier in _BELOW:
            self._tokens += event.output_tokens

    def put_out(self, command: str, output: str) -> None:
        """Count what a ticket's acceptance *command* has put out."""
        self._commands[command] = None
        self._characters += len(output)

    def went_up(self, *texts: str) -> None:
        """Count what an upper tier is shown."""
        self._passed += sum(map(len, texts))

    def report(self) -> Firewall:
        """Take a snapshot."""
        return Firewall(
            produced=self._tokens + self._characters // CHARACTERS_PER_TOKEN,
            passed=self._passed // CHARACTERS_PER_TOKEN,
        )
