"""Scenario files and what they expect, as pytest's files and items."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from mma_runtime.cli.narration import narrate
from mma_runtime.errors import CredentialsMissing, MMAError, Refused
from mma_runtime.outcome import Outcome
from mma_runtime.runtime import Runtime
from mma_runtime.runtime.run import Run
from mma_runtime.runtime.staffing import SCRIPTED
from mma_runtime.scenario.load import load
from mma_runtime.scenario.schema import TIERS, Scenario
from mma_runtime.testing.outcomes import told
from mma_runtime.tools.approval import Approval

BACKLOG = 1_000_000


class NotAsExpected(AssertionError):
    """A scenario's run did not end as its `expect` says."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(told(outcome))


class ScenarioFile(pytest.File):
    """A file with one scenario."""

    def collect(self) -> Iterator["ScenarioItem"]:
        """Yield the scenario, or the item that fails because the file holds none."""
        models = dict(self.config.option.mma_model)
        scenario: Scenario | MMAError
        try:
            scenario = load(self.path, environ=os.environ, models=models)
            name = scenario.name
        except MMAError as error:
            scenario, name = error, self.path.stem

        yield ScenarioItem.from_parent(self, name=name, scenario=scenario)  # pyright: ignore[reportUnknownMemberType] - pytest does not type its keywords


class ScenarioItem(pytest.Item):
    """One scenario; it passes when everything that it expects holds.

    *scenario* is the reason where the file holds none, which is how it then fails.
    """

    def __init__(
        self,
        *,
        scenario: Scenario | MMAError,
        **options: Any,
    ) -> None:
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType] - pytest does not type its arguments
        self._scenario = scenario
        self.add_marker("mma_scenario")
        if isinstance(scenario, Scenario) and _is_real(scenario):
            self.add_marker("mma_real")

    def runtest(self) -> None:
        """Run the scenario in a home of its own."""
        option = self.config.option
        if isinstance(self._scenario, MMAError):
            raise self._scenario

        if self._scenario.mode == "step" and not option.mma_approve:
            pytest.skip("asks somebody at every step; --mma-approve says yes")

        with tempfile.TemporaryDirectory(prefix="mma-") as folder:
            home = option.mma_home or Path(folder) / "home"
            try:
                outcome = anyio.run(
                    self._outcome, self._scenario, home, backend=option.mma_backend
                )
            except CredentialsMissing as error:
                where = ", ".join(error.variables) or error.files[-1]
                pytest.skip(f"no API key for {error.provider!r} ({where})")

        spent = outcome.costs.total
        self.user_properties.extend(
            [
                ("mma_usd", str(spent.billed_usd)),
                ("mma_calls", spent.calls),
                ("mma_unknown_calls", spent.unknown_calls),
            ]
        )
        held = all(one.passed for one in outcome.expectations)
        if not held or outcome.state.value != self._scenario.expect.outcome:
            raise NotAsExpected(outcome)

    async def _outcome(self, scenario: Scenario, home: Path) -> Outcome:
        recorded = self.config.option.mma_home is not None
        async with Runtime(home=home, journal=recorded) as runtime:
            run = await runtime.start(scenario, apply=False, folder=self.path.parent)
            said: list[str] = []
            async with anyio.create_task_group() as group:
                group.start_soon(self._answer, run)
                said += [narrate(event) async for event in run.events(capacity=BACKLOG)]

            self.add_report_section("call", "mma", "\n".join(filter(None, said)))
            return await run.outcome()

    async def _answer(self, run: Run) -> None:
        """Answer whatever the run asks, until it ends."""
        answer = Approval.reject("nobody is asked in a test")
        if self.config.option.mma_approve:
            answer = Approval.approve()

        async for question in run.asked():
            with suppress(Refused):  # It was settled otherwise meanwhile.
                run.answer(question.id, answer)

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
        style: Any = None,
    ) -> Any:
        """Show what was not as expected; a traceback only for what is our bug."""
        if isinstance(excinfo.value, (MMAError, NotAsExpected)):
            return str(excinfo.value)

        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Say where the scenario is."""
        return self.path, None, f"scenario {self.name}"


def _is_real(scenario: Scenario) -> bool:
    """Tell whether any model of the team or of a ticket is not scripted."""
    setups = [scenario.tier(tier) for tier in TIERS]
    models = [ticket.model for ticket in scenario.tickets or ()]
    for setup in setups:
        models += [setup.model, *setup.fallbacks, *setup.escalate]

    return any(model and not model.startswith(f"{SCRIPTED}:") for model in models)
