"""The budgets of a run as a tree, and who waits for room in it.

Plain state and pure decisions; knows nothing of actors, models or events.
"""

from collections.abc import Callable, Iterator
from math import inf

from mma_runtime.costs.budget import NO_LIMIT, Budgets
from mma_runtime.costs.reservations import (
    NOTHING,
    Amount,
    Level,
    Reservation,
    State,
    WrapUp,
    add,
    subtract,
    written,
)
from mma_runtime.errors import BudgetExhausted, ConfigurationError
from mma_runtime.events import Origin
from mma_runtime.events.event import LOWER_TIER

ENOUGH = 4_096
"""An output limit that hardly any turn needs more of, in tokens.

A call that fits with it does not wait for others to settle.
"""

SHARE = 4
"""A call whose output limit nobody has set takes at most one part in so many."""


class BudgetTree:
    """All levels of a run, and who waits for room at which.

    A call that fits is granted at once. One that would fit if calls in flight came out
    cheaper than their worst case waits for them, in order, workers after all other
    tiers. Then its output limit shrinks to what fits. Below the floor a worker's call
    waits for what tickets of other workers keep back, as long as one of them is at
    work; else it is refused.
    """

    def __init__(self, budgets: Budgets) -> None:
        self.budgets = budgets
        self.run: Level = Level("run", "", budgets.run)
        self._levels: dict[tuple[str, str], Level] = {}
        self._paths: dict[tuple[str, str, str], tuple[Level, ...]] = {}
        self._kept: dict[Origin, Amount] = {}
        # Who waits for what other tickets keep back, in order; nobody else waits behind
        # them. An empty table is nothing for Python's garbage collector to go through.
        self._hoping: dict[Reservation, None] = {}
        self.granted: set[Reservation] = set()
        self.is_timed: bool = budgets.in_seconds
        # What the run has used of its time in earlier sessions, in seconds, and who is
        # told when the rest will be over, at its first call.
        self.took: float = 0.0
        self.run_ends: Callable[[float], None] = _nobody
        # Whether a wish is granted whenever it comes: there is no limit at all.
        self.is_open: bool = not (budgets.is_limited or self.is_timed)
        below = (budgets.track, budgets.ticket, *budgets.tiers.values())
        # Where only the run has a budget, nothing is kept for each of its tickets.
        self._is_flat = all(budget == NO_LIMIT for budget in below)
        self._whole = (self.run,)

    def reserve(self, wish: Reservation, now: float) -> None:
        """Grant *wish*, refuse it, or let it wait."""
        if wish.state is not State.NEW:
            return

        wish.levels = self.path(wish.origin)
        if self.is_timed and self._is_late(wish, now):
            return

        blocked = self._line(wish) or self._try(wish)
        if blocked is not None:
            wish.state = State.WAITING
            _stand(wish, blocked)

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
        worst = held.amount
        if spent is None:
            spent, change = worst, NOTHING
        else:
            change = subtract(spent, worst)

        for level in held.levels:
            level.end(change, spent)

        self._serve(held.levels, now)
        self._serve_hoping(now)

    def release(self, held: Reservation, now: float) -> None:
        """End a reservation whose call came to nothing, or was never made."""
        self.settle(held, NOTHING, now)

    def spend(self, origin: Origin, spent: Amount) -> None:
        """Count what was spent without a reservation, in an earlier run of the job."""
        for level in self.path(origin):
            level.spend(spent)

    def close(self, origin: Origin, now: float) -> None:
        """Let go of what the ticket at *origin* keeps back for its conclusion."""
        kept = self._kept.pop(origin, None)
        if kept is not None:
            levels = self.path(origin)
            for level in levels:
                level.let_go(kept)

            self._serve(levels, now)
            self._serve_hoping(now)

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
                if wish.state is State.WAITING and not (
                    self.is_timed and self._is_late(wish, now)
                ):
                    blocked = self._try(wish)

                if blocked is level:
                    break

                level.waiting.popleft()
                if blocked is not None:
                    _stand(wish, blocked)

    def _serve_hoping(self, now: float) -> None:
        for wish in tuple(self._hoping):
            # One by one: the others still wait while it is looked at again.
            del self._hoping[wish]
            if wish.state is not State.WAITING or (
                self.is_timed and self._is_late(wish, now)
            ):
                continue

            blocked = self._try(wish)
            if blocked is not None:
                _stand(wish, blocked)

    def _line(self, wish: Reservation) -> Level | None:
        """Return the level at which others wait already, whom it does not overtake.

        Workers are overtaken by all other tiers. They do not wait for ever: each call
        uses up some of the budget.
        """
        if wish.wrap_up is not WrapUp.USE:
            overtakes = wish.origin.tier != LOWER_TIER
            for level in wish.levels:
                if level.waiting and not (
                    overtakes and level.waiting[0].origin.tier == LOWER_TIER
                ):
                    return level

        return None

    def _try(self, wish: Reservation) -> Level | None:
        """Grant or refuse *wish*; or return the level at which it has to wait."""
        for level in wish.levels:
            if level.limited:
                break
        else:
            worst = wish.worst(wish.wanted)
            self._grant(wish, worst, NOTHING, NOTHING)
            return None

        if wish.quote is None and self._needs_price(wish):
            return None

        return self._fit(wish)

    def _needs_price(self, wish: Reservation) -> bool:
        """Refuse a call without a price where a budget is in dollars; tell if so."""
        if all(level.budget.usd is None for level in wish.levels):
            return False

        wish.error = ConfigurationError(
            f"a budget in dollars needs the price of {wish.model}; add it to `prices`"
        )
        wish.decide(State.REFUSED)
        return True

    def _is_late(self, wish: Reservation, now: float) -> bool:
        """Set the call's deadline; refuse it if the time of a level is up."""
        for level in wish.levels:
            if level.budget.seconds is None:
                continue

            if level.deadline == inf:
                level.deadline = now + level.budget.seconds
                if level is self.run:
                    level.deadline -= self.took
                    self.run_ends(level.deadline)

            if now >= level.deadline:
                self._refuse(wish, level)
                return True

            # When the run's own time is up, its supervisor ends all that is under way.
            if level is not self.run:
                wish.deadline = min(wish.deadline, level.deadline)

        return False

    def _fit(self, wish: Reservation) -> Level | None:
        wanted = wish.wanted
        worst = wish.worst(wanted)
        usd, tokens, calls = worst
        keeps = kept = change = NOTHING
        if wish.wrap_up is not WrapUp.NONE:
            keeps = wish.kept(wanted)
            kept = self._kept.get(wish.origin, NOTHING)
            change = subtract(keeps, kept)
            usd += change.usd
            tokens += change.tokens
            calls += change.calls

        # Mostly there is plenty, and no need to know how much.
        if not wish.asked:
            usd += (worst.usd + keeps.usd) * (SHARE - 1)
            tokens += (worst.tokens + keeps.tokens) * (SHARE - 1)

        for level in wish.levels:
            if not level.takes(usd, tokens, calls):
                return self._squeeze(wish, kept)

        wish.output = wanted
        self._grant(wish, worst, keeps, change)
        return None

    def _squeeze(self, wish: Reservation, kept: Amount) -> Level | None:
        """Shrink the output limit to what fits, wait for more, or refuse."""
        wanted = wish.wanted
        # A limit that nobody has set is cut down to a share of what there is.
        most = wanted if wish.asked else wanted * SHARE
        floor = min(self.budgets.floor, wanted)
        enough = max(floor, min(wanted, ENOUGH))
        least = subtract(wish.need(0), kept)
        room, tightest = wanted, self.run
        for level in wish.levels:
            if not level.limited:
                continue

            here = level.room(wish, level.held, least, most)
            if not wish.asked:
                here = max(min(here, ENOUGH), here // SHARE)

            if here < room:
                room, tightest = here, level

        if room < enough:
            for level in wish.levels:
                # As if the calls in flight came to nothing: else waiting is of no use.
                if (
                    level.limited
                    and level.room(wish, level.kept, least, wanted) < floor
                ):
                    hoped = self._may_be_freed(wish, level)
                    left = subtract(level.kept, hoped)
                    if (
                        hoped is NOTHING
                        or level.room(wish, left, least, wanted) < floor
                    ):
                        self._refuse(wish, level, kept)
                    else:
                        wish.state = State.WAITING
                        self._hoping[wish] = None

                    return None

            if tightest.in_flight:
                return tightest

        wish.output = room
        worst, keeps = wish.worst(room), wish.kept(room)
        self._grant(wish, worst, keeps, subtract(keeps, kept))
        return None

    def _may_be_freed(self, wish: Reservation, level: Level) -> Amount:
        """Return what other workers' tickets keep back, if *wish* may wait for it.

        It may not where each of them waits in this way too: nobody would end. Nor does
        an agent above the workers wait for them, who may be waiting for its answer, nor
        they for it.
        """
        if wish.origin.tier != LOWER_TIER:
            return NOTHING

        freed, is_any_at_work = NOTHING, False
        hoping = {one.origin for one in self._hoping if one.state is State.WAITING}
        for origin, kept in self._kept.items():
            if (
                origin.tier == LOWER_TIER
                and origin != wish.origin
                and level in self.path(origin)
            ):
                freed = add(freed, kept)
                is_any_at_work |= origin not in hoping

        return freed if is_any_at_work else NOTHING

    def _grant(
        self, wish: Reservation, worst: Amount, keeps: Amount, change: Amount
    ) -> None:
        """Hold its *worst* case and what it *keeps*, *change* more than was kept."""
        wish.amount = worst
        self.granted.add(wish)
        taken = worst
        if wish.wrap_up is not WrapUp.NONE:
            taken = add(worst, change)
            if keeps is NOTHING:
                self._kept.pop(wish.origin, None)
            else:
                self._kept[wish.origin] = keeps

        for level in wish.levels:
            level.begin(taken, change)

        wish.decide(State.GRANTED)

    def _refuse(self, wish: Reservation, level: Level, kept: Amount = NOTHING) -> None:
        floor = min(self.budgets.floor, wish.wanted)
        wish.error = _exhausted(level, wish.need(floor), kept)
        wish.decide(State.REFUSED)


def _stand(wish: Reservation, level: Level) -> None:
    """Let *wish* wait at *level*: workers at the end, others before all workers."""
    place = len(level.waiting)
    if wish.origin.tier != LOWER_TIER:
        tiers = (other.origin.tier for other in level.waiting)
        place = next((n for n, tier in enumerate(tiers) if tier == LOWER_TIER), place)

    level.waiting.insert(place, wish)


def _nobody(_deadline: float) -> None:
    pass


def _exhausted(level: Level, needed: Amount, kept: Amount) -> BudgetExhausted:
    """Word what is missing; *kept* is held, but for the call itself."""
    for unit, limit, spent, reserved in level.used():
        need = getattr(needed, unit)
        held = reserved - getattr(kept, unit)
        if spent + held + need > limit:
            return BudgetExhausted(
                level.name,
                unit,
                written(limit),
                written(spent),
                name=level.of,
                reserved=written(held),
                needed=written(need),
            )

    seconds = f"{level.budget.seconds:g}"
    return BudgetExhausted(level.name, "seconds", seconds, seconds, name=level.of)
