"""Answers in JSON, in a code block or not, and what is wrong with them."""

import re
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from mma_runtime.errors import PlanRejected

T = TypeVar("T")

_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)


def read_answer(validate: Callable[[str], T], text: str) -> T:
    """Return what *validate* makes of *text*.

    Raises `PlanRejected` with what is wrong with it, in words for a model.
    """
    if not text.strip():
        raise PlanRejected(["the reply was empty; JSON is due"])

    fenced = _FENCED.match(text)
    try:
        return validate(fenced[1] if fenced else text)
    except ValidationError as error:
        raise PlanRejected(
            [
                ".".join(str(step) for step in detail["loc"])
                + (": " if detail["loc"] else "")
                + detail["msg"]
                for detail in error.errors(include_url=False, include_input=False)
            ]
        ) from error
