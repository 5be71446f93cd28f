"""What a scenario expects at the end, checked against what there is."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from shlex import split

from mma_runtime.costs.report import CostReport
from mma_runtime.errors import NotRepeated
from mma_runtime.events import Origin
from mma_runtime.outcome import Expectation, RunState
from mma_runtime.plan import command_lines
from mma_runtime.scenario.schema import Expect
from mma_runtime.supervisor.once import Once
from mma_runtime.tools.command import CommandResult, run_command
from mma_runtime.tools.sandbox import SandboxMode
from mma_runtime.workspace import Workspace

_SHOWN_LINES = 20
_AT_THE_END = Origin(task="expect")


async def check_expectations(
    expect: Expect,
    state: RunState,
    costs: CostReport,
    workspace: Workspace | None,
    *,
    sandbox: SandboxMode = SandboxMode.AUTO,
    once: Once | None = None,
) -> tuple[Expectation, ...]:
    """Check every line of *expect*; commands run in a checkout of the run's result.

    Files and commands are left out when the run ended otherwise than expected: there
    is nothing to hold them against. *once* knows the commands that must not happen
    twice. Cancellation ends a running command.
    """
    found = [
        Expectation(
            name=f"outcome {expect.outcome}",
            passed=state.value == expect.outcome,
            detail="" if state.value == expect.outcome else f"it is {state.value}",
        )
    ]
    if expect.max_usd is not None:
        found.append(_cost(expect.max_usd, costs))

    if workspace is None or state.value != expect.outcome:
        return tuple(found)

    for file in expect.files:
        problem = _file_problem(
            workspace.tree / file.path, exists=file.exists, contains=file.contains
        )
        found.append(
            Expectation(name=f"file {file.path}", passed=not problem, detail=problem)
        )

    if expect.commands:
        # Not in the tree itself: what commands leave behind is no result.
        checkout = await workspace.checkout("expect")
        for command in command_lines(expect.commands):
            run = partial(
                run_command,
                split(command),
                checkout.root,
                home=checkout.home,
                hidden=checkout.hidden,
                sandbox=sandbox,
            )
            detail = await _failure(command, run, once or Once())
            found.append(
                Expectation(name=command, passed=detail is None, detail=detail or "")
            )

        await checkout.discard()

    return tuple(found)


async def _failure(
    command: str, run: Callable[[], Awaitable[CommandResult]], once: Once
) -> str | None:
    """Return what a failing command has put out, or why it was not run again."""
    try:
        result = await once.run_command(command, _AT_THE_END, run)
    except NotRepeated as error:
        return str(error)

    # At once: the expectations are recorded together, when all have been checked.
    await once.record_ended(_AT_THE_END)
    return None if result.succeeded else _tail(result.output)


def _tail(output: str) -> str:
    lines = output.strip().splitlines()[-_SHOWN_LINES:]
    return "\n".join(lines) or "(no output)"


def _cost(limit: Decimal, costs: CostReport) -> Expectation:
    total = costs.total
    most, detail = total.usd, f"${total.usd}"
    passed = True
    if total.unknown_calls:
        calls = "call" if total.unknown_calls == 1 else "calls"
        detail += f" and {total.unknown_calls} {calls} of unknown price"
        passed = total.unknown_usd is not None
        if total.unknown_usd is not None:
            most += total.unknown_usd
            detail += f", at most ${most} in all"

    return Expectation(
        name=f"at most ${limit}", passed=passed and most <= limit, detail=detail
    )


def _file_problem(path: Path, *, exists: bool, contains: tuple[str, ...]) -> str:
    if path.is_file() is not exists:
        return "it is missing" if exists else "it is there"

    if not contains:
        return ""

    text = path.read_text(encoding="utf-8", errors="replace")
    missing = [part for part in contains if part not in text]
    return f"it lacks {missing[0]!r}" if missing else ""
