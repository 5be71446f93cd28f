"""A run's journal: records what happens, and uses again what had happened before."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import anyio

from mma_runtime.errors import JournalUnavailable
from mma_runtime.events import NOWHERE, Event, ModelCallFinished, Origin
from mma_runtime.events.records import facts_of
from mma_runtime.journal.digests import RequestDigests
from mma_runtime.journal.kinds import (
    ALWAYS_NEW,
    BEGIN,
    FORGOTTEN,
    MERGE,
    ORDER,
    STEP,
    event_key,
)
from mma_runtime.journal.past import Past, Recorded
from mma_runtime.journal.record import NO_CONTENTS, Content, Entry, Record
from mma_runtime.journal.recovery import Loss
from mma_runtime.journal.scrub import NO_SECRETS, Scrubber
from mma_runtime.journal.writer import JournalWriter
from mma_runtime.news import News

_CONTENT = frozenset(
    (
        "about",
        "command",
        "commands",
        "detail",
        "failures",
        "files",
        "goal",
        "hint",
        "message",
        "problem",
        "reason",
        "refused",
        "remarks",
        "review",
        "title",
        "what",
    )
)
"""Facts that hold words of people, models or commands."""

STALL = 20.0
"""Seconds without news after which what was recorded is not waited for any more."""


class Journal:
    """Records a run with *writer*, and gives it back its *past*.

    Without a writer nothing is recorded. *strict* is for a replay: what was not
    recorded must not happen, and *trouble* is told the first difference. *trouble* also
    hears when nothing can be written any more; who asked the journal then waits to be
    cancelled, so that nothing is done that could not be recorded.
    """

    def __init__(
        self,
        writer: JournalWriter | None = None,
        past: Past | None = None,
        *,
        strict: bool = False,
        content: bool = True,
        scrub: Scrubber = NO_SECRETS,
    ) -> None:
        self.past = past
        self.strict = strict
        self._scrub = scrub
        self._digests: RequestDigests | None = None
        self.reused: int = 0
        self.emit: Callable[[Event], None] = self.record
        self.moved: Callable[[], None] = _ignore
        self.difference: str = ""
        self._over = False
        self.trouble: Callable[[str], None] = _ignore
        self._writer = writer
        self._content = content
        self._news = News()
        self._order: anyio.Lock | None = None
        self._costs: dict[str, dict[str, Any]] = {}

    @property
    def is_on(self) -> bool:
        """Whether there is anything to record to or to use again."""
        return self._writer is not None or self.past is not None

    @property
    def digests(self) -> RequestDigests:
        """What requests have in common with those before them."""
        if self._digests is None:
            self._digests = RequestDigests(self._scrub)

        return self._digests

    @property
    def loss(self) -> Loss | None:
        """What the journal had lost when it was opened; `None` for a sound one."""
        return self._writer.loss if self._writer is not None else None

    # --- what happens ---------------------------------------------------------

    def record(self, event: Event) -> None:
        """Take an event from the bus; does not wait."""
        if isinstance(event, ModelCallFinished):
            usd = None if event.usd is None else f"{event.usd:f}"
            self._costs[event.call.rpartition(".")[0]] = {
                "model": event.model,
                "usd": usd,
                "billed": event.billed,
            }

        kind = type(event).__name__
        facts = facts_of(event)
        past = self.past
        if past is not None and kind not in ALWAYS_NEW:
            key = event_key(kind, event.origin, facts)
            if past.events[key] > 0:
                past.events[key] -= 1
                return

            if (
                self.strict
                and not self._over
                and not kind.startswith("Actor")
                and past.goes_on(event.origin)
            ):
                self.differ(f"{kind} {_place(event.origin)} was not recorded: {facts}")

        self.note(Entry(kind, event.origin, "", facts, NO_CONTENTS, event.time))

    def note(self, entry: Entry) -> None:
        """Record *entry* with the next that is waited for."""
        if self._writer is not None:
            self._writer.note(entry if self._content else _without_content(entry))

    def seal(self, content: bytes) -> Content:
        """Make *content* ready to be kept; may be called in any thread."""
        return self._scrub.seal(content)

    async def append(self, entry: Entry) -> None:
        """Record *entry*, and all that was noted, durably before returning."""
        if self._writer is None:
            return

        try:
            await self._writer.append(
                entry if self._content else _without_content(entry)
            )
        except JournalUnavailable as error:
            await self.halt(str(error))

    async def halt(self, reason: str) -> NoReturn:
        """Have the run stop for *reason*, and wait to be cancelled with it."""
        self.trouble(reason)
        await anyio.sleep_forever()
        raise AssertionError("nobody wakes from this sleep")

    def cost_of(self, call: str) -> dict[str, Any]:
        """Return what the last finished attempt of *call* cost."""
        return self._costs.pop(call, {})

    # --- what happened before -------------------------------------------------

    def take(self, kind: str, name: str) -> Recorded | None:
        """Return what was recorded under *name*, once; `None`: it is to be done."""
        past = self.past
        found = past.done.pop((kind, name), None) if past is not None else None
        if found is not None:
            self.reused += 1
            self._tell()

        return found

    async def demand_new(self, what: str, origin: Origin = NOWHERE) -> None:
        """Make sure that something may be done that was not recorded.

        A ticket that somebody has cancelled then waits for that to come again. In a
        replay nothing new may be done. Where the record ends without the run having
        ended, this waits for the rest of it to be used, and with it the replay is over.
        """
        past = self.past
        if past is None:
            return

        while past.is_to_be_cancelled(origin.ticket):
            await self._next_in_order(what)

        if not self.strict:
            return

        if past.came_to_an_end:
            self.differ(f"{what} was not recorded")

        while not past.is_over:
            with anyio.move_on_after(STALL) as wait:
                await self._news.wait()

            if wait.cancelled_caught:
                self.differ(f"{what} was not recorded, nor does the rest come")
                break

        # What is told from here on is how the replay ends, and not the run.
        self._over = True
        self.trouble("")
        await anyio.sleep_forever()

    async def view(
        self, name: str, origin: Origin, look: Callable[[], Awaitable[str]]
    ) -> str:
        """Return what *look* sees, or saw when it was recorded."""
        found = self.take("view", name)
        if found is not None:
            return found.contents["seen"].decode()

        seen = await look()
        self.note(
            Entry(
                kind="view",
                origin=origin,
                call=name,
                contents={"seen": seen.encode(errors="surrogatepass")},
            )
        )
        return seen

    # --- the order ------------------------------------------------------------

    async def step(self, name: str, origin: Origin) -> None:
        """Meet others at something shared: record the order, or keep to it."""
        if not await self._my_turn(name, origin):
            self.note(Entry(kind=STEP, origin=origin, call=name))

    @asynccontextmanager
    async def ordered(
        self,
        name: str,
        origin: Origin,
        contents: Callable[[], Mapping[str, bytes]] | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> AsyncGenerator[None]:
        """Do the block at its place in the order, and alone.

        With *contents* they and the *facts* are durable, as one record, before the
        block begins.
        """
        # Made by the first who needs it: most runs have no workspace to take turns at.
        order = self._order = self._order or anyio.Lock()
        before = await self._take_place(name, origin, order)
        try:
            if before:
                self.take_turn()
            elif contents is None:
                self.note(Entry(kind=STEP, origin=origin, call=name))
            else:
                await self.append(
                    Entry(
                        kind=MERGE,
                        origin=origin,
                        call=name,
                        facts=facts or {},
                        contents=contents(),
                    )
                )

            yield
        finally:
            order.release()

    def next_step(self, kind: str) -> Record | None:
        """Return the first step of *kind* that is still to be taken."""
        if self.past is None:
            return None

        return next((s for s in self.past.steps if s.call.startswith(kind)), None)

    @property
    def begins_next(self) -> bool:
        """Whether the next recorded step is that a ticket is begun with."""
        past = self.past
        return (
            past is not None
            and bool(past.steps)
            and past.steps[0].call.startswith(BEGIN)
        )

    def is_settled(self, ticket: str) -> bool:
        """Whether *ticket* was completed before, or given up by somebody."""
        return self.past is not None and ticket in self.past.settled

    def is_of_earlier_leg(self, found: Recorded) -> bool:
        """Whether *found* was recorded with another scenario than the last one."""
        return self.past is not None and found.leg < len(self.past.legs)

    @property
    def is_catching_up(self) -> bool:
        """Whether there are recorded steps that have not been taken again."""
        return self.past is not None and bool(self.past.steps)

    async def caught_up(self) -> None:
        """Wait until all recorded steps have been taken again, or are given up."""
        while self.is_catching_up:
            await self._news.wait()

    def due_order(self) -> Record | None:
        """Return what somebody had ordered, if that is the next step."""
        past = self.past
        if past is None or not past.steps:
            return None

        step = past.steps[0]
        return step if step.call.startswith(ORDER) and past.is_due(step) else None

    async def hold_end(self, ticket: str) -> None:
        """Wait while an order is to come that was given before *ticket* had ended."""
        past = self.past
        while past is not None and past.comes_before_end_of(ticket):
            await self._next_in_order(f"the end of ticket {ticket!r}")

    def take_turn(self) -> None:
        """Take the next recorded step: it is done."""
        if self.past is not None:
            step = self.past.steps.popleft()
            self.past.waiting.discard(step.call)
            self._tell()

    def conclude(self, state: str) -> None:
        """Hear how the run ended: nobody takes a step any more.

        In a replay it tells what was recorded and did not come.
        """
        past = self.past
        if past is None:
            return

        if self.strict and past.came_to_an_end:
            if past.left:
                self.differ(f"{past.left!r} was recorded, and did not come")
            elif past.ended != state:
                self.differ(f"it ended {state}, and {past.ended} was recorded")

        self.give_up_order()

    def part(self) -> None:
        """Tell the ended run of nothing any more, and wait for no recorded step."""
        # No circle keeps the run until garbage is collected.
        self.emit = self.trouble = _ignore
        self.give_up_order()

    def give_up_order(self) -> None:
        """Wait for no recorded step any more."""
        if self.past is not None:
            self.past.steps.clear()
            self.past.waiting.clear()
            self._tell()

    async def _my_turn(self, name: str, origin: Origin) -> bool:
        found = await self._wait_for_turn(name, origin)
        if found:
            self.take_turn()

        return found

    async def _take_place(self, name: str, origin: Origin, order: anyio.Lock) -> bool:
        """Wait for the turn of *name* and for *order*, which is then held."""
        while True:
            before = await self._wait_for_turn(name, origin)
            await order.acquire()
            past = self.past
            if not before or (past and past.steps and past.steps[0].call == name):
                return before

            # Its place was given up while another had the order: it is a new one.
            order.release()

    async def _wait_for_turn(self, name: str, origin: Origin) -> bool:
        """Wait until it is the turn of *name*; false when it was not recorded."""
        past = self.past
        if past is None or not past.steps:
            await self.demand_new(f"the step {name!r}", origin)
            return False

        if name not in past.waiting:
            # What was done before goes before.
            await self.demand_new(f"the step {name!r}", origin)
            while past.steps:
                await self._next_in_order(name)

            return False

        while past.steps and past.steps[0].call != name:
            await self._next_in_order(name)

        return bool(past.steps)

    async def _next_in_order(self, name: str) -> None:
        """Wait for those before *name*; an order that does not come is given up."""
        with anyio.move_on_after(STALL) as wait:
            await self._news.wait()

        past = self.past
        if not wait.cancelled_caught or past is None or not past.steps:
            return

        if self.strict:
            self.differ(f"{past.steps[0].call!r} was to come before {name!r}")
            await anyio.sleep_forever()

        self.give_up_order()

    def forget(self, found: Recorded) -> None:
        """Live a ticket anew from *found* on: its requests are not as they were."""
        if self.past is not None:
            origin, call = found.record.origin, found.record.call
            facts = {"loose": self.past.forget(found.record)}
            self.note(Entry(kind=FORGOTTEN, origin=origin, call=call, facts=facts))
            self._tell()

    def _tell(self) -> None:
        self._news.tell()
        self.moved()

    def differ(self, difference: str) -> None:
        """Tell of something that is not as it was recorded; the first counts."""
        if not self.difference:
            self.difference = difference
            self.trouble(difference)

    async def aclose(self) -> None:
        """Write what is waiting and let go of the file."""
        if self._writer is not None:
            await self._writer.aclose()


def _place(origin: Origin) -> str:
    return "/".join(filter(None, (origin.track, origin.ticket))) or "of the run"


def _without_content(entry: Entry) -> Entry:
    return Entry(
        kind=entry.kind,
        origin=entry.origin,
        call=entry.call,
        facts={
            name: type(value)() if name in _CONTENT else value
            for name, value in entry.facts.items()
        },
    )


def _ignore(*_told: object) -> None:
    """Tell nobody."""
