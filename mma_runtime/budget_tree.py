"""The budgets of a run as a tree, and who waits for room in it.

Plain state and pure decisions; knows nothing of actors, models or events.
"""

from collections.abc import Iterator
from math import inf

from mma_runtime.budget import NO_LIMIT, Budgets
from mma_runtime.errors import BudgetExhausted, ConfigurationError
from mma_runtime.events import Origin
from mma_runtime.reservations import (
    NOTHING,
    Amount,
    Level,
    Reservation,
    State,
    WrapUp,
    add,
)

ENOUGH = 4_096
"""An output limit that hardly any turn needs more of, in tokens.

A call that fits with it does not wait for others to settle.
"""

SHARE = 4
"""A call whose output limit nobody has set takes at most one part in so many."""


class BudgetTree:
    """All levels of a run, and who waits for room at which.

    A call that fits is granted at once. One that would fit if calls in flight came out
    cheaper than their worst case waits for them, in order. Then its output limit
    shrinks to what fits; below the floor it is refused.
    """

    def __init__(self, budgets: Budgets) -> None:
        self.budgets = budgets
        self.run = Level("run", "", budgets.run)
        self._levels: dict[tuple[str, str], Level] = {}
        self._paths: dict[tuple[str, str, str], tuple[Level, ...]] = {}
        self._kept: dict[Origin, tuple[tuple[Level, ...], Amount]] = {}
        self.granted: set[Reservation] = set()
        self.is_timed = budgets.in_seconds
        below = (budgets.track, budgets.ticket, *budgets.tiers.values())
        # Where only the run has a budget, nothing is kept for each of its tickets.
        self._is_flat = all(budget == NO_LIMIT for budget in below)
        self._whole = (self.run,)

    def reserve(self, wish: Reservation, now: float) -> None:
        """Grant *wish*, refuse it, or let it wait."""
        if wish.state is not State.NEW:
            return

        wish.levels = self.path(wish.origin)
        if wish.wrap_up is not WrapUp.USE:
            for level in wish.levels:
                if level.waiting:
                    wish.state = State.WAITING
                    level.waiting.append(wish)
                    return

        blocked = self._try(wish, now)
        if blocked is not None:
            wish.state = State.WAITING
            blocked.waiting.append(wish)

    def settle(self, held: Reservation, spent: Amount | None, now: float) -> None:
        """End a reservation: count *spent*, or for `None` its worst case."""
        if held.state is not State.GRANTED:
            if held.state in (State.NEW, State.WAITING):
                # A waiting one stays in its queue and is passed over there: calls are
                # in flight at that level, so the queue is looked at again.
                held.decide(State.ENDED)

            return

        held.state = State.ENDED
        self.granted.discard(held)
        for level in held.levels:
            level.end(held.amount, held.amount if spent is None else spent)

        self._serve(held.levels, now)

    def release(self, held: Reservation, now: float) -> None:
        """End a reservation whose call came to nothing, or was never made."""
        self.settle(held, NOTHING, now)

    def spend(self, origin: Origin, spent: Amount) -> None:
        """Count what was spent without a reservation, in an earlier run of the job."""
        for level in self.path(origin):
            level.spent = add(level.spent, spent)

    def close(self, origin: Origin) -> None:
        """Let go of what the ticket at *origin* keeps back for its conclusion."""
        kept = self._kept.pop(origin, None)
        if kept is not None:
            for level in kept[0]:
                level.let_go(kept[1])

    def levels(self) -> Iterator[Level]:
        """Yield every level that has been used."""
        yield self.run
        yield from self._levels.values()

    def path(self, origin: Origin) -> tuple[Level, ...]:
        """Return the levels that a call at *origin* counts at, the run first."""
        if self._is_flat:
            return self._whole

        key = (origin.tier, origin.track, origin.ticket)
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = tuple(self._find(origin))

        return path

    def _find(self, origin: Origin) -> Iterator[Level]:
        yield self.run
        budgets = self.budgets
        for name, of, budget in (
            ("tier", origin.tier, budgets.tiers.get(origin.tier, NO_LIMIT)),
            ("track", origin.track, budgets.track),
            ("ticket", origin.ticket, budgets.ticket),
        ):
            if of and budget != NO_LIMIT:
                key = (name, of)
                if key not in self._levels:
                    self._levels[key] = Level(name, of, budget)

                yield self._levels[key]

    def _serve(self, levels: tuple[Level, ...], now: float) -> None:
        for level in levels:
            while level.waiting:
                wish = level.waiting[0]
                blocked = None
                if wish.state is State.WAITING:
                    blocked = self._try(wish, now)

                if blocked is level:
                    break

                level.waiting.popleft()
                if blocked is not None:
                    blocked.waiting.append(wish)

    def _try(self, wish: Reservation, now: float) -> Level | None:
        """Grant or refuse *wish*; or return the level at which it has to wait."""
        late = self._late(wish, now) if self.is_timed else None
        if late is not None:
            self._refuse(wish, late)
            return None

        if not any(level.limited for level in wish.levels):
            self._grant(wish, wish.wanted, None)
            return None

        if wish.quote is None and self._needs_price(wish):
            return None

        kept = None
        if wish.wrap_up is not WrapUp.NONE:
            kept = self._kept.pop(wish.origin, None)
            if kept is not None:
                for level in kept[0]:
                    level.let_go(kept[1])

        blocked = self._fit(wish)
        if kept is not None and wish.state is not State.GRANTED:
            for level in kept[0]:
                level.keep(kept[1])

            self._kept[wish.origin] = kept

        return blocked

    def _needs_price(self, wish: Reservation) -> bool:
        """Refuse a call without a price where a budget is in dollars; tell if so."""
        if all(level.budget.usd is None for level in wish.levels):
            return False

        wish.error = ConfigurationError(
            f"a budget in dollars needs the price of {wish.model}; add it to `prices`"
        )
        wish.decide(State.REFUSED)
        return True

    def _late(self, wish: Reservation, now: float) -> Level | None:
        """Set the call's deadline; return a level whose time is up."""
        for level in wish.levels:
            # The run's own time is its supervisor's to keep.
            if level.budget.seconds is None or level is self.run:
                continue

            if level.deadline == inf:
                level.deadline = now + level.budget.seconds

            if now >= level.deadline:
                return level

            wish.deadline = min(wish.deadline, level.deadline)

        return None

    def _fit(self, wish: Reservation) -> Level | None:
        floor = min(self.budgets.floor, wish.wanted)
        enough = max(floor, min(wish.wanted, ENOUGH))
        least = wish.worst(0)
        if wish.wrap_up is WrapUp.KEEP:
            least = add(least, wish.kept(0))

        room, tightest = wish.wanted, self.run
        for level in wish.levels:
            if not level.limited:
                continue

            here = level.room(wish, level.held, least)
            if not wish.asked:
                here = max(min(here, ENOUGH), here // SHARE)

            if here < room:
                room, tightest = here, level

        if room < enough:
            for level in wish.levels:
                # As if the calls in flight came to nothing: else waiting is of no use.
                if level.limited and level.room(wish, level.kept, least) < floor:
                    self._refuse(wish, level)
                    return None

            if tightest.in_flight:
                return tightest

        self._grant(wish, room, room)
        return None

    def _grant(self, wish: Reservation, output: int, limit: int | None) -> None:
        wish.output = limit
        wish.amount = wish.worst(output)
        self.granted.add(wish)
        for level in wish.levels:
            level.begin(wish.amount)

        if limit is not None and wish.wrap_up is WrapUp.KEEP:
            kept = wish.kept(output)
            for level in wish.levels:
                level.keep(kept)

            self._kept[wish.origin] = (wish.levels, kept)

        wish.decide(State.GRANTED)

    def _refuse(self, wish: Reservation, level: Level) -> None:
        wish.error = _exhausted(level, wish, min(self.budgets.floor, wish.wanted))
        wish.decide(State.REFUSED)


def _exhausted(level: Level, wish: Reservation, floor: int) -> BudgetExhausted:
    needed = add(wish.worst(floor), wish.kept(floor))
    for unit, limit, spent, held in level.used():
        need = getattr(needed, unit)
        if spent + held + need > limit:
            return BudgetExhausted(
                level.name,
                unit,
                f"{limit}",
                f"{spent}",
                name=level.of,
                reserved=f"{held}",
                needed=f"{need}",
            )

    seconds = f"{level.budget.seconds:g}"
    return BudgetExhausted(level.name, "seconds", seconds, seconds, name=level.of)
