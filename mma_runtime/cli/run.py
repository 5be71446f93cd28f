"""`mma run`: one scenario from its file to its outcome, shown as it goes on."""

import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import anyio
import click
from rich.table import Table

from mma_runtime.cli.answers import Answers
from mma_runtime.cli.exit_codes import ExitCode, code_of_state
from mma_runtime.cli.interruption import Interruption
from mma_runtime.cli.keyboard import open_keyboard
from mma_runtime.cli.live import Display
from mma_runtime.cli.options import (
    DollarsType,
    LogChoice,
    apply_options,
    backend_option,
    chosen_apply,
    demand_folder,
    home_option,
    inputs_option,
    json_option,
    log_options,
    models_option,
    scenario_file,
)
from mma_runtime.cli.records import outcome_record, to_json
from mma_runtime.cli.tables import end_tables, result_text
from mma_runtime.cli.terminal import (
    Results,
    RunResults,
    load_logs,
    open_display,
    report_error,
    say,
    write_svg,
)
from mma_runtime.cli.tracing import telemetry_of
from mma_runtime.errors import MMAError
from mma_runtime.events import Event
from mma_runtime.events.records import to_record
from mma_runtime.outcome import Outcome, RunState
from mma_runtime.registry import Registry
from mma_runtime.runtime import Runtime
from mma_runtime.runtime.forecast import go_on
from mma_runtime.runtime.run import Run
from mma_runtime.scenario.load import load
from mma_runtime.scenario.schema import Scenario
from mma_runtime.tools.approval import Approval

# Seconds between two drawings of the live region.
TICK = 0.1

# Events that may wait for a slow reader of stdout.
BACKLOG = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be run and how it is to be told.

    *start* begins or resumes the run. *journal* records it, *logs* are records of it
    on stderr. *once* is the answer to whether calls may happen again that are to happen
    once; `None`: people are asked.
    """

    scenario: Scenario
    start: Callable[[Runtime], Awaitable[Run]]
    home: Path
    journal: bool
    logs: LogChoice | None
    as_json: bool
    jsonl: bool
    svg: Path | None
    once: Approval | None = None

    @property
    def for_people(self) -> bool:
        """Whether stdout gets words and no JSON."""
        return not self.as_json and not self.jsonl


@dataclass(frozen=True, slots=True)
class Played:
    """What came of an order: the *run*, empty where none began, and the exit *code*."""

    run: str
    code: int


@click.command("run")
@scenario_file
@models_option
@inputs_option
@apply_options
@click.option(
    "--budget",
    type=DollarsType(),
    metavar="USD",
    help="The most that the run may cost in US dollars, before what the scenario says.",
)
@json_option
@click.option("--jsonl", is_flag=True, help="Print each event as a line of JSON.")
@click.option(
    "--svg",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw what is shown at the end as a picture.",
)
@click.option(
    "--no-journal",
    is_flag=True,
    help="Do not record the run; it can then not be resumed, replayed or forked. What"
    " it makes is kept in a temporary folder where FOLDER cannot be written to.",
)
@log_options
@backend_option
@home_option
def command(**options: Any) -> int:
    """Run the scenario FILE.

    stdout gets the result, stderr shows how it goes. Exit codes: 0 completed; 1 failed;
    2 invalid scenario or usage; 3 over budget; 4 out of tool rounds, or cut short; 5
    paused: nobody answered, or it could not be recorded; 6 provider or key; 130 and 143
    interrupted.
    """
    return run_scenario(**options).code


def run_scenario(
    *,
    file: Path,
    models: tuple[tuple[str, str], ...],
    inputs: tuple[tuple[str, str], ...],
    apply: bool | None,
    branch: bool,
    budget: Decimal | None,
    as_json: bool,
    jsonl: bool,
    svg: Path | None,
    no_journal: bool,
    logs: LogChoice | None,
    backend: str,
    home: Path,
) -> Played:
    """Run the scenario in *file* as the options of `mma run` say."""
    if as_json and jsonl:
        raise click.UsageError("--json and --jsonl exclude each other.")

    if svg is not None:
        demand_folder(svg, "--svg")

    handed_over = chosen_apply(apply=apply, branch=branch)
    results = RunResults(sys.stdout)
    try:
        scenario = load(
            file,
            inputs=dict(inputs),
            environ=os.environ,
            registry=Registry(folders=[home.absolute().parent]),
            models=dict(models),
        )
    except MMAError as error:
        told = results if as_json or jsonl else None
        indent = None if jsonl else 2
        return Played("", report_error(error, told, logs=logs, indent=indent))

    if budget is not None:
        limits = scenario.budget.model_copy(update={"usd": budget})
        scenario = scenario.model_copy(update={"budget": limits})

    if no_journal and scenario.workspace is not None and not _is_usable(home):
        # In a folder of its own, beside which nobody else can put keys or settings.
        home = Path(mkdtemp(prefix="mma-")) / home.name
        text = f"what the run makes is kept in {home}"
        say(f"mma: {text}", logs, "warning", "kept_elsewhere", home=str(home))

    order = Order(
        scenario=scenario,
        start=lambda runtime: runtime.start(
            scenario, apply=handed_over, folder=file.parent
        ),
        home=home,
        journal=not no_journal,
        logs=logs,
        as_json=as_json,
        jsonl=jsonl,
        svg=svg,
    )
    return anyio.run(play, order, results, backend=backend)


def _is_usable(home: Path) -> bool:
    """Whether *home* can be written to, or made where it is not there yet."""
    there = next(one for one in (home, *home.absolute().parents) if one.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


async def play(order: Order, results: Results) -> Played:
    """Run *order* under the watch for signals; return the run and the exit code."""
    display = open_display(
        os.environ,
        same_terminal=(order.jsonl and sys.stdout.isatty())
        or (order.logs is not None and order.logs.format == "json"),
    )
    if order.logs is not None:
        load_logs(order.logs, display)

    def tell(text: str) -> None:
        if display.is_silent:
            say(text, order.logs, "warning", "interrupted", told=text)
        else:
            display.say(f"mma: {text}")

    interruption = Interruption(tell, display.close)
    try:
        async with anyio.create_task_group() as tasks:
            interruption.stop = lambda _reason: tasks.cancel_scope.cancel()
            await tasks.start(interruption.watch)
            outcome = await _conduct(order, display, results, interruption)
            tasks.cancel_scope.cancel()
            if isinstance(outcome, Outcome):
                code = _finish(outcome, order, display, results, interruption)
                return Played(outcome.run, code)

            return Played("", outcome)
    finally:
        display.close()

    # Only a signal before there was a run leads here.
    code = interruption.exit_code or 0
    text = "interrupted before the run began"
    say(f"mma: {text}", order.logs, "warning", "run_not_started", reason=text)
    return Played("", code)


async def _conduct(
    order: Order, display: Display, results: Results, interruption: Interruption
) -> Outcome | int:
    """Run *order* to its outcome; a code when it could not be started."""
    async with Runtime(
        home=order.home,
        journal=order.journal,
        telemetry=telemetry_of(os.environ),
    ) as runtime:
        try:
            run = await order.start(runtime)
        except (MMAError, OSError) as error:
            display.close()
            told = None if order.for_people else results
            indent = None if order.jsonl else 2
            return report_error(error, told, logs=order.logs, indent=indent)

        interruption.stop = run.stop
        if order.journal:
            interruption.farewell += f"; to go on: {go_on(run.id, order.home)}"

        with open_keyboard() as keyboard:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_tick, display)
                is_alone = keyboard is None or display.is_silent
                tasks.start_soon(partial(_answer, run, order.once, is_alone=is_alone))
                if keyboard is not None and not is_alone:
                    tasks.start_soon(Answers(run, display, keyboard).give)

                await _follow(run, order, display, results)
                tasks.cancel_scope.cancel()

        return await run.outcome()


async def _answer(run: Run, once: Approval | None, *, is_alone: bool) -> None:
    """Say what needs nobody to be asked: *once*, or that nobody is there to ask."""
    async for question in run.asked():
        if question not in run.questions:
            continue

        if question.why and once is not None:
            run.answer(question.id, once)
        elif is_alone:
            run.pass_over(question.id, "nobody is at a terminal to answer")


async def _tick(display: Display) -> None:
    while True:
        display.refresh()
        await anyio.sleep(TICK)


async def _follow(run: Run, order: Order, display: Display, results: Results) -> None:
    async for event in run.events(capacity=BACKLOG):
        display.add(event)
        if order.jsonl:
            # A reader that is slow must not hold up the run: hence the thread.
            await anyio.to_thread.run_sync(_write_event, event, results)


def _write_event(event: Event, results: Results) -> None:
    results.write(to_json(to_record(event)))


def _finish(
    outcome: Outcome,
    order: Order,
    display: Display,
    results: Results,
    interruption: Interruption,
) -> int:
    """Show and write *outcome*; return the exit code."""
    display.close()
    for part in end_tables(outcome, display.console.width):
        if isinstance(part, Table):
            display.say("")

        display.say(part)

    code = int(code_of_state(outcome.state))
    if outcome.state is RunState.CANCELLED:
        code = interruption.exit_code or code

    workspace = order.scenario.workspace
    text = result_text(outcome, workspace.path if workspace is not None else None)
    display.say("")
    if order.for_people:
        results.write(text)
        display.transcript.append(text)
    else:
        display.say(text)

    if order.as_json:
        results.write(to_json(outcome_record(outcome, code), indent=2))

    if order.svg is not None:
        try:
            write_svg(order.svg, f"mma run {order.scenario.name}", display.transcript)
        except OSError as error:
            text, about = "the picture could not be written", str(error)
            event = "picture_not_written"
            say(f"mma: {text}: {about}", order.logs, "error", event, problem=about)
            code = code or ExitCode.FAILED

    return code
