"""The events of a run, kept for a test to look at."""

from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

from mma_runtime.events import Event
from mma_runtime.runtime.run import Run

E = TypeVar("E", bound=Event)

BACKLOG = 1_000_000


class EventCapture:
    """Every event of a run, from its first; `seen` holds those read so far, in order.

    Reading is up to the test: `until` reads to one event, `rest` to the end of the run.
    Events that wait meanwhile are kept. Iterating goes over what has been seen.
    """

    def __init__(self, run: Run) -> None:
        self.seen: list[Event] = []
        self._coming: AsyncIterator[Event] = aiter(run.events(capacity=BACKLOG))

    def __iter__(self) -> Iterator[Event]:
        """Iterate over what has been seen."""
        return iter(self.seen)

    async def until(self, kind: type[E], **facts: object) -> E:
        """Read on to the next event of *kind* and return it.

        *facts* have to be true of the event or of its origin: `ticket="parser"`,
        `state="failed"`. Cancellation loses no event.

        Raises:
            AssertionError: The run has ended without one; says what there was.
        """
        async for event in self._coming:
            self.seen.append(event)
            if isinstance(event, kind) and _holds(event, facts):
                return event

        raise AssertionError(self._missing(kind, facts))

    async def rest(self) -> list[Event]:
        """Read to the end of the run and return all of its events.

        Cancellation loses none: what was read by then is in `seen`.
        """
        async for event in self._coming:
            self.seen.append(event)

        return self.seen

    def of(self, kind: type[E], **facts: object) -> list[E]:
        """Return the events of *kind* that have been seen; *facts* as in `until`."""
        return [
            event
            for event in self.seen
            if isinstance(event, kind) and _holds(event, facts)
        ]

    def one(self, kind: type[E], **facts: object) -> E:
        """Return the only event of *kind* that has been seen; *facts* as in `until`.

        Raises:
            AssertionError: There is none, or more than one.
        """
        found = self.of(kind, **facts)
        if not found:
            raise AssertionError(self._missing(kind, facts))

        if len(found) > 1:
            listed = "\n".join(f"  {event}" for event in found)
            raise AssertionError(
                f"{len(found)} {_words(kind, facts)} were seen, not one:\n{listed}"
            )

        return found[0]

    def _missing(self, kind: type[Event], facts: dict[str, object]) -> str:
        alike = [event for event in self.seen if isinstance(event, kind)]
        if alike:
            listed = "\n".join(f"  {event}" for event in alike)
            return (
                f"no {_words(kind, facts)} was seen; of that kind there were:\n{listed}"
            )

        counts: dict[str, int] = {}
        for event in self.seen:
            name = type(event).__name__
            counts[name] = counts.get(name, 0) + 1

        seen = ", ".join(f"{count} {name}" for name, count in counts.items())
        return f"no {_words(kind, facts)} was seen; there were {seen or 'no events'}"


def _holds(event: Event, facts: dict[str, object]) -> bool:
    return all(_fact(event, name) == value for name, value in facts.items())


def _fact(event: Event, name: str) -> object:
    own: object = getattr(event, name, None)
    return getattr(event.origin, name, None) if own is None else own


def _words(kind: type[Event], facts: dict[str, object]) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in facts.items())
    return f"{kind.__name__}({given})"
