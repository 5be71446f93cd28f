"""What a scenario expects at the end, checked against what there is."""

from decimal import Decimal
from pathlib import Path

from mma_runtime.costs import CostReport
from mma_runtime.outcome import Expectation, RunState
from mma_runtime.scenario.schema import Expect
from mma_runtime.tools.command import run_command


async def check_expectations(
    expect: Expect, state: RunState, costs: CostReport, tree: Path | None
) -> tuple[Expectation, ...]:
    """Check every line of *expect*; commands run in *tree*, the run's result.

    Files and commands are left out when the run ended otherwise than expected: there
    is nothing to hold them against. Cancellation ends a running command.
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

    if tree is None or state.value != expect.outcome:
        return tuple(found)

    for file in expect.files:
        problem = _file_problem(tree / file.path, file.exists, file.contains)
        found.append(
            Expectation(name=f"file {file.path}", passed=not problem, detail=problem)
        )

    for command in expect.commands:
        result = await run_command(command, tree)
        found.append(
            Expectation(name=command, passed=result.passed, detail=result.summary)
        )

    return tuple(found)


def _cost(limit: Decimal, costs: CostReport) -> Expectation:
    total = costs.total
    detail = f"${total.usd}"
    if total.unknown_calls:
        detail += f" and {total.unknown_calls} calls of unknown price"

    return Expectation(
        name=f"at most ${limit}",
        passed=total.usd <= limit and not total.unknown_calls,
        detail=detail,
    )


def _file_problem(path: Path, exists: bool, contains: tuple[str, ...]) -> str:
    if path.is_file() is not exists:
        return "it is missing" if exists else "it is there"

    if not contains:
        return ""

    text = path.read_text(encoding="utf-8", errors="replace")
    missing = [part for part in contains if part not in text]
    return f"it lacks {missing[0]!r}" if missing else ""
