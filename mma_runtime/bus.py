"""Events fan out to sinks and subscribers; a slow one is never waited for."""

import time
from collections import deque
from collections.abc import Callable
from weakref import ref

from mma_runtime.arguments import check_count
from mma_runtime.events import NOWHERE, Event, EventsSkipped, Origin
from mma_runtime.news import News

Sink = Callable[[Event], None]

HISTORY = 4_096
"""Events that a bus keeps for those who subscribe late."""


class Subscription:
    """What one reader has not read yet; iterate over it.

    At most *capacity* events wait for the reader. When it falls behind, the oldest are
    dropped, and it is told how many by one `EventsSkipped` in their place, which
    happened at *origin*. It begins after the event with the number *after*. Those who
    read the same one share its events.
    """

    def __init__(self, capacity: int, origin: Origin, after: int) -> None:
        self._waiting: deque[Event] = deque(maxlen=capacity)
        self._origin = origin
        self._skipped = 0
        self._read = after
        self._closed = False
        self._news = News()

    def put(self, event: Event) -> None:
        """Queue *event*, at the cost of the oldest one when there is no room."""
        if len(self._waiting) == self._waiting.maxlen:
            self._skipped += 1

        self._waiting.append(event)
        self._news.tell()

    def skip(self, count: int) -> None:
        """Count *count* events that the reader came too late for."""
        self._skipped += count

    def close(self) -> None:
        """End the iteration after what is still waiting."""
        self._closed = True
        self._news.tell()

    def __aiter__(self) -> "Subscription":
        """Iterate over the events, in order."""
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event. Cancellation loses none."""
        while not self._waiting and not self._skipped:
            if self._closed:
                raise StopAsyncIteration

            await self._news.wait()

        if self._skipped:
            skipped = EventsSkipped(origin=self._origin, count=self._skipped)
            self._read += self._skipped
            # In the place of the last one that was missed.
            _stamp(skipped, self._read)
            self._skipped = 0
            return skipped

        event = self._waiting.popleft()
        self._read = event.seq
        return event


def _stamp(event: Event, seq: int) -> None:
    # Once, before anybody else has seen it; to all who read it the event is frozen.
    object.__setattr__(event, "seq", seq)
    object.__setattr__(event, "time", time.time())


class Bus:
    """Stamps events and hands them to every sink and subscriber at once.

    *sinks* are called in turn, synchronously; one that raises is the caller's problem,
    so a sink must not. *history* events are kept for late subscribers. *origin* is
    where events are skipped.
    """

    def __init__(
        self, *sinks: Sink, history: int = HISTORY, origin: Origin = NOWHERE
    ) -> None:
        self._sinks = sinks
        self.origin: Origin = origin
        self._history: deque[Event] = deque(maxlen=history)
        # Weakly: a reader that leaves its loop is forgotten without a word. No WeakSet:
        # to ask one whether it is empty costs as much as all the rest of an event.
        self._subscriptions: set[ref[Subscription]] = set()
        self._count = 0
        self._closed = False

    def emit(self, event: Event) -> None:
        """Publish *event*. Never waits and never raises for a slow reader."""
        self._count += 1
        _stamp(event, self._count)
        self._history.append(event)
        for sink in self._sinks:
            sink(event)

        if self._subscriptions:
            for subscription in self._held():
                subscription.put(event)

    def close(self) -> None:
        """End all subscriptions after the events that they still hold."""
        self._closed = True
        for subscription in self._held():
            subscription.close()

        self._subscriptions.clear()

    def subscribe(
        self, *, replay: bool = True, capacity: int = HISTORY
    ) -> Subscription:
        """Return a subscription; it lasts as long as somebody holds it.

        With *replay* it begins with the events that are still kept; those that are not
        kept any more are counted by one `EventsSkipped`. Raises `ArgumentInvalid` for
        a *capacity* below 1.
        """
        check_count("capacity", capacity, "a number of events from 1 on")
        after = 0 if replay else self._count
        subscription = Subscription(capacity, self.origin, after)
        if replay:
            subscription.skip(self._count - len(self._history))
            for event in self._history:
                subscription.put(event)

        if self._closed:
            subscription.close()
        else:
            self._subscriptions.add(ref(subscription, self._subscriptions.discard))

        return subscription

    def _held(self) -> list[Subscription]:
        return [held for one in tuple(self._subscriptions) if (held := one())]
