"""Options that several commands take, and their values."""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import wraps
from math import nan
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import click

from mma_runtime.errors import ConfigurationError
from mma_runtime.recording.changes import Changes, limit_of
from mma_runtime.scenario.project import Apply
from mma_runtime.scenario.schema import tier_name
from mma_runtime.scenario.table import MOST
from mma_runtime.tools.approval import Approval

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class Decorator(Protocol):
    """Gives a command an option or an argument."""

    def __call__(self, function: FunctionT, /) -> FunctionT: ...


@dataclass(frozen=True, slots=True)
class LogChoice:
    """How log records are written: as `json` or for a `console`, from which level on.

    *level* is one of the numbers of `logging`.
    """

    format: str
    level: int


class PairType(click.ParamType[tuple[str, str]]):
    """`name=value`; *kind* names the halves in messages."""

    def __init__(self, kind: str) -> None:
        self.name = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first `=`."""
        if isinstance(value, tuple):
            return cast("tuple[str, str]", value)

        name, separator, rest = str(value).partition("=")
        if not separator or not name.strip():
            self.fail(f"{value!r} is not {self.name}", param, ctx)

        return name.strip(), rest


class TierModelType(PairType):
    """`tier=provider:model`."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split, and check the tier's name."""
        tier, model = super().convert(value, param, ctx)
        try:
            return tier_name(tier), model.strip()
        except ConfigurationError as error:
            self.fail(str(error), param, ctx)


class RaiseType(click.ParamType[tuple[str, Decimal]]):
    """What is added to a limit: dollars, or `[LEVEL.]UNIT=+AMOUNT`."""

    name = "amount"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Decimal]:
        """Read the limit's name and what is added to it."""
        if isinstance(value, tuple):
            return cast("tuple[str, Decimal]", value)

        name, separator, text = str(value).rpartition("=")
        name = name if separator else "usd"
        try:
            _, unit = limit_of(name)
        except ConfigurationError as error:
            self.fail(str(error), param, ctx)

        if text[:1] not in "+-":
            # Of `mma run` it is the whole limit; so it is not guessed here.
            self.fail(
                f"{text!r} is to be added to the limit: write '+{text}'", param, ctx
            )

        said = "an amount in US dollars" if unit == "usd" else f"a number of {unit}"
        amount = DollarsType(said).convert(text, param, ctx)
        if unit in ("tokens", "calls") and amount != int(amount):
            self.fail(f"{text!r} is no whole number of {unit}", param, ctx)

        return name, amount


class QuantityType(click.ParamType[float]):
    """A number that is not negative."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the number."""
        try:
            number = float(value)
        except ValueError:
            number = nan

        if not 0 <= number <= MOST:
            self.fail(f"{value!r} is not a number from 0 to {MOST:,}", param, ctx)

        return number


class DollarsType(click.ParamType[Decimal]):
    """An amount in US dollars above 0."""

    name = "dollars"

    def __init__(self, said: str = "an amount in US dollars") -> None:
        self.said = said

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        """Read the amount exactly as it is written."""
        try:
            amount = Decimal(str(value).removeprefix("$"))
        except InvalidOperation:
            amount = Decimal("NaN")

        if not amount.is_finite() or not 0 < amount <= MOST:
            self.fail(f"{value!r} is not {self.said}", param, ctx)

        return amount


scenario_file: Decorator = click.argument("file", type=click.Path(path_type=Path))

models_option: Decorator = click.option(
    "--model",
    "models",
    type=TierModelType("TIER=PROVIDER:MODEL"),
    metavar="TIER=PROVIDER:MODEL",
    multiple=True,
    help="The model of a tier: orchestrator, tech_lead, worker, qa, or tier1 to tier4.",
)


def changes_options(function: FunctionT) -> FunctionT:
    """Add what is to be other than before; `chosen_changes` reads the options."""
    budget = click.option(
        "--budget",
        "raises",
        type=RaiseType(),
        metavar="+USD|[LEVEL.]UNIT=+N",
        multiple=True,
        help="Add to a limit: dollars of the run, or what is named, such as"
        " tokens=+50000 or ticket.calls=+5.",
    )
    rounds = click.option(
        "--rounds",
        type=click.IntRange(1, MOST),
        metavar="+N",
        help="Add so many tool rounds to the bound of workers.",
    )
    return models_option(budget(rounds(function)))


def chosen_changes(
    models: Iterable[tuple[str, str]],
    raises: Iterable[tuple[str, Decimal]],
    rounds: int | None,
) -> Changes:
    """Return what the options of `changes_options` say."""
    return Changes(models=dict(models), budget=dict(raises), rounds=rounds or 0)


inputs_option: Decorator = click.option(
    "--input",
    "inputs",
    type=PairType("NAME=VALUE"),
    metavar="NAME=VALUE",
    multiple=True,
    help="A value for an input that the scenario declares.",
)


def apply_options(function: FunctionT) -> FunctionT:
    """Add what becomes of the changes; `chosen_apply` reads both options."""
    applied = click.option(
        "--apply/--no-apply",
        default=None,
        help="Write the changes to the scenario's workspace after a success, or do not;"
        " by default as the scenario says.",
    )
    branch = click.option(
        "--branch",
        is_flag=True,
        help="After a success make the changes a branch of the workspace's git project,"
        " mma/RUN, with one commit for each ticket.",
    )
    return applied(branch(function))


def chosen_apply(*, apply: bool | None, branch: bool) -> Apply | None:
    """Return what the options say becomes of the changes, `None` if nothing.

    Raises `click.UsageError` where they contradict each other.
    """
    if branch and apply is not None:
        raise click.UsageError("--branch and --apply or --no-apply exclude each other.")

    return "branch" if branch else apply


def demand_folder(file: Path, option: str) -> None:
    """Refuse *file* for *option* unless a file can be made in its folder.

    Asked before a run begins: what it costs is not to be spent on a mistyped path.
    Raises `click.UsageError`.
    """
    folder = file.absolute().parent
    if not folder.is_dir():
        raise click.UsageError(f"There is no folder {str(file.parent)!r} for {option}.")

    if not os.access(folder, os.W_OK | os.X_OK):
        raise click.UsageError(
            f"The folder {str(file.parent)!r} for {option} cannot be written to."
        )


_ONCE = {
    "again": Approval.approve(),
    "happened": Approval.happened(),
    "fail": Approval.reject("said when the run was resumed"),
}


class OnceType(click.ParamType[Approval]):
    """What is said of calls that may have happened already."""

    name = "answer"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Approval:
        """Read one of the words."""
        if isinstance(value, Approval):
            return value

        if str(value) not in _ONCE:
            self.fail(f"{value!r} is none of {', '.join(_ONCE)}", param, ctx)

        return _ONCE[str(value)]


once_option: Decorator = click.option(
    "--once",
    type=OnceType(),
    metavar="|".join(_ONCE),
    help="What is said of calls that are to happen once and may have happened: run them"
    " again, take them as done, or fail their tickets; by default you are asked.",
)

json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object."
)

backend_option: Decorator = click.option(
    "--backend",
    type=click.Choice(["asyncio", "trio"]),
    default="asyncio",
    show_default=True,
    help="The event loop.",
)

home_option: Decorator = click.option(
    "--journal",
    "--home",
    "home",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".mma"),
    show_default=True,
    metavar="FOLDER",
    help="The folder that runs are recorded in, each in a folder of its own.",
)

run_argument: Decorator = click.argument("name", metavar="[RUN]", default="last")


def log_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add `--log-format` and `--log-level`; *command* gets `logs`, `None` for none."""

    @click.option(
        "--log-format",
        type=click.Choice(["console", "json"]),
        help="Write log records to stderr: for people, or a JSON object a line.",
    )
    @click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="The lowest level of log records; info unless told otherwise.",
    )
    @wraps(command)
    def with_logs(
        *, log_format: str | None, log_level: str | None, **options: Any
    ) -> int:
        return command(logs=chosen_logs(log_format, log_level), **options)

    return with_logs


def chosen_logs(log_format: str | None, log_level: str | None) -> LogChoice | None:
    """Return what the options of `log_options` say."""
    if log_format is None and log_level is None:
        return None

    level = logging.getLevelNamesMapping()[(log_level or "info").upper()]
    return LogChoice(log_format or "console", level)
