"""What a scenario says of the folder that its team works on."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from mma_runtime.arguments import check_kind
from mma_runtime.scenario.checks import is_true
from mma_runtime.scenario.table import Table

_NO = frozenset({"false", "no", "off", "n", "f", "0"})


def _apply(value: Any) -> Any:
    text = str(value).strip().lower()
    if text == "branch":
        return text

    if text in _NO or is_true(text):
        return is_true(text)

    raise PydanticCustomError(
        "apply",
        "should be true, false or branch, not {given}",
        {"given": repr(value)},
    )


Apply = Annotated[bool | Literal["branch"], BeforeValidator(_apply)]
"""Whether a completed run's changes go to the user: not, into the folder, as branch."""


def check_apply(apply: object) -> None:
    """Raise `ArgumentInvalid` unless *apply* is one of `Apply`, or `None`."""
    if apply is not None and apply != "branch":
        check_kind("apply", apply, bool, "`True`, `False`, 'branch' or `None`")


class Workspace(Table):
    """The folder that the team works on; it gets a private copy of it."""

    path: Path = Field(description="The folder, relative to the scenario's file.")
    apply: Apply = Field(
        default=False,
        description="What becomes of the changes after a success: `true` writes them"
        " back to the folder, `branch` makes them the branch `mma/<run>` of the git"
        " project, with one commit per ticket.",
    )
    dirty: Literal["carry", "refuse"] = Field(
        default="carry",
        description="In a git project: work on what is not committed, or do not run.",
    )
