"""Whether a worker's result is good: its commands, its borders, Tier 2's review."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from shlex import split

from mma_runtime.errors import CommandFailed
from mma_runtime.events import (
    AcceptanceChecked,
    LintFixed,
    Origin,
    OutputCut,
    ReviewGiven,
)
from mma_runtime.journal.footprint import Footprint
from mma_runtime.journal.toolbox import recorded_command
from mma_runtime.kernel import Ref
from mma_runtime.plan import Ticket
from mma_runtime.supervisor.board import TicketCard
from mma_runtime.supervisor.failure import is_lint
from mma_runtime.supervisor.hints import Hints
from mma_runtime.supervisor.job import Job
from mma_runtime.tiers import CommandVerdict, Review, ReviewTicket
from mma_runtime.tools.command import run_command
from mma_runtime.workspace import Checkout, Diff

OUTPUT_CHARACTERS = 4_000
"""How much of a failed command's output goes back with the ticket; its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where one attempt works: its checkout, Tier 4's hints where there are any.

    *footprint* is for a journal, which records what commands change.
    """

    checkout: Checkout
    hints: Hints | None = None
    footprint: Footprint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of a result: nothing is the matter when there are no *remarks*.

    *by* is who returns it; *tickets* are those that the review wants to be added.
    """

    by: str = ""
    remarks: str = ""
    tickets: tuple[Ticket, ...] = ()


GOOD = Judgement()


class Judging:
    """Judges the results of one ticket for *lead*, the tech lead where there is one.

    Cheapest first: commands, then what the track may change, then the review. Tier 2
    gets the diff and the verdicts, never an output.
    """

    __slots__ = ("_card", "_job", "_lead", "_origin")

    def __init__(
        self,
        job: Job,
        card: TicketCard,
        lead: Ref | None,
        origin: Callable[[], Origin],
    ) -> None:
        self._job = job
        self._card = card
        self._lead = lead
        self._origin = origin

    async def judge(
        self, bench: Bench | None, *, name: str, taken: frozenset[str], room: int
    ) -> Judgement:
        """Judge what is in the checkout now.

        *name* names this judgement in the journal. Tier 2 may add up to *room* tickets
        whose ids are not *taken*. Raises what asking an agent raises, when Tier 2
        cannot review.
        """
        diff: Diff | None = None
        if bench is not None:
            failure = await self._run_commands(bench, name)
            if failure is not None:
                remarks = await self._explain(bench, failure)
                return Judgement(by="commands", remarks=remarks)

            diff = await bench.checkout.diff()
            if outside := self._outside(diff):
                return Judgement(by="modules", remarks=outside)

        if self._lead is None:
            return GOOD

        await self._job.journal.step(f"review {name}", self._origin())
        review = await self._review(self._lead, diff, taken, room)
        if review.accepted:
            self._card.review = review.remarks
            return Judgement(tickets=review.tickets)

        remarks = review.remarks or "not accepted, without a reason"
        return Judgement(by="review", remarks=remarks)

    async def _run_commands(self, bench: Bench, name: str) -> CommandFailed | None:
        """Run the acceptance commands; let Tier 4 content linters on the way."""
        commands = self._card.ticket.commands
        tried: set[str] = set()
        fixed: dict[str, tuple[str, ...]] = {}
        self._card.passed = ()
        place = runs = 0
        while place < len(commands):
            command = commands[place]
            runs += 1
            failure = await self._run(bench, command, f"{name}.{runs}")
            if failure is None:
                place += 1
                if command in fixed:
                    self._job.emit(
                        LintFixed(
                            origin=self._origin(),
                            command=command,
                            files=fixed.pop(command),
                        )
                    )
                continue

            if command in tried or not is_lint(command) or bench.hints is None:
                return failure

            tried.add(command)
            changed = (await bench.checkout.diff()).files
            files = await bench.hints.fix_lint(command, failure.output, changed)
            if not files:
                return failure

            # What passed before has to pass after the patch, too.
            fixed[command] = files
            place = 0

        self._card.passed = commands
        return None

    async def _run(self, bench: Bench, command: str, name: str) -> CommandFailed | None:
        origin, checkout, once = self._origin(), bench.checkout, self._job.once
        run = partial(
            run_command,
            split(command),
            checkout.root,
            home=checkout.home,
            hidden=checkout.hidden,
            sandbox=self._job.sandbox,
        )
        result = await recorded_command(
            self._job.journal,
            bench.footprint,
            partial(once.run_command, command, origin, run),
            partial(once.take_ended, origin),
            name=name,
            origin=origin,
        )
        self._job.board.firewall.put_out(command, result.output)
        self._job.emit(
            AcceptanceChecked(
                origin=origin,
                command=command,
                passed=result.succeeded,
                exit_code=result.exit_code,
            )
        )
        if result.succeeded:
            return None

        return CommandFailed(command, result.exit_code, result.output)

    def _outside(self, diff: Diff) -> str:
        card = self._job.board.tracks.get(self._card.track)
        if card is None:
            return ""

        outside = [path for path in diff.files if not card.track.allows(path)]
        if not outside:
            return ""

        return (
            f"This may be changed: {', '.join(card.track.modules)}. Undo your changes"
            f" to {', '.join(outside)}."
        )

    async def _review(
        self, lead: Ref, diff: Diff | None, taken: frozenset[str], room: int
    ) -> Review:
        card = self._card
        text = diff.text if diff is not None else ""
        verdicts = tuple(
            CommandVerdict(command=command, passed=True) for command in card.passed
        )
        self._job.board.firewall.went_up(text, *card.passed)
        review = await lead.ask(
            ReviewTicket(
                ticket=card.ticket,
                attempt=card.attempts,
                diff=text,
                verdicts=verdicts,
                taken=taken,
                room=room,
            )
        )
        self._job.emit(
            ReviewGiven(
                origin=self._origin(),
                accepted=review.accepted,
                remarks=review.remarks,
            )
        )
        return review

    async def _explain(self, bench: Bench, failure: CommandFailed) -> str:
        """Tell the worker of a failed command, with a hint if there is Tier 4."""
        ended = str(failure).partition("\n")[0]
        lines = [f"`{failure.command}` failed: {ended}"]
        if bench.hints is not None:
            hint = await bench.hints.hint(failure)
            lines += [f"Hint: {hint}"] if hint else []

        output = failure.output
        missing = len(output) - OUTPUT_CHARACTERS
        if missing > 0:
            path = await bench.checkout.keep_output(output)
            event = OutputCut(
                origin=self._origin(), what=failure.command, characters=missing
            )
            self._job.emit(event)
            lines.append(f"The whole output is in {path!r}; its end:")
            output = output[-OUTPUT_CHARACTERS:]
        else:
            lines.append("Output:")

        return "\n".join([*lines, output])
